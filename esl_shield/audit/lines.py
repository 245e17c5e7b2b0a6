"""Files of evidence that only grow, a line at a time: exported heads, journals.

Invariants: lines are only ever added (O_APPEND) and are on the disk (fsync) before anybody is told; a line a crash cut
off is ended before the next one and spoils none but itself; whoever reads passes it over if a whole one follows,
because the writer wrote it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from esl_shield.errors.sealing import EvidenceUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_TAIL_BYTES = 1 << 16  # a line has less than 1 kB
_MAX_LINE_BYTES = 1 << 14


def append(path: Path, lines: bytes) -> None:
    """Add lines, each with its newline; raises OSError, and then none or some were written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        data = (b"\n" if _ends_midway(path) else b"") + lines
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last(path: Path, parse: Callable[[bytes], T]) -> T | None:
    """Return the last line that ``parse`` takes (it raises ValueError for others), None without one; raises OSError."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = stream.read(_TAIL_BYTES).split(b"\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            return parse(line)
        except ValueError:
            continue
    return None


def read(path: str, parse: Callable[[bytes], T], *, what: str, line_is: str) -> Iterator[T]:
    """Yield the lines as ``parse`` makes them; raises EvidenceUnreadable, which says ``what`` it is and ``line_is``."""
    damaged = 0
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_MAX_LINE_BYTES), b""), 1):
                try:
                    found = parse(line)
                except ValueError:
                    damaged = damaged or (number if line.strip() else 0)
                    continue
                damaged = 0
                yield found
    except OSError as error:
        raise EvidenceUnreadable(source=path, what=what, problem=error.strerror) from None
    if damaged:
        raise EvidenceUnreadable(source=path, what=what, problem=f"line {damaged} is no {line_is}")


def _ends_midway(path: Path) -> bool:
    """Say whether a file ends within a line, as one does whose writer was killed."""
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
