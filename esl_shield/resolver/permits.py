"""Permits on their way to the database: those that arrive while it is busy share its next statement and its commit.

Invariants: nobody waits for company, a permit goes with the first statement that is free to leave; an answer is given
after the commit; each permit is judged by itself, and one whose row another transaction holds is asked for again alone,
so that nobody waits for its holder with it; when a statement fails everybody in it is told so and nobody gets a number.
A statement carries at most ``MOST`` permits; another leaves beside it when it takes longer than ``PATIENCE_S``, up to
``LANES`` at once; how many permits may wait is the caller's bound.
A caller that gave up before its permit was sent leaves it unused.

A statement runs in a greenlet of its own: the time a caller has ends its waiting, not the statement of the others.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import gevent
from gevent.event import AsyncResult

from esl_shield.audit.journal import UNANSWERED
from esl_shield.errors.database import DatabaseRefused

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from esl_shield.resolver.functions import Count, Functions

LANES = 4
PATIENCE_S = 0.02  # some times what a statement and its commit take; one that takes longer holds up those in it only
MOST = 64


class Asked(NamedTuple):
    """What a caller brings, as the database compares it; ``sip_call_id`` is None in direct delivery."""

    permit_hash: bytes
    token: str
    gateway: str
    delivery: str
    sip_call_id: str | None


class Redeemed(NamedTuple):
    """What a permit was exchanged for; ``ciphertext`` is None for a token without a row, ``key_version`` too."""

    call: uuid.UUID
    tenant_id: int
    token: str
    ciphertext: bytes | None
    key_version: int | None


class _Waiting:
    """A permit in the queue; ``answer`` becomes the row behind its place, None for a refused one."""

    __slots__ = ("answer", "asked", "sent")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.answer: AsyncResult[tuple[object, ...] | None] = AsyncResult()
        self.sent = False


class PermitQueue:
    """Redeems permits; safe to call from many greenlets."""

    def __init__(
        self, database: Functions, count: Count, *, lanes: int = LANES, most: int = MOST, patience_s: float = PATIENCE_S
    ) -> None:
        self._database = database
        self._count = count
        self._lanes = lanes
        self._most = most
        self._patience_s = patience_s
        self._queue: deque[_Waiting] = deque()
        self._under_way = 0
        self._overdue = 0
        self._leaving = False

    def redeem(self, asked: Asked) -> Redeemed | None:
        """Exchange a permit, None when it is refused; raises DatabaseAway, DatabaseRefused."""
        waiting = _Waiting(asked)
        self._queue.append(waiting)
        self._open_lane()
        try:
            row = waiting.answer.get()
        except DatabaseRefused:
            raise
        except BaseException:
            self._leave(waiting)
            raise
        if row is not None and row[0] is None:
            with counting_unanswered(self._count):
                row = self._ask([asked], wait=True).get(1)
        return None if row is None else Redeemed(*row)  # type: ignore[arg-type] # the database's types

    def _leave(self, waiting: _Waiting) -> None:
        """Take a permit back that was not sent; of one that was, it stays unknown what became of it."""
        if waiting.sent:
            self._count(UNANSWERED)
        else:
            self._queue.remove(waiting)

    def _open_lane(self) -> None:
        """Send what waits, unless a statement will be back soon and take it along."""
        if self._queue and not self._leaving and self._overdue == self._under_way < self._lanes:
            # It starts when the hub has gone through all that is ready now, and takes along who came with us.
            self._leaving = True
            self._under_way += 1
            gevent.spawn(self._lane)

    def _lane(self) -> None:
        self._leaving = False
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
                for waiting in batch:
                    waiting.sent = True
                self._exchange(batch)
        finally:
            self._under_way -= 1

    def _exchange(self, batch: Sequence[_Waiting]) -> None:
        try:
            with self._timed():
                rows = self._ask([waiting.asked for waiting in batch], wait=False)
        except Exception as error:  # noqa: BLE001 - raised again in every caller
            for waiting in batch:
                waiting.answer.set_exception(error)
        else:
            for place, waiting in enumerate(batch, 1):
                waiting.answer.set(rows.get(place))

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Let others leave when the block takes too long."""
        late = []

        def tell() -> None:
            late.append(True)
            self._overdue += 1
            self._open_lane()

        timer = gevent.get_hub().loop.timer(self._patience_s)
        timer.start(tell)
        try:
            yield
        finally:
            timer.close()
            self._overdue -= len(late)

    def _ask(self, asked: Sequence[Asked], *, wait: bool) -> dict[int, tuple[object, ...]]:
        rows = self._database.call("redeem_permits", *map(list, zip(*asked, strict=True)), wait)
        return {row[0]: row[1:] for row in rows}


@contextlib.contextmanager
def counting_unanswered(count: Count) -> Iterator[None]:
    """Count a statement whose outcome stays unknown, whatever cut it off: its event may be there."""
    try:
        yield
    except DatabaseRefused:
        raise
    except BaseException:
        count(UNANSWERED)
        raise
