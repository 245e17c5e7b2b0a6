"""The search of one file or stream: into parts, parts into windows, windows into what may be numbers.

Invariants: a window overlaps its neighbours by more than the longest spelling, and each place belongs to one window, so
a number across two is seen once at its exact offset; nothing here holds a key or can say whose a number is, so that it
can be done by a process of its own.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from esl_shield.audit.leakscan.contents import Closed, parts
from esl_shield.audit.leakscan.digits import Cutter
from esl_shield.audit.leakscan.parts import CHUNK_BYTES, Allowance, Unread
from esl_shield.audit.leakscan.sieve import lines
from esl_shield.audit.leakscan.spellings import Speller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esl_shield.audit.leakscan.digits import Shape
    from esl_shield.audit.leakscan.parts import Part, Reader

MEMBER = "!"
_ENDLESS = 1 << 62
# More than a spelled number and the reach of its sign, before and behind.
AHEAD_BYTES = 1024
BACK_BYTES = 256


class Task(NamedTuple):
    """A file to search, or the stretch of it from ``begin`` to ``end``; ``size`` is what it had when it was listed."""

    path: Path
    size: int
    begin: int = 0
    end: int | None = None


class Named(NamedTuple):
    """A name that was met; a number in it from ``own`` on is a finding."""

    name: tuple[str, ...]
    own: int


class Opened(NamedTuple):
    """A file was opened."""


class Seen(NamedTuple):
    """What may be a number: where in its part, in which line from the first (0) of part or stretch, or which record."""

    start: int
    end: int
    digits: bytes
    spelling: str
    line: int
    place: str | None


class Window(NamedTuple):
    """A window was searched: how much of its part, how far it brought the file, and what was seen in it.

    ``text`` says whether lines still count.
    """

    name: tuple[str, ...]
    begin: int
    size: int
    moved: int
    lines: int
    text: bool
    records: bool
    seen: list[Seen]


class Lost(NamedTuple):
    """Something could not be searched, or not to its end, and why."""

    name: tuple[str, ...]
    reason: str


class Left(NamedTuple):
    """Something that is no file, such as a FIFO or a socket, and has nothing to search but its name."""


class Done(NamedTuple):
    """A task was searched to its end, or what of it could be."""


Message = Named | Opened | Window | Lost | Left | Done


class Search:
    """Searches files and streams for digits of a shape and says what it met, in order."""

    def __init__(self, shape: Shape, least: int) -> None:
        self.speller = Speller(Cutter(shape, least))

    def task(self, task: Task) -> Iterator[Message]:
        """Search a file, or a stretch of one."""
        yield from self._file(task)
        yield Done()

    def _file(self, task: Task) -> Iterator[Message]:
        name = (str(task.path),)
        try:
            descriptor = os.open(task.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # rotated away meanwhile
        except OSError as error:
            yield Lost(name, error.strerror or "it cannot be opened")
            return
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                return
            if task.end is None:
                yield Opened()
                # What is written to it from now on is the next search's: a file that grows faster would never end.
                yield from self._parts(name, _Counted(stream, state.st_size), task.path)
            else:
                if task.begin == 0:
                    yield Opened()
                yield from self._stretch(name, stream, task.begin, task.end)

    def stream(self, source: Reader, name: str) -> Iterator[Message]:
        """Search what comes out of a pipe, to its end."""
        yield Opened()
        yield from self._parts((name,), _Counted(source, _ENDLESS), None)
        yield Done()

    def _stretch(self, name: tuple[str, ...], stream: Any, begin: int, end: int) -> Iterator[Message]:
        base = max(0, begin - BACK_BYTES)
        try:
            if _is_hole(stream.fileno(), begin, end):
                yield Window(name, begin, end - begin, end - begin, 0, text=False, records=False, seen=[])
                return
            stream.seek(base)
            source = _Counted(stream, end + AHEAD_BYTES - base)
            yield from self._windows(name, source, None, base, (begin, end))
        except OSError as error:
            yield Lost(name, error.strerror or "it cannot be read")

    def _parts(self, name: tuple[str, ...], source: _Counted, path: Path | None) -> Iterator[Message]:
        last, lost = name, False
        try:
            for part in parts(name, source, Allowance.of(source.left), path):
                if part.name != last:
                    yield Named(part.name, len(MEMBER.join(part.name[:-1])))
                    last = part.name
                lost = False
                for message in self._part(part, source):
                    lost = lost or isinstance(message, Lost)
                    yield message
        except Unread as error:
            if not lost:  # else the archive ends where its last member did
                yield Lost(last, str(error))
        except OSError as error:
            yield Lost(last, error.strerror or "it cannot be read")

    def _part(self, part: Part | Closed, file: _Counted) -> Iterator[Message]:
        if isinstance(part, Closed):
            yield Lost(part.name, part.reason)
            return
        try:
            yield from self._windows(part.name, part.source, file, 0, None, part.place)
        except Unread as error:
            yield Lost(part.name, str(error))

    def _windows(  # noqa: PLR0917
        self, name: tuple[str, ...], source: Reader, file: _Counted | None, base: int, own: tuple[int, int] | None,
        place: Any = None,
    ) -> Iterator[Message]:  # fmt: skip
        line, text = 0, True
        for data, base_, begin, end in _windows(source, base, own):
            text = text and b"\0" not in data
            hits = list(self.speller.hits(data, begin, end))
            before, ended = lines(data, begin, end, [hit.start for hit in hits])
            seen = [
                Seen(
                    base_ + hit.start, base_ + hit.end, hit.digits, hit.spelling, line + more,
                    place(base_ + hit.start) if place else None,
                )
                for hit, more in zip(hits, before, strict=True)
            ]  # fmt: skip
            size = end - begin
            line += ended
            moved = file.moved() if file else size
            yield Window(name, base_ + begin, size, moved, line, text, place is not None, seen)


class _Counted:
    """A source up to the size it had when it was opened."""

    def __init__(self, stream: Reader, size: int) -> None:
        self._stream = stream
        self.left = size
        self._told = size

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(min(size, self.left))
        self.left -= len(data)
        return data

    def moved(self) -> int:
        """Return how much was read since this was asked last."""
        moved, self._told = self._told - self.left, self.left
        return moved


def _is_hole(descriptor: int, begin: int, end: int) -> bool:
    """Whether nothing was ever written here, such as in most of a sparse file: it reads as zeros."""
    try:
        return os.lseek(descriptor, begin, os.SEEK_DATA) >= end
    except OSError as error:
        if error.errno == errno.ENXIO and os.fstat(descriptor).st_size >= end:
            return True
        if error.errno in (errno.ENXIO, errno.EINVAL):  # it has shrunk meanwhile, or its filesystem does not say
            return False
        raise


def _windows(source: Reader, base: int, own: tuple[int, int] | None) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield bytes, the offset of the first, and from where to where places are this window's.

    ``base`` is the offset of the source's first byte, ``own`` the offsets looked for, None for all. Raises Unread after
    all that could be read was given.
    """
    data, begin = b"", own[0] - base if own else 0
    while True:
        piece, damage = _piece(source)
        more = len(piece) >= CHUNK_BYTES
        data += piece
        end = max(begin, len(data) - AHEAD_BYTES) if more else len(data)
        if own:
            end = min(end, own[1] - base)
        if end > begin:
            yield data, base, begin, end
        if damage is not None:
            raise damage
        if not more:
            return
        cut = max(0, end - BACK_BYTES)
        data, base, begin = data[cut:], base + cut, end - cut


def _piece(source: Reader) -> tuple[bytes, Unread | None]:
    """Read a chunk, or less where the source ends or is damaged."""
    parts_, length = [], 0
    try:
        while length < CHUNK_BYTES and (part := source.read(CHUNK_BYTES - length)):
            parts_.append(part)
            length += len(part)
    except Unread as damage:
        return b"".join(parts_), damage
    return b"".join(parts_), None
