"""Files that hold secrets, and the folders on the way to them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class FileFacts:
    """One file; ``mode`` is None when it is not there or cannot be looked at, ``open_folder`` one others can write."""

    path: str
    mode: int | None
    owner: int = 0
    regular: bool = True
    open_folder: str = ""

    @property
    def octal(self) -> str:
        """The permission bits as chmod takes them."""
        return f"{stat.S_IMODE(self.mode or 0):04o}"

    @property
    def others_write(self) -> bool:
        """Whether the group or everybody may change it."""
        return bool((self.mode or 0) & _OTHERS_WRITE)

    @property
    def others_read(self) -> bool:
        """Whether the group or everybody may read it."""
        return bool((self.mode or 0) & (stat.S_IRGRP | stat.S_IROTH))

    def readable_to(self, user: int) -> bool:
        """Whether this Unix user may read it, groups left aside: a file others may read counts as read."""
        if self.mode is None:
            return False
        return user in (0, self.owner) or self.others_read


def look(path: str) -> FileFacts:
    """Look at a file and its folders without opening it."""
    folder = _open_folder(Path(path).absolute())
    try:
        status = os.stat(path)  # noqa: PTH116 - of what a link points to, as opening it would be
    except OSError:
        return FileFacts(path, None, open_folder=folder)
    return FileFacts(path, status.st_mode, status.st_uid, stat.S_ISREG(status.st_mode), folder)


def _open_folder(path: Path) -> str:
    """Return the nearest folder in which others may put another file in the place of this one."""
    for folder in path.parents:
        try:
            mode = folder.stat().st_mode
        except OSError:
            continue
        if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
            return str(folder)
    return ""


def process_user(config_source: str) -> int:
    """Return the Unix user the configuration is for: who runs doctor, or for root the file's owner."""
    if os.geteuid() != 0:
        return os.geteuid()
    try:
        return os.stat(config_source).st_uid  # noqa: PTH116
    except OSError:
        return 0
