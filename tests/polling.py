"""Waiting for a condition with a deadline: the only way these tests wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def until(condition: Callable[[], _T], what: str, *, within_s: float = 10.0) -> _T:
    """Return the first true value of ``condition``; raises TimeoutError naming ``what`` after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            message = f"not within {within_s:g} s: {what}"
            raise TimeoutError(message)
        time.sleep(0.01)
