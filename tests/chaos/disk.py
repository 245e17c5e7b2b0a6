"""PostgreSQL on a disk that can be told to be full or slow."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esl_shield.db.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("faulty_disk.c")


class Disk:
    """``binaries`` is a folder whose ``postgres`` runs on this disk."""

    def __init__(self, folder: Path) -> None:
        self._wish = folder / "wish"
        self.binaries = folder / "bin"
        self.binaries.mkdir()
        library = folder / "faulty_disk.so"
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        real = find_binaries()
        for name in ("initdb", "postgres"):
            preload = f"LD_PRELOAD={library} FAULTY_DISK={self._wish} " if name == "postgres" else ""
            script = self.binaries / name
            script.write_text(f'#!/bin/sh\n{preload}exec {real / name} "$@"\n')
            script.chmod(0o755)

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


@contextlib.contextmanager
def faulty_disk() -> Iterator[Disk]:
    """A disk that is well until it is told otherwise; without a compiler the test is skipped, with CI=true it fails."""
    if shutil.which("cc") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no C compiler")
    with tempfile.TemporaryDirectory(prefix="esl-disk-", dir="/tmp") as folder:  # the server's user must reach it
        Path(folder).chmod(0o755)
        yield Disk(Path(folder))
