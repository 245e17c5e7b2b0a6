"""The search for a telephone number in whatever was written, in every form it is likely to have there.

Invariants: a finding names the place and the form, and the number only if the path itself holds it; files are read in
pieces that overlap, so a number across two pieces is found; a file that cannot be read is an error, because a search
that skipped it proves nothing.

The forms are those of ``forms``. Gzip files are searched unpacked as well. Not found: numbers under real encryption,
other compression, or split over two records.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from esl_shield.audit.forms import encodings, forms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

__all__ = ["Finding", "encodings", "forms", "scan_bytes", "scan_tree"]

PIECE_BYTES = 1 << 20
# With more needles than this one pass over the positions is faster than one search for each needle.
_FEW = 64
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Finding:
    """Where a number was found: the file, the byte offset and the form it has there. Never the number."""

    path: str
    offset: int
    form: str


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
                yield from _scan_pieces(_read(stream), matcher)
                stream.seek(0)
                if stream.read(len(_GZIP)) == _GZIP:
                    stream.seek(0)
                    yield from _scan_pieces(_unpack(stream), matcher)
    except FileNotFoundError:
        return


def _read(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE_BYTES):
        yield piece


def _unpack(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what a gzip file unpacks to, as far as it goes: a damaged one was already searched as it is."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    for packed in _read(stream):
        rest = packed
        while rest:
            try:
                yield unpacker.decompress(rest, PIECE_BYTES)
            except zlib.error:
                return
            rest = unpacker.unconsumed_tail
            if unpacker.eof:
                rest, unpacker = unpacker.unused_data, zlib.decompressobj(_GZIP_WINDOW)
    yield unpacker.flush()


def _scan_pieces(pieces: Iterable[bytes], matcher: _Matcher) -> Iterator[tuple[int, bytes]]:
    base, kept = 0, b""
    for piece in pieces:
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
