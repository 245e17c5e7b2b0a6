"""What there is to do below a path: files, large ones in stretches, and names alone, in the order it is told.

Invariants: stretches of a file meet without a gap; only what is searched byte by byte is split, told by its beginning.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from esl_shield.audit.leakscan.contents import HEAD_BYTES, is_plain
from esl_shield.audit.leakscan.search import Done, Left, Lost, Named, Task
from esl_shield.audit.leakscan.walk import Missing, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esl_shield.audit.leakscan.search import Message
    from esl_shield.audit.leakscan.walk import File

# A plain file of more than two of these is searched in stretches, by whoever is free.
STRETCH_BYTES = 32 << 20


def tasks(path: Path) -> Iterator[Task | list[Message]]:
    """Yield what is to be searched, or what is known without a search."""
    for entry in walk(path):
        if isinstance(entry, Missing):
            yield [Lost((str(entry.path),), entry.reason), Done()]
            continue
        shown = str(entry.path)
        name = (f"{shown} -> {entry.target}",) if entry.target else (shown,)
        named = Named(name, len(shown) - len(entry.path.name))
        if not entry.regular:
            yield [named, *([] if entry.target or entry.path.is_dir() else [Left()]), Done()]
            continue
        yield [named, Done()]
        if entry.size > 2 * STRETCH_BYTES and _starts_plain(entry.path):
            yield from _stretches(entry)
        else:
            yield Task(entry.path, entry.size)


def _stretches(file: File) -> Iterator[Task]:
    for begin in range(0, file.size, STRETCH_BYTES):
        yield Task(file.path, file.size, begin, min(begin + STRETCH_BYTES, file.size))


def _starts_plain(path: Path) -> bool:
    """Whether a file begins like text or anything else that is not unpacked; one that cannot be opened is no such."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # whoever searches it says why
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        return is_plain(stream.read(HEAD_BYTES) or b"")
