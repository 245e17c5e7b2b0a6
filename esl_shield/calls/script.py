"""The greenlet that takes one call through the table of states.

Invariants: FreeSWITCH gets an answer to every parked call within the hand-off's time limit; until the permit is out,
the dialplan's own ``sched_hangup`` stays armed, so that a worker that hangs cannot hold an agent in silence; a refusal
is decided by the database, its reason is never told to the phone; the agent's leg is always ended by us or by
FreeSWITCH; every authorised call gets exactly one CDR unless this process dies, and then the call itself goes on.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import gevent

from esl_shield.calls import dialstring, handoff, routing, signs, states
from esl_shield.calls.permits import Permit
from esl_shield.calls.records import ALLOWED, CallRecord, Ledger, Observer
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors import CommandRefused, DatabaseAway, DatabaseRefused, EslError, HandoffRejected, SessionGone
from esl_shield.esl.session import Event, Hangup, Session

if TYPE_CHECKING:
    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.routing import Route
    from esl_shield.config import Config

log = logging.getLogger(__name__)

# Verdict or failure -> what the phone is answered; equal for every reason behind one verdict.
NOT_FOUND = "404 Not Found"
FORBIDDEN = "403 Forbidden"
UNAVAILABLE = "503 Service Unavailable"
_REFUSALS = {"NOT_FOUND": NOT_FOUND, "FORBIDDEN": FORBIDDEN}

GOODBYE_S = 5.0  # from our hang-up to FreeSWITCH's last event
ANSWER_MARGIN_S = 10.0  # FreeSWITCH's own answer time-out comes first
TRANSFER_LOOKS_S = (0.0, 0.5, 1.0, 2.0, 5.0)  # then every 5 s


class Script:
    """One call; ``run`` is the greenlet's body."""

    def __init__(self, session: Session, config: Config, ledger: Ledger, observe: Observer) -> None:
        self._session = session
        self._config = config
        self._ledger = ledger
        self._observe = observe
        self._record = CallRecord()
        self._began = monotonic()
        self._other_leg = ""
        self._ending = False  # the agent's leg is hung up
        self._over: Event | None = None  # its CHANNEL_HANGUP_COMPLETE

    def run(self) -> None:
        """Take the call from ``connect`` to its CDR."""
        try:
            parked = handoff.read(self._session.connect(), self._config.handoff)
        except HandoffRejected as error:
            log.warning("handoff.rejected", extra={"fields": {"error_id": error.error_id}})
            self._refuse(UNAVAILABLE, "bad_handoff")
        except SessionGone:
            self._observe.count("gone", "before_connect")
        except EslError as error:
            self._observe.count("gone", "bad_frame")
            log.warning("handoff.failed", extra={"fields": {"error_id": error.error_id}})
        else:
            self._take(parked)

    def _take(self, parked: Handoff) -> None:
        ways = self._ways(parked)
        permit, sip_call_id = Permit(), uuid4()
        # Without a way of its own the caller is not a tenant we serve; the database says so and keeps the audit row.
        gateway = ways[0].gateway if ways else self._config.gateways[0]
        try:
            verdict = self._ledger.authorize(self._record.id, parked, gateway, permit, sip_call_id)
        except (DatabaseAway, DatabaseRefused) as error:
            log.warning("handoff.not_authorized", extra={"fields": {"error_id": error.error_id}})
            self._refuse(UNAVAILABLE, "database_away")
            return
        if verdict != ALLOWED:
            self._refuse(_REFUSALS.get(verdict, FORBIDDEN), verdict.lower())
            return
        self._observe.count("authorized", gateway.delivery)
        if ways:
            self._follow(parked, ways, permit, sip_call_id)
        else:
            self._give_up(parked)

    def _ways(self, parked: Handoff) -> list[Route]:
        domain, token = parked.domain or "", parked.dialled.token or ""
        return routing.routes(
            self._config.gateways, domain=domain, token=token, max_attempts=self._config.calls.max_attempts
        )

    def _give_up(self, parked: Handoff) -> None:
        """End a call of a tenant that no gateway is configured for."""
        log.error("handoff.no_gateway", extra={"fields": {"domain": parked.domain}})
        self._close_record(State.FAILED, cause_of("NO_ROUTE_DESTINATION"))
        self._ledger.finish(self._record)
        self._refuse(UNAVAILABLE, "no_gateway")

    def _refuse(self, answer: str, reason: str) -> None:
        """Answer the phone and wait until FreeSWITCH has taken it."""
        _respond(self._session, answer, self._observe, reason)

    def _follow(self, parked: Handoff, ways: list[Route], permit: Permit, sip_call_id: UUID) -> None:
        """Try the routes in order and follow the call to its end; whatever happens, the CDR is written."""
        record = self._record
        try:
            cause = self._try_routes(parked, ways, permit, sip_call_id)
            self._end(cause)
        except SessionGone:
            if record.state is State.PARKED:
                self._close_record(State.CANCELLED, cause_of("ORIGINATOR_CANCEL"))
            else:
                self._close_record(State.LOST, None)
        except EslError as error:
            log.warning("call.broken", extra={"fields": {"call": record.id, "error_id": error.error_id}})
            self._close_record(State.LOST if record.state is not State.PARKED else State.FAILED, None)
        self._observe.count("finished", str(record.state))
        self._ledger.finish(record)

    def _try_routes(self, parked: Handoff, ways: list[Route], permit: Permit, sip_call_id: UUID) -> Cause:
        token = parked.dialled.token or ""
        self._prepare(parked.channel, ways[0])
        for position, way in enumerate(ways):
            if self._session.lingering:
                return cause_of("ORIGINATOR_CANCEL")
            if position:
                permit, sip_call_id = Permit(), uuid4()
                if not self._permitted(way, permit, sip_call_id):
                    break
                self._set_variables(parked.channel, way)
            cause = self._attempt(way, token, permit, sip_call_id)
            rang = self._record.ringing_at is not None
            if self._ending or self._record.answered_at or not cause.may_go_elsewhere(rang=rang):
                break
            self._observe.count("failover", cause.name)
        return cause

    def _permitted(self, way: Route, permit: Permit, sip_call_id: UUID) -> bool:
        try:
            return self._ledger.next_permit(self._record.id, way.gateway, permit, sip_call_id)
        except (DatabaseAway, DatabaseRefused) as error:
            log.warning("call.no_permit", extra={"fields": {"call": self._record.id, "error_id": error.error_id}})
            return False

    def _prepare(self, channel: UUID, way: Route) -> None:
        """Subscribe to the call's events, dress the agent's leg, disarm the dialplan's ``sched_hangup``."""
        # linger comes last: of an agent who gives up in between, it would wait for events nobody asked for yet.
        _filtered, _subscribed, dressed, *_ = self._session.request(
            f"filter Unique-ID {channel}",
            f"event plain {' '.join(signs.EVENTS)}",
            self._dressing(channel, way),
            f"api sched_del {channel}",
            "linger",
        )
        _require(dressed.body)

    def _set_variables(self, channel: UUID, way: Route) -> None:
        (dressed,) = self._session.request(self._dressing(channel, way))
        _require(dressed.body)

    def _dressing(self, channel: UUID, way: Route) -> str:
        variables = dialstring.agent_leg_variables(way, answer_timeout_s=self._config.calls.answer_timeout_s)
        return f"api uuid_setvar_multi {channel} {variables}"

    def _attempt(self, way: Route, token: str, permit: Permit, sip_call_id: UUID) -> Cause:
        """Take the call to one gateway; returns what ended the attempt."""
        record = self._record
        record.state = states.advance(record.state, State.BRIDGING)
        record.gateway, record.attempts = way.gateway.name, record.attempts + 1
        app, argument = dialstring.execution(
            way, token=token, permit=permit, sip_call_id=sip_call_id,
            answer_timeout_s=self._config.calls.answer_timeout_s,
        )  # fmt: skip
        execution = self._session.execute(app, argument)
        started = monotonic()
        if record.attempts == 1:
            self._observe.handed_off(started - self._began)
        while True:
            event = self._session.next_event(self._patience_s(started))
            if event is None:
                return cause_of("ALLOTTED_TIMEOUT")
            if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application-UUID") == execution:
                record.sip_code = signs.sip_code(event)
                self._ending = signs.is_ending(event)
                return signs.cause(event, way.gateway.delivery, answered=record.answered_at is not None)
            if event.name == "CHANNEL_HANGUP_COMPLETE":
                self._over, self._ending = event, True
                return cause_of(event.get("Hangup-Cause", ""))
            self._note(event)

    def _patience_s(self, started: float) -> float:
        calls = self._config.calls
        limit_s = calls.max_call_s if self._record.answered_at else calls.answer_timeout_s + ANSWER_MARGIN_S
        return max(started + limit_s - monotonic(), 0.001)

    def _note(self, event: Event) -> None:
        """Keep what a sign of progress says."""
        record = self._record
        if event.name in ("CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA"):
            if record.state is State.BRIDGING:
                record.state = states.advance(record.state, State.RINGING)
            record.ringing_at = record.ringing_at or signs.stamp(event)
        elif event.name == "CHANNEL_BRIDGE":
            self._other_leg = event.get("Other-Leg-Unique-ID", "")
        if signs.is_answer(event) and record.answered_at is None:
            record.state = states.advance(record.state, State.ANSWERED)
            record.answered_at = signs.stamp(event)
            self._ledger.answered(record)

    def _end(self, cause: Cause) -> None:
        """End the agent's leg if it is still up, see a transferred customer off, close the record."""
        if self._over is None:
            if not (self._ending or self._session.lingering):
                # Its reply does not matter: either way the channel's last event follows.
                self._session.request(Hangup(cause.hangup_as))
            self._wait_for_hangup()
        if self._over is not None and self._over.get("Hangup-Cause") == "ORIGINATOR_CANCEL":
            cause = cause_of("ORIGINATOR_CANCEL")
        ended_at = signs.stamp(self._over) if self._over else datetime.now(UTC)
        if self._record.answered_at and self._other_leg:
            with contextlib.suppress(EslError):  # the agent's leg is known to have ended; only a transfer stays unseen
                ended_at = self._see_customer_off(ended_at)
        self._close_record(states.ending(self._record.state, cause), cause, ended_at)

    def _wait_for_hangup(self) -> None:
        deadline = monotonic() + GOODBYE_S
        while self._over is None and monotonic() < deadline:
            event = self._session.next_event(deadline - monotonic())
            if event is not None and event.name == "CHANNEL_HANGUP_COMPLETE":
                self._over = event
            elif event is not None:
                self._note(event)

    def _see_customer_off(self, ended_at: datetime) -> datetime:
        """After a transfer the customer talks on without the agent: the call ends when that leg does.

        The leg is asked for by its UUID and not followed by events, because in direct delivery the events of the
        customer's leg hold the number.
        """
        started, looks = monotonic(), iter(TRANSFER_LOOKS_S)
        last_seen_up = False
        while monotonic() - started < self._config.calls.max_call_s:
            gevent.sleep(next(looks, TRANSFER_LOOKS_S[-1]))
            (reply,) = self._session.request(f"api uuid_exists {UUID(self._other_leg)}")
            if reply.body.strip() != "true":
                return datetime.now(UTC) if last_seen_up else ended_at
            # The customer's leg may outlive the agent's by moments in any call; only a later look means a transfer.
            last_seen_up = monotonic() - started > sum(TRANSFER_LOOKS_S[:3])
        return datetime.now(UTC)

    def _close_record(self, state: State, cause: Cause | None, ended_at: datetime | None = None) -> None:
        record = self._record
        record.state = states.advance(record.state, state)
        record.cause = cause.name if cause else ""
        record.ended_at = ended_at or datetime.now(UTC)
        if record.answered_at:
            record.sip_code = 200
        elif cause and not record.sip_code:
            record.sip_code = cause.sip


def refuse_overflow(session: Session, observe: Observer) -> None:
    """Answer a call there is no room for: ``respond 503`` at once, so that the dialplan goes on to its refusal."""
    try:
        session.connect()
    except EslError:
        observe.count("gone", "before_connect")
    else:
        _respond(session, UNAVAILABLE, observe, "worker_full")


def _respond(session: Session, answer: str, observe: Observer, reason: str) -> None:
    """Answer the phone and stay until FreeSWITCH closes the socket, which it does once the channel is gone."""
    observe.count("refused", reason)
    try:
        session.execute("respond", answer)
        session.next_event(GOODBYE_S)
    except SessionGone:
        return
    except EslError as error:
        log.warning("handoff.refusal_lost", extra={"fields": {"error_id": error.error_id}})


def _require(answer: str) -> None:
    """Refuse to go on unless an api command said +OK: without its variables the agent's leg would leak."""
    if answer.startswith("-ERR No such channel"):
        raise SessionGone(reason="the channel has ended")
    if not answer.startswith("+OK"):
        raise CommandRefused(command="uuid_setvar_multi")
