"""Where digits may be a number, decided for all places of a text at once.

Each class of bytes becomes a mask, a byte for each place; what a pattern asks for becomes a logical expression over
masks that are shifted against each other, which numpy computes for dozens of places at a time. What passes, some
hundred places in a megabyte of a log, is left to the patterns themselves.

Invariants: no place that a pattern of ``digits`` matches is missing (a test holds them against each other); places come
in ascending order.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# numpy's linear algebra, which is not used, would start a thread for each processor when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Places = NDArray[np.intp]

# More than a pattern looks to either side of the place it matches at.
_PAD = 16
_NOTHING = b"o" * _PAD
_DIGIT, _SEPARATOR, _DOT, _PLUS = b"0123"
_ZERO = ord("0")
_NEWLINE = ord("\n")
_HEADS = 1000
_LETTERS = np.isin(np.arange(256), list(b"abcdmx"))
_IN_CODE = np.isin(np.arange(256), list(b"012"))
# Digits of a group before and behind a separator, one more than a group has that may be a number's.
_GROUP_BEFORE, _GROUP_BEHIND = range(-1, -9, -1), range(4, 13)
_MOST_TOUCHING = 6


class Sieve:
    """Finds where runs of at least ``least`` (3 or more) digits can be numbers; ``heads`` are those of a ``Shape``."""

    def __init__(self, heads: Sequence[Collection[bytes]], least: int) -> None:
        self._least = least
        self._most = len(heads)
        self._heads = np.zeros((self._most + 1, _HEADS), dtype=np.bool_)
        for length, beginnings in enumerate(heads):
            self._heads[length, [int(head) for head in beginnings]] = True

    def whole(self, data: bytes, masks: Masks, long: int) -> list[tuple[int, int]]:
        """Return the ends of runs that have length and first digits of a number, or ``long`` digits and more."""
        rows = _row(masks.digit, self._least)
        # The first and the last place a row begins at take turns: there are no digits at either end.
        turns = np.flatnonzero(rows[1:] != rows[:-1])
        starts, lengths = turns[::2] + (1 - _PAD), turns[1::2] - turns[::2] + (self._least - 1)
        digits = np.frombuffer(data, dtype=np.uint8)
        first, second, third = (digits[starts + at].astype(np.intp) - _ZERO for at in range(3))
        heads = self._heads[np.minimum(lengths, self._most), first * 100 + second * 10 + third]
        may = heads | (lengths >= long)
        starts, lengths = starts[may], lengths[may]
        return list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True))


class Masks:
    """The classes of a text with nothing before and behind, and masks of the same places."""

    def __init__(self, classes: bytes) -> None:
        self._size = len(classes)
        self._classes = np.frombuffer(_NOTHING + classes + _NOTHING, dtype=np.uint8)
        self.digit = self._classes == _DIGIT
        self._two = _row(self.digit, 2)

    def groups(self) -> tuple[list[int], ...]:
        """Return for each pattern of groups where it may match."""
        separator = self._classes == _SEPARATOR
        pair = separator[:-2] & self._two[1:]
        twos = np.flatnonzero(self._at(_row(pair, 4, step=3)) & self._at(self._two, -2))
        ways = self._threes(separator, pair), twos, self._codes(), self._dots()
        return tuple(places.tolist() for places in ways)

    def _threes(self, separator: Mask, pair: Mask) -> Places:
        """Return where a separator may stand between groups of one number, of which none touches a letter."""
        at, two = self._at, self._two
        before = at(two, -2) | (at(separator, -1) & (at(two, -3) | at(separator, -2)))
        places = np.flatnonzero(at(pair) & at(self.digit, 3) & before)
        _, end = self._group(places, _GROUP_BEHIND)
        places = places[~_LETTERS[end] & (end != _DIGIT)]
        digits, end = self._group(places, _GROUP_BEFORE)
        found: Places = places[~(_LETTERS[end] & (digits > 1) & (digits < _MOST_TOUCHING)) & (end != _DIGIT)]
        return found

    def _codes(self) -> Places:
        """Return where a digit follows a plus and is not alone."""
        places = np.flatnonzero(self._at(self._classes == _PLUS) & self._at(self.digit, 1))
        found: Places = places[_IN_CODE[self._classes[places + (_PAD + 2)]]]
        return found

    def _dots(self) -> Places:
        """Return where a dot may stand between groups of one number."""
        places = np.flatnonzero(self._at(self._classes == _DOT) & self._at(self._two, 1) & self._at(self._two, -2))
        before, third, fourth, sixth = (self._classes[places + (_PAD + shift)] for shift in (-3, 3, 4, 6))
        four = (before == _DIGIT) & (third == _DIGIT) & (fourth == _DIGIT)
        found: Places = places[four | ((third == _DOT) & (sixth == _DOT))]
        return found

    def _at(self, mask: Mask, shift: int = 0) -> Mask:
        """Return for each place of the text what a mask says so many places on."""
        return mask[_PAD + shift : _PAD + shift + self._size]

    def _group(self, places: Places, span: range) -> tuple[Places, NDArray[np.uint8]]:
        """Return for each place how many digits stand in ``span`` around it, and what follows; a digit if none ends."""
        around = self._classes[places[:, None] + (_PAD + np.array(span))]
        digits = np.argmax(around != _DIGIT, axis=1)
        return digits, around[np.arange(len(places)), digits]


def lines(data: bytes, begin: int, end: int, places: Sequence[int]) -> tuple[list[int], int]:
    """Return how many lines end between ``begin`` and each of the places, and how many before ``end``."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8)[begin:end] == _NEWLINE)
    return np.searchsorted(ends, np.array(places, dtype=np.intp) - begin).tolist(), len(ends)


def _row(mask: Mask, count: int, step: int = 1) -> Mask:
    """Return where a mask is true so many times, each ``step`` places behind the one before."""
    row, have = mask, 1
    while have < count:
        more = min(have, count - have)
        row = row[: len(row) - more * step] & row[more * step :]
        have += more
    return row
