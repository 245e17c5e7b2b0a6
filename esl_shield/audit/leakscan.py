"""The search for a telephone number in whatever was written, in every form it is likely to have there.

Invariants: a finding names the place and the form, never the number; files are read in pieces that overlap, so a number
across two pieces is found; a file that cannot be read is an error, because a search that skipped it proves nothing.

Forms: the digits with and without country code and trunk zero, grouped by spaces, dashes, dots, brackets, no-break
spaces, ``+`` and ``%20``; full-width digits; UTF-16 and UTF-32; hex; percent- and backslash-escapes; base64 and
base64url at each of the three alignments; base32 at each of its five; reversed; as a 64-bit integer; and XORed with the
token (raw, hex, base64). Gzip files are searched unpacked as well. Not found: numbers under real encryption, other
compression, or split over two records.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import phonenumbers
from phonenumbers import PhoneNumberFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    Encoder = Callable[[bytes], bytes]

PIECE_BYTES = 1 << 20
# With more needles than this one pass over the positions is faster than one search for each needle.
_FEW = 64
_GZIP = b"\x1f\x8b"
_SEPARATORS = (" ", "-", ".", "\u00a0", "\u2011", "+", "%20", "%2D", "_", "/")
_GROUPINGS = (
    (3, 4, 4),
    (3, 3, 5),
    (3, 3, 4),
    (4, 3, 4),
    (3, 3, 3),
    (4, 3, 3),
    (4, 4, 3),
    (2, 2, 2, 2, 2),
    (4, 4),
    (3, 3, 3, 2),
)
_MIN_DIGITS = 5


@dataclass(frozen=True)
class Finding:
    """Where a number was found: the file, the byte offset and the form it has there. Never the number."""

    path: str
    offset: int
    form: str


def encodings(number: str, token: str | None = None) -> set[bytes]:
    """Return the byte strings to search for, for one E.164 number (``+`` and digits), and its token if it has one."""
    return set(forms(number, token))


def forms(number: str, token: str | None = None) -> dict[bytes, str]:
    """Return ``encodings`` with the name of each form, for findings that say what they found. Raises ValueError."""
    international, national = _digits(number)
    found: dict[bytes, str] = {}
    for digits in (national, international):
        for needle, form in _of_digits(digits):
            found.setdefault(needle, form)
    for needle in _grouped(number):
        found.setdefault(needle, "grouped digits")
    for needle, form in _xored(international, national, token) if token else ():
        found.setdefault(needle, form)
    return found


def scan_bytes(data: bytes, needles: Collection[bytes] | Mapping[bytes, str]) -> list[Finding]:
    """Search bytes in memory; the findings' path is empty."""
    return [Finding("", offset, _form(needles, needle)) for offset, needle in _Matcher(needles).find(data)]


def scan_tree(path: str | os.PathLike[str], needles: Collection[bytes] | Mapping[bytes, str]) -> list[Finding]:
    """Search a file, or every file below a folder, and the names of all files, folders and links' targets.

    Sockets, FIFOs and devices are left out, a file that vanishes meanwhile too. Raises OSError for one that cannot be
    read, ValueError without needles.
    """
    matcher = _Matcher(needles)
    return [
        Finding(str(place), offset, _form(needles, needle))
        for place in _walk(Path(path))
        for offset, needle in _scan_place(place, matcher)
    ]


