"""What the database is told of calls in the background: in order for each call, many calls in one statement.

Invariants: a statement is written or tried again until the database takes it or refuses it; one that is refused with
others is tried alone, so that none is lost for another's sake; what is under way or queued is known to whoever stops.
A lone statement leaves at once; what comes up to ``GATHER_S`` after one shares the next, so that a busy worker costs
the database a statement and a commit for many calls instead of two for each.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import gevent
from gevent.event import Event
from gevent.queue import Full, Queue

from esl_shield.errors.database import DatabaseAway, DatabaseRefused, LoginRefused

if TYPE_CHECKING:
    from esl_shield.calls.observer import Observer

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
UNEXPECTED_TRIES = 3
GATHER_S = 0.02
MOST_TOGETHER = 64


class Functions(Protocol):
    """Whoever calls a function of the database; raises DatabaseAway, DatabaseRefused, LoginRefused."""

    def call(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return its rows."""


class Said(NamedTuple):
    """What is told of a call: a function with arguments of its own, or with a row among those of other calls."""

    function: str
    call: str
    arguments: tuple[object, ...] = ()
    row: dict[str, object] | None = None


class Lane:
    """Tells the database in order; ``written`` is set while there is nothing to tell."""

    def __init__(self, database: Functions, observe: Observer, *, most: int) -> None:
        self._database = database
        self._observe = observe
        self._queue: Queue[Said] = Queue(maxsize=most)
        self._current: deque[Said] = deque()
        self.written = Event()
        self.written.set()
        self._teller = gevent.spawn(self._tell_forever)

    @property
    def waiting(self) -> int:
        """How much was not written yet."""
        return len(self._current) + self._queue.qsize()

    def put(self, said: Said) -> None:
        """Queue what is to be told; counts and logs it as lost when the queue is full."""
        try:
            self._queue.put_nowait(said)
        except Full:
            self._lose(said, "queue_full")
        else:
            self.written.clear()

    def stop(self) -> int:
        """Write no more; logs what is left, and returns how much."""
        self._teller.kill()
        left = [*self._current, *self._queue.queue]
        for said in left:
            log.error("cdr.lost", extra={"fields": {"call": said.call, "reason": "stopped"}})
        return len(left)

    def _tell_forever(self) -> None:
        while True:
            self._take()
            for _, group in groupby(sorted(self._current, key=_kind), key=_kind):
                together = list(group)
                self._write(together)
                for said in together:
                    self._current.remove(said)
            if self._queue.empty():
                self.written.set()
            gevent.sleep(GATHER_S)

    def _take(self) -> None:
        """Wait for something to tell, and take along what may go in any order with it: one thing of each call."""
        self._current.append(self._queue.get())
        calls = {self._current[0].call}
        while self._current[-1].row is not None and len(calls) < MOST_TOGETHER and not self._queue.empty():
            following: Said = self._queue.peek()
            if following.row is None or following.call in calls:
                return
            calls.add(following.call)
            self._current.append(self._queue.get())

    def _write(self, together: list[Said]) -> None:
        pause_s, unexpected = RETRY_FIRST_S, 0
        while True:
            try:
                self._database.call(together[0].function, *_arguments(together))
            except (DatabaseAway, LoginRefused):  # a login is refused while its password is being changed
                self._observe.count("cdr_delayed", "database_away")
            except Exception as error:  # noqa: BLE001 - one statement must not end the writing of all others
                unexpected += 1
                if isinstance(error, DatabaseRefused) or unexpected == UNEXPECTED_TRIES:
                    self._part(together, error)
                    return
            else:
                return
            gevent.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MOST_S)

    def _part(self, together: list[Said], error: Exception) -> None:
        """Give up one that was refused alone; of several, try each alone."""
        if len(together) == 1:
            self._lose(together[0], "refused", error_id=getattr(error, "error_id", type(error).__name__))
            return
        for said in together:
            self._write([said])

    def _lose(self, said: Said, reason: str, **fields: object) -> None:
        self._observe.count("cdr_lost", reason)
        log.error("cdr.lost", extra={"fields": {"call": said.call, **(fields or {"reason": reason})}})


def _kind(said: Said) -> str:
    return said.function


def _arguments(together: list[Said]) -> tuple[object, ...]:
    first = together[0]
    if first.row is None:
        return (first.call, *first.arguments)
    return ([{"call": said.call, **(said.row or {})} for said in together],)
