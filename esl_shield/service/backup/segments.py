"""WAL segments by their file names: 24 hexadecimal digits, timeline, log and segment (PostgreSQL, "WAL Internals")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_LOG_BYTES = 1 << 32


class Segment(NamedTuple):
    """A segment's timeline and its number since the beginning of the WAL; ordered as they are replayed."""

    timeline: int
    number: int

    @classmethod
    def parse(cls, name: str, segment_bytes: int) -> Segment:
        """Read a file name; raises ValueError."""
        match = _NAME.fullmatch(name)
        if match is None:
            message = f"{name!r} is not the name of a WAL segment"
            raise ValueError(message)
        timeline, log, part = (int(digits, 16) for digits in match.groups())
        return cls(timeline, log * (_LOG_BYTES // segment_bytes) + part)

    def name(self, segment_bytes: int) -> str:
        """Return the file name."""
        log, part = divmod(self.number, _LOG_BYTES // segment_bytes)
        return f"{self.timeline:08X}{log:08X}{part:08X}"


def gaps(segments: Iterable[Segment], first: Segment) -> Iterator[tuple[Segment, Segment]]:
    """Yield the first and the last segment of each run that is missing from ``first`` on.

    A new timeline begins in the segment the one before ended in, or an earlier one, or the next.
    """
    before = Segment(first.timeline, first.number - 1)
    for segment in sorted(found for found in segments if found >= first):
        if segment.number > before.number + 1:
            timeline = before.timeline
            yield Segment(timeline, before.number + 1), Segment(timeline, segment.number - 1)
        before = segment
