"""The call's rows in PostgreSQL: its authorisation, its further permits, its CDR.

Invariants: asking (authorise, next permit) waits for the answer and fails closed; telling (answered, finished) never
holds a call up: it is queued and tried again until the database takes it, the statements of one call in their order,
those of several calls beside each other, since each is a commit of its own. Whoever is told nothing by the database
writes nothing: there is no CDR of a call that was never authorised.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID, uuid4

import gevent
from gevent.event import Event
from gevent.queue import Full, Queue

from esl_shield.calls.states import State
from esl_shield.errors.database import DatabaseAway, DatabaseRefused, LoginRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from esl_shield.calls.arrivals import Arrival
    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.permits import Permit
    from esl_shield.calls.states import Cause
    from esl_shield.config.gateways import Gateway
    from esl_shield.db.engine import Database

log = logging.getLogger(__name__)

_Statement = tuple[str, tuple[object, ...]]

ALLOWED = "ALLOWED"
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
ORPHAN_AFTER_S = 3.0  # by then the server has run or cancelled a statement we gave up on
UNEXPECTED_TRIES = 3
QUEUE_LENGTH = 100_000
WAITING_PER_CONNECTION = 8  # more statements than that in the pool's queue: a new call would wait too long
LANES = 4  # as many commits wait for the disk at once; the rest of the pool is for new calls


class Allowed(NamedTuple):
    """The answer about a call: the verdict, and of an allowed one what is shown of it and where its customer is.

    ``ref`` is the tenant's business ID; ``shown`` is what phones and recordings show.
    """

    verdict: str
    ref: str | None = None
    shown: str | None = None
    alias: str | None = None
    country: str | None = None
    region: str | None = None
    time_zone: str | None = None
    token: str | None = None


class Observer(Protocol):
    """Whoever counts what happens; it is given words from a fixed set, never data of a call."""

    def count(self, kind: str, reason: str, domain: str = "") -> None:
        """Count one occurrence; ``domain`` is the tenant's, where it is known."""

    def attempted(self, gateway: str, cause: Cause | None) -> None:
        """Take note of what an attempt through a gateway came to; None: it was answered."""

    def handed_off(self, duration_s: float) -> None:
        """Record the time from the accepted connection to the bridge command."""


@dataclass
class CallRecord:
    """What the CDR will say of one call; times are aware datetimes as FreeSWITCH stamped them."""

    id: UUID = field(default_factory=uuid4)
    domain: str = ""  # the tenant's, once the database allowed the call
    allowed: Allowed = field(default_factory=lambda: Allowed(""))
    state: State = State.PARKED
    gateway: str = ""
    attempts: int = 0
    cause: str = ""
    sip_code: int = 0
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None