class _Matcher:
    """Finds any of many byte strings: by their first bytes in a table, or one by one if they are few."""

    def __init__(self, needles: Collection[bytes]) -> None:
        if not needles or not all(needles):
            message = "nothing to search for: the needles are empty"
            raise ValueError(message)
        self.longest = max(map(len, needles))
        self._needles = list(needles)
        self._head = min(map(len, needles))
        self._by_head: dict[bytes, list[bytes]] = {}
        for needle in needles:
            self._by_head.setdefault(needle[: self._head], []).append(needle)
        # Most positions of a binary file begin no needle, and much of it is zeros: regular expressions pass over both.
        start = b"".join(map(_byte_class, zip(*self._by_head, strict=True)))
        self._plausible = re.compile(b"(?=%b)" % start)
        self._zeros = re.compile(b"\\x00{%d,}" % (4 * self._head))

    def find(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield offset and needle of every match."""
        return self._find_each(data) if len(self._needles) <= _FEW else self._find_heads(data)

    def _find_each(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        for needle in self._needles:
            at = data.find(needle)
            while at >= 0:
                yield at, needle
                at = data.find(needle, at + 1)

    def _find_heads(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        head, heads = self._head, self._by_head
        for begin, end in self._between_zeros(data):
            for match in self._plausible.finditer(data, begin, end):
                at = match.start()
                if (start := data[at : at + head]) in heads:
                    yield from ((at, needle) for needle in heads[start] if data.startswith(needle, at))

    def _between_zeros(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield what lies between long runs of zeros, with as much of the zeros as a needle may share."""
        begin = 0
        for run in self._zeros.finditer(data):
            yield begin, run.start() + self._head
            begin = run.end() - self._head
        yield begin, len(data)


def _byte_class(column: Iterable[int]) -> bytes:
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(set(column)))


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path, onerror=_raise):
            yield from (Path(folder, name) for name in (*folders, *files))


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _scan_place(place: Path, matcher: _Matcher) -> Iterator[tuple[int, bytes]]:
    yield from matcher.find(os.fsencode(place.name))
    try:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield from matcher.find(os.fsencode(place.readlink()))
        elif stat.S_ISREG(mode):
            with place.open("rb") as stream:
                yield from _scan_stream(stream, matcher)
                stream.seek(0)
                if stream.read(len(_GZIP)) == _GZIP:
                    yield from _scan_gzip(stream, matcher)
    except FileNotFoundError:
        return


def _scan_gzip(stream: IO[bytes], matcher: _Matcher) -> Iterator[tuple[int, bytes]]:
    """Search what a gzip file unpacks to; one that is damaged was already searched as it is."""
    stream.seek(0)
    try:
        with gzip.open(stream) as unpacked:
            yield from _scan_stream(unpacked, matcher)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return


def _scan_stream(stream: IO[bytes] | gzip.GzipFile, matcher: _Matcher) -> Iterator[tuple[int, bytes]]:
    base, kept = 0, b""
    while piece := stream.read(PIECE_BYTES):
        data = kept + piece
        keep = min(matcher.longest - 1, len(data))
        for at, needle in matcher.find(data):
            # One that lies wholly in what the last round kept was found then.
            if at + len(needle) > len(kept):
                yield base + at, needle
        base += len(data) - keep
        kept = data[len(data) - keep :]


def _form(needles: Collection[bytes] | Mapping[bytes, str], needle: bytes) -> str:
    return needles[needle] if isinstance(needles, dict) else "a number"


def _digits(number: str) -> tuple[str, str]:
    """Split E.164 into its digits with and without country code."""
    digits = number.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or len(digits) < _MIN_DIGITS:
        message = "a number to search for is + and digits"
        raise ValueError(message)
    phone = phonenumbers.parse("+" + digits, None)
    return digits, phonenumbers.national_significant_number(phone)


