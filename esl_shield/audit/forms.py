"""The forms a telephone number is likely to have where it was written by mistake.

Forms: the digits with and without country code and trunk zero, grouped by spaces, dashes, dots, brackets, no-break
spaces, ``+`` and ``%20``; full-width digits; UTF-16 and UTF-32; hex; percent- and backslash-escapes; base64 and
base64url at each of the three alignments; base32 at each of its five; reversed; as a 64-bit integer; and XORed with the
token (raw, hex, base64).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import phonenumbers
from phonenumbers import PhoneNumberFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Encoder = Callable[[bytes], bytes]

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