class Ledger:
    """The worker's side of ``shield_api``."""

    def __init__(self, database: Database, observe: Observer) -> None:
        self._database = database
        self._observe = observe
        self._lanes = [_Lane(self._write, QUEUE_LENGTH // LANES) for _ in range(LANES)]

    @property
    def overloaded(self) -> bool:
        """Whether so many statements wait for a connection that a further call had better be refused at once."""
        usage = self._database.usage
        return usage.waiting_calls >= WAITING_PER_CONNECTION * usage.connections

    def authorize(self, call: UUID, handoff: Handoff, gateway: Gateway, permit: Permit, sip_call_id: UUID) -> Allowed:
        """One round trip: the verdict ALLOWED, NOT_FOUND or FORBIDDEN; raises DatabaseAway, DatabaseRefused."""
        dialled = handoff.dialled
        permitting = (
            permit.digest, gateway.name, gateway.delivery, _bound_call_id(gateway, sip_call_id), str(handoff.channel),
        )  # fmt: skip
        if handoff.clicked:  # whose leg it is, and whom it is for, the database knows
            row = self._database.call("authorize_click", str(call), handoff.domain, *permitting)[0]
        elif handoff.transferred:  # the agent is the one who talked to this customer last
            what = dialled.token, dialled.kind, dialled.length
            row = self._database.call("authorize_transfer", str(call), handoff.domain, *what, *permitting)[0]
            row = (row[0], None, dialled.token, None, None, None, None, dialled.token)
        else:
            what = dialled.token, dialled.kind, dialled.length
            row = self._database.call(
                "authorize_dial", str(call), handoff.domain, handoff.agent, *what, *permitting, dialled.alias
            )[0]
        return Allowed(*row)

    def accept_inbound(self, call: UUID, arrival: Arrival, *, last_agent_days: int) -> tuple[Any, ...]:
        """One round trip: verdict, domain, token, last agent, destinations; raises DatabaseAway, DatabaseRefused."""
        sip_call = str(arrival.sip_call) if arrival.sip_call else None
        return self._database.call(
            "accept_inbound_call",
            str(call), arrival.did, arrival.token, str(arrival.channel), sip_call, timedelta(days=last_agent_days),
        )[0]  # fmt: skip

    def next_permit(self, call: UUID, gateway: Gateway, permit: Permit, sip_call_id: UUID) -> bool:
        """Whether the call may try a further gateway; raises DatabaseAway, DatabaseRefused."""
        rows = self._database.call(
            "next_permit",
            str(call), permit.digest, gateway.name, gateway.delivery, _bound_call_id(gateway, sip_call_id),
        )  # fmt: skip
        return bool(rows) and rows[0][0] == ALLOWED

    def answered(self, record: CallRecord) -> None:
        """Tell that the call was answered; returns at once."""
        self._tell("call_answered", str(record.id), record.gateway)

    def joined(self, record: CallRecord, agent: str, leg: str, at: datetime) -> None:
        """Tell that an agent talks to the customer from now on; returns at once."""
        self._tell("call_joined", str(record.id), agent, leg, at)

    def left(self, record: CallRecord, leg: str, at: datetime) -> None:
        """Tell that whoever is on this leg talks to the customer no longer; returns at once."""
        self._tell("call_left", str(record.id), leg, at)

    def inbound_answered(self, record: CallRecord, agent: str) -> None:
        """Tell which agent answered a customer's call; returns at once."""
        self._tell("inbound_answered", str(record.id), agent)

    def finish(self, record: CallRecord) -> None:
        """Tell how the call ended; returns at once."""
        self._tell(
            "finish_call",
            str(record.id), str(record.state), record.cause, record.sip_code, record.gateway or None, record.attempts,
            record.ringing_at, record.answered_at, record.ended_at,
        )  # fmt: skip

    def finish_orphan(self, record: CallRecord) -> None:
        """Tell the end of a call whose authorisation we never heard of: it may have been granted all the same."""
        gevent.spawn_later(ORPHAN_AFTER_S, self.finish, record)

    @property
    def untold(self) -> int:
        """How many statements the database has not taken yet."""
        return sum(lane.waiting for lane in self._lanes)

    def close(self, timeout_s: float) -> int:
        """Give what is untold ``timeout_s`` to be written; returns how many statements are left."""
        gevent.wait([lane.written for lane in self._lanes], timeout=timeout_s)
        lost = [statement for lane in self._lanes for statement in lane.stop()]
        for _function, arguments in lost:
            log.error("cdr.lost", extra={"fields": {"call": arguments[0], "reason": "stopped"}})
        return len(lost)

    def _tell(self, function: str, call: str, *arguments: object) -> None:
        try:
            self._lanes[hash(call) % LANES].put((function, (call, *arguments)))
        except Full:
            self._observe.count("cdr_lost", "queue_full")
            log.error("cdr.lost", extra={"fields": {"call": call, "reason": "queue_full"}})  # noqa: TRY400

    def _write(self, function: str, arguments: tuple[object, ...]) -> None:
        pause_s, unexpected = RETRY_FIRST_S, 0
        while True:
            try:
                self._database.call(function, *arguments)
            except (DatabaseAway, LoginRefused):  # a login is refused while its password is being changed
                self._observe.count("cdr_delayed", "database_away")
            except Exception as error:  # noqa: BLE001 - one statement must not end the writing of all others
                unexpected += 1
                if isinstance(error, DatabaseRefused) or unexpected == UNEXPECTED_TRIES:
                    self._give_up(arguments, error)
                    return
            else:
                return
            gevent.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MOST_S)

    def _give_up(self, arguments: tuple[object, ...], error: Exception) -> None:
        self._observe.count("cdr_lost", "refused")
        error_id = getattr(error, "error_id", type(error).__name__)
        log.error("cdr.lost", extra={"fields": {"call": arguments[0], "error_id": error_id}})


def _bound_call_id(gateway: Gateway, sip_call_id: UUID) -> str | None:
    """Return the SIP Call-ID a permit is bound to; in direct delivery FreeSWITCH draws its own."""
    return str(sip_call_id) if gateway.delivery == "edge" else None


class _Lane:
    """Statements that are written one after the other; ``written`` is set while there is none."""

    def __init__(self, write: Callable[[str, tuple[object, ...]], None], most: int) -> None:
        self._write = write
        self._queue: Queue[_Statement] = Queue(maxsize=most)
        self._current: list[_Statement] = []
        self.written = Event()
        self.written.set()
        self._teller = gevent.spawn(self._tell_forever)

    @property
    def waiting(self) -> int:
        """How many statements were not written yet."""
        return len(self._current) + self._queue.qsize()

    @property
    def untold(self) -> list[_Statement]:
        """What was not written yet, in order."""
        return [*self._current, *self._queue.queue]

    def put(self, statement: _Statement) -> None:
        """Queue a statement; raises Full."""
        self._queue.put_nowait(statement)
        self.written.clear()

    def stop(self) -> list[_Statement]:
        """Write no more; returns what is left."""
        self._teller.kill()
        return self.untold

    def _tell_forever(self) -> None:
        while True:
            statement = self._queue.get()
            self._current = [statement]
            self._write(*statement)
            self._current = []
            if self._queue.empty():
                self.written.set()