def _of_digits(digits: str) -> Iterator[tuple[bytes, str]]:
    raw = digits.encode("ascii")
    yield raw, "digits"
    yield raw[::-1], "reversed digits"
    # What UTF-16 little- and big-endian (and UTF-32) have in common lies between the first and the last digit.
    yield digits.encode("utf-16-le")[:-1], "UTF-16"
    yield digits.encode("utf-32-le")[:-3], "UTF-32"
    full_width = "".join(chr(0xFF10 + int(digit)) for digit in digits)
    yield full_width.encode("utf-8"), "full-width digits"
    yield full_width.encode("utf-16-le"), "full-width digits, UTF-16"
    yield full_width.encode("utf-16-be"), "full-width digits, UTF-16"
    yield raw.hex().encode("ascii"), "hex"
    for escape, form in (("%", "percent-encoded"), ("\\x", "escaped"), ("\\u00", "escaped"), (" ", "hex dump")):
        yield escape.join(("", *(f"{byte:02x}" for byte in raw))).lstrip().encode("ascii"), form
    yield "".join(f"&#{byte};" for byte in raw).encode("ascii"), "escaped"
    yield int(digits).to_bytes(8, "big"), "64-bit integer"
    yield int(digits).to_bytes(8, "little"), "64-bit integer"
    yield from _transferred(raw, "")


def _transferred(raw: bytes, of_what: str) -> Iterator[tuple[bytes, str]]:
    """Yield base64 and base32 of bytes standing anywhere in a longer text, and whole with their padding left off."""
    for needle in _aligned(raw, base64.b64encode, 3, 6):
        yield needle, f"base64{of_what}"
        yield needle.translate(bytes.maketrans(b"+/", b"-_")), f"base64{of_what}"
    for needle in _aligned(raw, base64.b32encode, 5, 5):
        yield needle, f"base32{of_what}"
        yield needle.lower(), f"base32{of_what}"


def _aligned(raw: bytes, encode: Encoder, group: int, bits: int) -> Iterator[bytes]:
    """Yield the characters that the bytes alone decide, at each offset they can have within the encoding's groups."""
    for before in range(group):
        encoded = encode(bytes(before) + raw + bytes(group))
        first = -(-before * 8 // bits)
        last = (before + len(raw)) * 8 // bits
        yield encoded[first:last]


def _grouped(number: str) -> Iterator[bytes]:
    """Yield the groupings people and phonenumbers write, between each separator."""
    phone = phonenumbers.parse("+" + number.removeprefix("+"), None)
    national = phonenumbers.national_significant_number(phone)
    groupings = {_split(national, sizes) for sizes in _GROUPINGS if sum(sizes) == len(national)}
    for style in (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL):
        groupings.add(_groups_of(phonenumbers.format_number(phone, style), national))
    for groups in sorted(groupings):
        if len(groups) > 1:
            yield from (separator.join(groups).encode("utf-8") for separator in _SEPARATORS)
            yield f"({groups[0]}) {'-'.join(groups[1:])}".encode()
            yield f"{groups[0]}) {' '.join(groups[1:])}".encode()


def _split(digits: str, sizes: Iterable[int]) -> tuple[str, ...]:
    groups, at = [], 0
    for size in sizes:
        groups.append(digits[at : at + size])
        at += size
    return tuple(groups)


def _groups_of(formatted: str, national: str) -> tuple[str, ...]:
    """Take a formatted number's groups from the right, without country code and trunk prefix."""
    groups: list[str] = []
    missing = len(national)
    for group in reversed("".join(c if c.isdigit() else " " for c in formatted).split()):
        if missing <= 0:
            break
        groups.insert(0, group[-missing:])
        missing -= len(group)
    return tuple(groups)


def _xored(international: str, national: str, token: str) -> Iterator[tuple[bytes, str]]:
    """Yield the number XORed with its token's digits, from the first digit of both, the token repeated."""
    key = token.encode("ascii")
    for text in (international, "+" + international, "00" + international, national, "0" + national):
        mixed = bytes(byte ^ key[at % len(key)] for at, byte in enumerate(text.encode("ascii")))
        yield mixed, "XOR with token"
        yield mixed.hex().encode("ascii"), "hex of XOR with token"
        yield mixed.hex().upper().encode("ascii"), "hex of XOR with token"
        yield from _transferred(mixed, " of XOR with token")
    for digits in (international, national):
        yield str(int(digits) ^ int(token)).encode("ascii"), "XOR with token, decimal"
