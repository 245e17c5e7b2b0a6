"""A folder of mod_json_cdr's ``err-log-dir``: records it could not post, one file each.

Invariants: a file is removed only when its record was taken; one that is none is renamed to ``NAME.rejected``, once it
is old enough not to be still written; only regular files are opened, never through a link; the name of a file and its
content are in no log. A sweep is bounded; when the database goes away it ends.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.calls.legs import MAX_BYTES
from esl_shield.errors.endings import CdrRejected, SpoolUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX = ".cdr.json"
REJECTED = ".rejected"
SETTLED_S = 10.0  # mod_json_cdr writes a file in place
MOST_FILES = 500  # a sweep


@dataclass
class Swept:
    """What a sweep did with the files it saw."""

    taken: int = 0
    rejected: int = 0
    left: int = 0

    @property
    def seen(self) -> int:
        """How many there were."""
        return self.taken + self.rejected + self.left


class Spool:
    """One folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def sweep(self, take: Callable[[bytes], None], *, most: int = MOST_FILES) -> Swept:
        """Take records of at most ``most`` files; raises SpoolUnreadable, and what ``take`` raises but CdrRejected."""
        swept = Swept()
        for path in self._files(most):
            data = self._read(path)
            if data is None:
                swept.left += 1
                continue
            try:
                take(data)
            except CdrRejected:
                if self._set_aside(path):
                    swept.rejected += 1
                else:
                    swept.left += 1
            else:
                path.unlink(missing_ok=True)
                swept.taken += 1
        return swept

    def _files(self, most: int) -> list[Path]:
        files: list[Path] = []
        try:
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise SpoolUnreadable(folder=self.folder, problem="it may not be written")
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(SUFFIX) and len(files) < most:
                        files.append(Path(entry.path))
        except OSError as error:
            raise SpoolUnreadable(folder=self.folder, problem=error.strerror or "it cannot be listed") from None
        return files

    @staticmethod
    def _read(path: Path) -> bytes | None:
        """Return the content, None for what is no file of ours to read; one too long is cut, so no record."""
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return file.read(MAX_BYTES)
        return None

    @staticmethod
    def _set_aside(path: Path) -> bool:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > SETTLED_S:
                path.rename(f"{path}{REJECTED}")
                return True
        return False
