"""The progress bar of what takes long: on stderr, only on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Bar:
    """Shows rows (or another unit) and how many a second and, when the size is known, when all will be read."""

    def __init__(self, size: int | None, *, quiet: bool, unit: str = "rows") -> None:
        # No monitor thread: whoever uses the bar moves it often.
        tqdm.monitor_interval = 0
        known = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
        self._bar = tqdm(
            total=size, disable=quiet or not sys.stderr.isatty(), file=sys.stderr, leave=False, desc=f"0 {unit}",
            bar_format=known if size else "{desc} [{elapsed}]",
        )  # fmt: skip
        self._unit = unit
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def show(self, position: int, count: int) -> None:
        """Move to a position in bytes and a number of rows, or whatever the unit is."""
        rate = count / max(time.monotonic() - self._started, 1e-3)
        self._bar.set_description_str(f"{count} {self._unit}, {rate:.0f} {self._unit}/s", refresh=False)
        self._bar.update(position - self._bar.n)
