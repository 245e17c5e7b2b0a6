"""The import's progress bar: on stderr, only on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Bar:
    """Shows rows and rows per second and, when the size is known, how much is read and when it will be done."""

    def __init__(self, size: int | None, *, quiet: bool) -> None:
        # No monitor thread: the import moves the bar at every batch.
        tqdm.monitor_interval = 0
        known = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        self._bar = tqdm(
            total=size, disable=quiet or not sys.stderr.isatty(), file=sys.stderr, leave=False, desc="0 rows",
            bar_format=known if size else "{desc} [{elapsed}]",
        )  # fmt: skip
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def show(self, position: int, rows: int) -> None:
        """Move to a position in bytes and a number of rows."""
        rate = rows / max(time.monotonic() - self._started, 1e-3)
        self._bar.set_description_str(f"{rows} rows, {rate:.0f} rows/s", refresh=False)
        self._bar.update(position - self._bar.n)
