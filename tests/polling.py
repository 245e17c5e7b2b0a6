"""Waiting for a condition with a deadline, the only way these tests wait; and holding that a wait is bounded."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")
BUSY_S = 4.0
TRIES = 3


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


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Hold that what is inside ends in so many seconds, and what a busy machine adds; it would not end by itself."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds + BUSY_S, f"took {took:.1f} s, not {seconds:g}"


def in_time(seconds: float, ask: Callable[[], _T]) -> _T:
    """Return what the first of a few tries gives that ends in time: not each of them meets a pause of the machine."""
    took = []
    for _ in range(TRIES):
        began = time.monotonic()
        answer = ask()
        took.append(time.monotonic() - began)
        if took[-1] < seconds:
            return answer
    message = f"never in {seconds:g} s: {took}"
    raise AssertionError(message)
