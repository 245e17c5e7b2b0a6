"""The search for digit runs as it would be written if time did not matter: the oracle the fast one is held against.

Every place of a text is looked at, and every stretch of digits and separators is read whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esl_shield.audit.leakscan.digits import CLASSES, GROUPED, LONG, LONG_DIGITS, PLAIN, Cutter, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

_STRETCH = re.compile(rb"[0-3]+")
_DIGITS = re.compile(rb"[0-9]+")
# What shows, from the first digit of a pair of groups on, that they may be of one number.
_SHOWN = (
    re.compile(
        rb"001(?=1?00000|00100100100|1{0,2}000)(?<!0{8}1)"
        rb"(?<![abcdmx]001)(?<![abcdmx]0001)(?<![abcdmx]00001)(?<![abcdmx]000001)"
        rb"(?:1?0{5,11}|(?<=0001)1{0,2}0{3,11}|0010010010{2})(?![0abcdmx])"
    ),
    re.compile(rb"30(?:0{0,2}[12]1{0,2}0|0{1,4}30)"),
    re.compile(rb"00020000"),
    re.compile(rb"00200200200200"),
)


class Exhaustive(Cutter):
    """Cuts the same runs as ``Cutter``, slowly."""

    def runs(self, data: bytes, classes: bytes, begin: int, end: int) -> Iterator[Run]:
        """Yield runs whose first digit lies from ``begin`` up to ``end``."""
        assert classes == data.translate(CLASSES)
        for run in (*self._every_whole(data), *self._every_grouped(data, classes)):
            if begin <= run.start < end:
                yield run

    def _every_whole(self, data: bytes) -> Iterator[Run]:
        for match in _DIGITS.finditer(data):
            at, past = match.span()
            if past - at >= LONG_DIGITS:
                yield Run(at, past, b"", LONG)
            if past - at >= self._least and self._fits(match[0]):
                yield Run(at, past, data[at - (data[at - 1 : at] == b"+") : past], PLAIN)

    def _every_grouped(self, data: bytes, classes: bytes) -> Iterator[Run]:
        for stretch in _STRETCH.finditer(classes):
            first, past = stretch.span()
            if _shown(classes, first, past):
                base = max(0, first - 1)
                for run in self._split(data[base : past + 1], first - base, past - base):
                    yield Run(base + run.start, base + run.end, run.digits, GROUPED)

    @staticmethod
    def shows(classes: bytes, run: Run) -> bool:
        """Whether a run is noticed for what it is itself, and not only because of what stands beside it."""
        return run.spelling != GROUPED or _shown(classes, run.start, run.end)


def _shown(classes: bytes, first: int, past: int) -> bool:
    return any(shown.match(classes, at) for at in range(first, past) for shown in _SHOWN)
