"""Work that blocks its thread, done in another: FreeSWITCH's double lives in this one and must go on answering."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_THREAD = ThreadPoolExecutor(1)  # one that stays: a server dies with the thread that started it


def aside(work: Callable[P, T], *args: P.args, **changes: P.kwargs) -> T:
    """What the work returns or raises."""
    done = _THREAD.submit(work, *args, **changes)
    while not done.done():
        gevent.sleep(0.01)
    return done.result()
