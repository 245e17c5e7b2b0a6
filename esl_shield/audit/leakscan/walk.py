"""Which files there are to search below the paths given.

Invariants: links are not followed below a path given, so a loop ends nothing; FIFOs, sockets and devices are never
opened; a folder that cannot be listed is told, not left out.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class File(NamedTuple):
    """A file to search, or something else with nothing but a name: a link with its target, a folder, a FIFO."""

    path: Path
    size: int
    regular: bool
    target: str = ""


class Missing(NamedTuple):
    """Something that is there and cannot be reached, and why."""

    path: Path
    reason: str


def walk(path: Path) -> Iterator[File | Missing]:
    """Yield what there is, folders in the order of their names; what is given by a link is followed."""
    try:
        state = path.stat()
    except OSError as error:
        yield Missing(path, error.strerror or "it cannot be reached")
        return
    if stat.S_ISDIR(state.st_mode):
        yield from _below(path)
    elif stat.S_ISREG(state.st_mode):
        yield File(path, state.st_size, regular=True)
    else:
        yield Missing(path, "it is no file; pipe it into `leakscan -`")


def _below(folder: Path) -> Iterator[File | Missing]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Missing(folder, error.strerror or "it cannot be listed")
        return
    for entry in entries:
        path = Path(entry.path)
        try:
            if entry.is_dir(follow_symlinks=False):
                yield File(path, 0, regular=False)
                yield from _below(path)
            elif entry.is_file(follow_symlinks=False):
                yield File(path, entry.stat(follow_symlinks=False).st_size, regular=True)
            else:
                target = str(path.readlink()) if entry.is_symlink() else ""
                yield File(path, 0, regular=False, target=target)
        except FileNotFoundError:
            continue  # rotated away meanwhile
        except OSError as error:
            yield Missing(path, error.strerror or "it cannot be read")
