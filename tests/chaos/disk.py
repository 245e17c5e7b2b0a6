"""A disk that can be told to be full or slow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from preloading import built

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Disk:
    """Well until it is told otherwise; a PostgreSQL started with ``variables`` in its environment writes to it."""

    def __init__(self, folder: Path) -> None:
        self._wish = folder / "wish"
        self.variables = {"LD_PRELOAD": str(built("faulty_disk", folder)), "FAULTY_DISK": str(self._wish)}

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """No write to the WAL finds room."""
        with self._as("F"):
            yield

    @contextlib.contextmanager
    def slower_by(self, fsync_s: float) -> Iterator[None]:
        """Each fsync takes so much longer."""
        with self._as(f"S {round(fsync_s * 1000)}"):
            yield

    @contextlib.contextmanager
    def _as(self, wish: str) -> Iterator[None]:
        made = self._wish.with_suffix(".new")
        made.write_text(wish)
        made.chmod(0o644)
        made.rename(self._wish)
        try:
            yield
        finally:
            self._wish.unlink()
