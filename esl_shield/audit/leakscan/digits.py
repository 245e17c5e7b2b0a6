"""Digit runs that may be telephone numbers, cut out of bytes at the speed of a few table look-ups per byte.

Each byte is translated into a class (digit, separator, dot, plus, letters by what they can be in base64). Searching the
classes for a literal, such as eight digits in a row, is what CPython's string search is fastest at; only where one is
found is the text itself read. Runs are remembered, so a date that stands in each line is read once.

Invariants: a run is taken whole: digits touch no further digit, a run split by separators touches no letter; what is
remembered is bounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from esl_shield.audit.leakscan.sieve import Masks, Sieve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

MOST_DIGITS = 17  # 15 of E.164 and the 00 in front
MOST_REMEMBERED = 200_000
PLAIN = "plain"
GROUPED = "grouped"
LONG = "long"
LONG_DIGITS = 18

# A shorter text, such as one that was decoded, is done with before masks of it are made.
SIEVED_BYTES = 2048
# What a run can extend to on either side of the place it was noticed at.
REACH = 32


def _classes() -> bytes:
    table = bytearray(b"o" * 256)
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        table[byte] = ord("x")
    # Base64 of digits: four characters stand for three digits, each out of one of these sets (RFC 4648, section 4).
    for letters, name in ((b"ACEIQUYcgk", b"c"), (b"wxy", b"d"), (b"NOP", b"a"), (b"M", b"m"), (b"DTjz", b"b")):
        for byte in letters:
            table[byte] = name[0]
    for byte in b"0123456789":
        table[byte] = ord("0")
    # A no-break space, a no-break hyphen and a hyphen are C2 A0, E2 80 91 and E2 80 90 in UTF-8.
    for byte in b" -()/_\xc2\xa0\xe2\x80\x90\x91":
        table[byte] = ord("1")
    for sign, kind in ((".", "2"), ("+", "3"), ("\0", "n")):
        table[ord(sign)] = ord(kind)
    return bytes(table)


CLASSES = _classes()
_RUN_CLASSES = b"0123"
_GROUPS = re.compile(rb"[0-9]+")
_DATE = re.compile(rb"(?:19|20)[0-9]{2}[-_/. ](?:0[1-9]|1[0-2])[-_/. ](?:0[1-9]|[12][0-9]|3[01])(?![0-9])")
_DIGITS = b"0123456789"
_NO_DIGITS = bytes(set(range(256)) - set(_DIGITS))
_OCTETS = 4
_PLUS = 0x2B
_DIGIT = ord("0")


def _behind(last: bytes) -> bytes:
    """Return what excludes, behind a first group and ``last``, a group of 8 digits or one that touches a letter."""
    letters = b"".join(rb"(?<![abcdmx]%b%b)" % (b"0" * digits, last) for digits in range(2, 6))
    return rb"(?<!0{8}%b)" % last + letters


def _three(separators: bytes, before_five: bytes = b"") -> bytes:
    """Return what stands before three digits that follow separators: three digits, or what may stand before five."""
    last = separators + b"000"
    return rb"(?:(?<=000%b)%b)%b" % (last, before_five, _behind(last))


# Where two neighbouring groups look as if they were of one number. Each way begins with the separator between them:
# text has fewer of those than digits, and how often a beginning is met decides how long a search takes.
_PAIRS = b"100" * 4
_GROUPED_AT = (
    re.compile(
        rb"1000(?:(?<=01000)%b|(?<=11000)(?:%b|%b))0{0,8}(?![0abcdmx])"
        % (_three(b"1", b"|(?<=001000)(?=00)"), _three(b"11", b"|(?<=0011000)(?=00)"), _three(b"111"))
    ),
    re.compile(rb"%b(?![0abcdmx])(?<=00%b)%b" % (_PAIRS, _PAIRS, _behind(_PAIRS))),
    re.compile(rb"30(?:0{0,2}[12]1{0,2}0|0{1,4}30)"),
    re.compile(rb"200(?:00(?<=00020000)|200200200(?<=00200200200200))"),
)
_MOST_GAP = 4
_MOST_GROUPS = 7
_LONGEST_GROUP = 11


class Run(NamedTuple):
    """A run that may be a number: where its first and behind its last digit is, and its digits, ``+`` in front.

    A ``LONG`` one has more digits than a number; they may be hexadecimal.
    """

    start: int
    end: int
    digits: bytes
    spelling: str


class Shape(Protocol):
    """What the digits of a number look like."""

    @property
    def heads(self) -> Sequence[Collection[bytes]]:
        """By the length of the whole: the three digits it can begin with."""

    def fits(self, digits: bytes) -> bool:
        """Whether digits can be a number."""


class Cutter:
    """Cuts runs out of bytes and keeps those with the shape of a number.

    ``least`` is the shortest run of digits without separators that is looked at.
    """

    def __init__(self, shape: Shape, least: int) -> None:
        self._heads = shape.heads
        self._fits = shape.fits
        self._least = least
        self._whole = re.compile(b"0" * least + b"0*")
        self._sieve = Sieve(shape.heads, least)
        self._known: dict[bytes, tuple[Run, ...]] = {}

    def runs(self, data: bytes, classes: bytes, begin: int, end: int) -> Iterator[Run]:
        """Yield runs whose first digit lies from ``begin`` up to ``end``; ``classes`` are those of ``data``."""
        masks = Masks(classes) if len(classes) >= SIEVED_BYTES else None
        rows = self._rows(classes, begin) if masks is None else self._sieved_rows(data, masks, begin)
        yield from self._whole_runs(data, classes, rows, begin, end)
        reach = (max(0, begin - REACH), end + REACH)
        signs = _signs(classes, *reach) if masks is None else _sieved_signs(classes, masks, *reach)
        yield from self._grouped_runs(data, classes, signs, begin, end)

    def _whole_runs(
        self, data: bytes, classes: bytes, rows: Iterable[tuple[int, int]], begin: int, end: int
    ) -> Iterator[Run]:
        heads, most = self._heads, len(self._heads)
        for at, past in rows:
            if at >= end:
                break
            length = past - at
            if length >= LONG_DIGITS:
                yield Run(at, past, b"", LONG)
            if (
                length < most
                and data[at : at + 3] in heads[length]
                and not (begin == at > 0 and classes[at - 1] == _DIGIT)
                and self._fits(data[at:past])
            ):
                plus = 1 if at and data[at - 1] == _PLUS else 0
                yield Run(at, past, data[at - plus : past], PLAIN)

    def _rows(self, classes: bytes, begin: int) -> Iterator[tuple[int, int]]:
        """Yield the ends of rows of digits, as far as they lie behind ``begin``."""
        return (match.span() for match in self._whole.finditer(classes, begin))

    def _sieved_rows(self, data: bytes, masks: Masks, begin: int) -> Iterator[tuple[int, int]]:
        """Yield those rows that can be of interest."""
        for at, past in self._sieve.whole(data, masks, LONG_DIGITS):
            if past - max(at, begin) >= self._least:
                yield max(at, begin), past

    def _grouped_runs(
        self, data: bytes, classes: bytes, signs: Iterable[Iterable[int]], begin: int, end: int
    ) -> Iterator[Run]:
        told: set[tuple[int, int]] = set()
        for places in signs:
            done = -1
            for at in places:
                if at < done:
                    continue
                first, done = _extent(classes, at)
                for run in self._around(data, first, done):
                    if begin <= run.start < end and run[:2] not in told:
                        told.add(run[:2])
                        yield run
                if done == at + 2 * REACH:
                    done = at + REACH  # more follows, and what lies across is seen from there

    def _around(self, data: bytes, first: int, end: int) -> Iterator[Run]:
        base = max(0, first - 1)
        text = data[base : end + 1]
        found = self._known.get(text)
        if found is None:
            enough = _usable(text, first - base, end - base) >= self._least
            found = tuple(self._split(text, first - base, end - base)) if enough else ()
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[text] = found
        return (Run(base + run.start, base + run.end, run.digits, GROUPED) for run in found)

    def _split(self, text: bytes, first: int, end: int) -> Iterator[Run]:
        """Yield every sequence of neighbouring groups that is a number, out of what lies from ``first`` to ``end``."""
        if len(text.translate(None, _NO_DIGITS)) < self._least:
            return
        groups = [match.span() for match in _GROUPS.finditer(text)]
        for number, (start, _) in enumerate(groups):
            if (start <= first and text[:first].isalnum()) or _DATE.match(text, start):
                continue
            digits = b"+" if start and text[start - 1] == _PLUS else b""
            for last in range(number, min(number + _MOST_GROUPS, len(groups))):
                here, past = groups[last]
                if (
                    past > end
                    or past - here > _LONGEST_GROUP
                    or (last > number and not _joins(text, *groups[last - 1 : last + 1]))
                ):
                    break
                digits += text[here:past]
                if len(digits) > MOST_DIGITS:
                    break
                if last == number or len(digits) < self._least or text[past : past + 1].isalpha():
                    continue
                if not _address(text[start:past]) and self._fits(digits.removeprefix(b"+")):
                    yield Run(start, past, digits, GROUPED)


def _signs(classes: bytes, begin: int, end: int) -> Iterator[Iterable[int]]:
    """Yield for each way two groups look as if they were of one number where they do, in order."""
    return ((match.start() for match in way.finditer(classes, begin, end)) for way in _GROUPED_AT)


def _sieved_signs(classes: bytes, masks: Masks, begin: int, end: int) -> Iterator[Iterable[int]]:
    """Yield the same, out of the places that masks let pass."""
    for way, places in zip(_GROUPED_AT, masks.groups(), strict=True):
        yield [at for at in places if begin <= at < end and way.match(classes, at)]


def _usable(text: bytes, first: int, end: int) -> int:
    """Return how many digits are left without those that touch a letter, as in most of the groups of a UUID."""
    inside = text[first:end]
    if text[:first].isalnum():
        inside = inside.lstrip(_DIGITS)
    if text[end : end + 1].isalpha():
        inside = inside.rstrip(_DIGITS)
    return len(inside.translate(None, _NO_DIGITS))


def _extent(classes: bytes, at: int) -> tuple[int, int]:
    """Return the ends of the digits and separators around a place, at most ``REACH`` before and twice that behind."""
    left = classes[max(0, at - REACH) : at]
    right = classes[at : at + 2 * REACH]
    return at - len(left) + len(left.rstrip(_RUN_CLASSES)), at + len(right) - len(right.lstrip(_RUN_CLASSES))


def _joins(text: bytes, one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two groups can belong to one number: little between them, and only a first group of one digit."""
    gap = text[one[1] : other[0]]
    return len(gap) <= _MOST_GAP and (other[1] - other[0] > 1 or gap.endswith(b"("))


def _address(text: bytes) -> bool:
    """Whether groups are those of an IPv4 address, or its first three."""
    parts = text.split(b".")
    return len(parts) in (_OCTETS - 1, _OCTETS) and all(part.isdigit() and len(part) < _OCTETS for part in parts)
