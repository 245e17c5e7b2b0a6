"""What is searched, piece by piece: a file, or one part of what a file contains.

Invariants: a part is read from its beginning once, in bounded pieces; what a file unpacks to is bounded by its size, so
that a bomb costs seconds; what cannot be read is ``Unread`` with a reason that quotes nothing of the content.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES = 1 << 18
# A nested archive that is not read in one go, such as a zip in a tar, is held in memory: no part is written to disk.
MOST_IN_MEMORY = 64 << 20
_LEAST_ALLOWANCE = 256 << 20
_TIMES = 250
_REMEMBERED_BYTES = 4 * CHUNK_BYTES


class Unread(Exception):
    """Something could not be searched to its end; ``args[0]`` says why."""


class Reader(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


@dataclass
class Allowance:
    """How many bytes one file may unpack to: 256 MiB, or 250 times its own size if that is more."""

    left: int

    @classmethod
    def of(cls, size: int) -> Allowance:
        """Return the allowance of a file of so many bytes."""
        return cls(max(_LEAST_ALLOWANCE, _TIMES * size))

    def take(self, size: int) -> None:
        """Count unpacked bytes; raises Unread when they are too many."""
        self.left -= size
        if self.left < 0:
            raise Unread("it unpacks to far more than its size; what it holds beyond was left out")


@dataclass(frozen=True)
class Part:
    """Bytes to search under a name; ``place`` says what stands at an offset if the offset itself tells nobody."""

    name: tuple[str, ...]
    source: Reader
    place: Callable[[int], str] | None = None


@dataclass
class Places:
    """Which record stands where in a stream that is put together from records: the latest of them."""

    starts: deque[tuple[int, str]] = field(default_factory=deque)

    def add(self, start: int, place: str) -> None:
        """Remember that a record begins here; those far behind are forgotten."""
        while len(self.starts) > 1 and self.starts[1][0] < start - _REMEMBERED_BYTES:
            self.starts.popleft()
        self.starts.append((start, place))

    def at(self, offset: int) -> str:
        """Return the record an offset lies in."""
        for start, place in reversed(self.starts):
            if start <= offset:
                return place
        return ""


class Records:
    """A reader of records put one behind the other, with something between that no number goes across."""

    BETWEEN = b"\x1e"

    def __init__(self, records: Iterator[tuple[str, bytes]]) -> None:
        self._records = records
        self._offset = 0
        self._damage: Unread | None = None
        self.places = Places()

    def read(self, size: int, /) -> bytes:
        """Return the next records, ``size`` bytes or the little more that the last one has; raises Unread."""
        if self._damage is not None:
            raise self._damage
        parts, length = [], 0
        try:
            for place, record in self._records:
                self.places.add(self._offset + length, place)
                parts.append(record + self.BETWEEN)
                length += len(record) + 1
                if length >= size:
                    break
        except Unread as damage:  # told when what came before it was given
            self._damage = damage
            return b"".join(parts) or self.BETWEEN
        self._offset += length
        return b"".join(parts)


class Ahead:
    """A reader of which the beginning can be looked at before it is read."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._head = b""

    def peek(self, size: int) -> bytes:
        """Return the first bytes without taking them."""
        while len(self._head) < size and (more := self._source.read(size - len(self._head))):
            self._head += more
        return self._head[:size]

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if self._head:
            taken, self._head = self._head[:size], self._head[size:]
            return taken
        return self._source.read(size)


def whole(source: Reader) -> bytes:
    """Read everything into memory; raises Unread when that is too much."""
    parts, length = [], 0
    while piece := source.read(CHUNK_BYTES):
        length += len(piece)
        if length > MOST_IN_MEMORY:
            raise Unread("it is too large to be looked into inside of another archive; unpack it first")
        parts.append(piece)
    return b"".join(parts)
