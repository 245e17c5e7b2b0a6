"""Threads for calls that block, from a process that must not.

Invariants: the thread that asks runs its other greenlets meanwhile; nobody waits longer than asked, for a free thread
and the answer together; a call that comes back late is dropped; what a call raises is raised where it was asked for and
printed nowhere.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from esl_shield.errors.device import DeviceSlow

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Threads:
    """So many threads at most, of the thread that asks first; any other thread does its calls itself."""

    def __init__(self, uri: str, size: int) -> None:
        self._uri = uri
        self._size = size
        self._owner: int | None = None
        self._pool: ThreadPool | None = None

    def call(self, work: Callable[[], T], timeout_s: float) -> T:
        """Return what ``work`` does; raises what it raises, or DeviceSlow."""
        if self._pool is None:
            self._pool, self._owner = ThreadPool(self._size), threading.get_ident()
        if threading.get_ident() != self._owner:
            return work()
        timeout = gevent.Timeout.start_new(timeout_s)
        try:
            done: _Done[T] = self._pool.spawn(_Done, work).get()  # type: ignore[assignment]
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise DeviceSlow(uri=self._uri, timeout_s=timeout_s) from None
        finally:
            timeout.close()
        return done.result()


class _Done(Generic[T]):
    """What a call returned or raised: the pool would print what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._error: BaseException | None = None
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001 - raised again by who asked
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result
