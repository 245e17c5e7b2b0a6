"""A process's wall clock that can be set while it runs; its monotonic clock goes on."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

from preloading import built

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AHEAD = struct.Struct("=q")
HOUR_S, DAY_S = 3600, 86400


class Clock:
    """One clock; a process started with ``variables`` in its environment goes by it."""

    def __init__(self, library: Path, path: Path) -> None:
        self._path = path
        self._path.write_bytes(_AHEAD.pack(0))
        self._path.chmod(0o644)
        self.variables = {"LD_PRELOAD": str(library), "FAULTY_CLOCK": str(path)}

    @contextlib.contextmanager
    def set_by(self, seconds: int) -> Iterator[None]:
        """Put it forward, or back; afterwards it is right again."""
        self._set(seconds)
        try:
            yield
        finally:
            self._set(0)

    def _set(self, seconds: int) -> None:
        descriptor = os.open(self._path, os.O_WRONLY)  # in place: the page is mapped
        try:
            os.pwrite(descriptor, _AHEAD.pack(seconds), 0)
        finally:
            os.close(descriptor)


def clocks(folder: Path, *names: str) -> dict[str, Clock]:
    """Make a clock for each name."""
    library = built("faulty_clock", folder)
    return {name: Clock(library, folder / f"{name}.clock") for name in names}
