"""The call's rows in PostgreSQL: its authorisation, its further permits, its CDR.

Invariants: asking (authorise, next permit) waits for the answer and fails closed; telling (answered, finished) never
holds a call up: it is queued and tried again until the database takes it, what is said of one call in its order; what
several calls have to say shares statements. Whoever is told nothing by the database writes nothing: there is no CDR of
a call that was never authorised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

import gevent

from esl_shield.calls.states import State
from esl_shield.calls.telling import Lane, Said

if TYPE_CHECKING:
    from datetime import datetime

    from esl_shield.calls.arrivals import Arrival
    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.observer import Observer
    from esl_shield.calls.permits import Permit
    from esl_shield.config.gateways import Gateway
    from esl_shield.db.engine import Database

ALLOWED = "ALLOWED"
ORPHAN_AFTER_S = 3.0  # by then the server has run or cancelled a statement we gave up on
QUEUE_LENGTH = 100_000
WAITING_PER_CONNECTION = 8  # more statements than that in the pool's queue: a new call would wait too long
LANES = 2  # what one call has to wait for does not hold up all others; the rest of the pool is for new calls


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
        self._lanes = [Lane(database, observe, most=QUEUE_LENGTH // LANES) for _ in range(LANES)]

    def overloaded(self, timeout_s: float) -> bool:
        """Whether a further call had better be refused: many statements wait for a connection, or one so long."""
        usage = self._database.usage
        return usage.waiting_calls >= WAITING_PER_CONNECTION * usage.connections or usage.oldest_wait_s() > timeout_s

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
        self._tell_row("calls_answered", record, gateway=record.gateway)

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
        self._tell_row(
            "finish_calls", record,
            state=str(record.state), cause=record.cause, sip_code=record.sip_code, gateway=record.gateway or None,
            attempts=record.attempts, ringing_at=_text(record.ringing_at), answered_at=_text(record.answered_at),
            ended_at=_text(record.ended_at),
        )  # fmt: skip

    def finish_orphan(self, record: CallRecord) -> None:
        """Tell the end of a call whose authorisation we never heard of: it may have been granted all the same."""
        gevent.spawn_later(ORPHAN_AFTER_S, self.finish, record)

    @property
    def untold(self) -> int:
        """How much the database has not taken yet."""
        return sum(lane.waiting for lane in self._lanes)

    def close(self, timeout_s: float) -> int:
        """Give what is untold ``timeout_s`` to be written; returns how much is left."""
        gevent.wait([lane.written for lane in self._lanes], timeout=timeout_s)
        return sum(lane.stop() for lane in self._lanes)

    def _tell(self, function: str, call: str, *arguments: object) -> None:
        self._lane(call).put(Said(function, call, arguments))

    def _tell_row(self, function: str, record: CallRecord, **row: object) -> None:
        call = str(record.id)
        self._lane(call).put(Said(function, call, row=row))

    def _lane(self, call: str) -> Lane:
        return self._lanes[hash(call) % LANES]


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _bound_call_id(gateway: Gateway, sip_call_id: UUID) -> str | None:
    """Return the SIP Call-ID a permit is bound to; in direct delivery FreeSWITCH draws its own."""
    return str(sip_call_id) if gateway.delivery == "edge" else None
