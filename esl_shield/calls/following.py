"""An authorised call, from the first attempt to its CDR.

Invariants: the agent's leg always has an end: by us, by the carrier's side, or, should this process freeze, by an alarm
in FreeSWITCH that an answer disarms; whatever ends this object's work, exactly one CDR is written; a cause is what
FreeSWITCH reported, never a guess. Nothing of the customer's leg is asked for but whether it exists: its events, and in
direct delivery its variables, would hold the number.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import gevent

from esl_shield.calls import dialstring, signs, states
from esl_shield.calls.permits import Permit
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors import CommandRefused, DatabaseAway, DatabaseRefused, EslError, SessionGone
from esl_shield.esl.session import Event, Hangup, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.calls.records import CallRecord, Ledger, Observer
    from esl_shield.calls.routing import Route
    from esl_shield.config import CallsConfig

log = logging.getLogger(__name__)

GOODBYE_S = 5.0  # from our hang-up to FreeSWITCH's last event
ANSWER_MARGIN_S = 5.0  # FreeSWITCH's own answer time-out and our next permit come first
ALARM_FIRST_S = 1.0  # the dialplan's alarm counts whole clock seconds: this is the earliest it can fire
TRANSFER_LOOKS_S = (0.0, 0.5, 1.0, 2.0, 5.0)  # then every 5 s
TRANSFER_AFTER_S = 1.5  # a customer's leg that is up this long after the agent's was transferred


class Following:
    """Takes one call over its routes to its end; ``began`` is the monotonic time of the hand-off."""

    def __init__(
        self,
        session: Session,
        calls: CallsConfig,
        ledger: Ledger,
        observe: Observer,
        *,
        record: CallRecord,
        began: float,
    ) -> None:
        self._session = session
        self._calls = calls
        self._ledger = ledger
        self._observe = observe
        self._record = record
        self._began = began
        self._other_leg = ""
        self._ending = False  # the agent's leg is hung up, and not by us
        self._over: Event | None = None  # its CHANNEL_HANGUP_COMPLETE

    def run(self, channel: UUID, token: str, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> None:
        """Try the routes in order and follow the call to its end."""
        try:
            self._prepare(channel, ways[0], alarm_s=self._alarm_s(len(ways)))
            self._end(self._try_routes(channel, token, ways, permit, sip_call_id))
        except SessionGone:
            self._close_unseen()
        except EslError as error:
            log.warning("call.broken", extra={"fields": {"call": self._record.id, "error_id": error.error_id}})
        finally:
            if not self._record.state.is_terminal:
                self._close_record(State.FAILED if self._record.state is State.PARKED else State.LOST, None)
            self._observe.count("finished", str(self._record.state))
            self._ledger.finish(self._record)

    def _close_unseen(self) -> None:
        """Close the record of a leg that ended before we asked for its events.

        Until the dialplan's alarm can have fired only the agent ends a ringing leg; after that it is not known who did.
        """
        if self._record.state is State.PARKED and monotonic() - self._began < ALARM_FIRST_S:
            self._close_record(State.CANCELLED, cause_of("ORIGINATOR_CANCEL"))

    def _try_routes(self, channel: UUID, token: str, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> Cause:
        cause = cause_of("ORIGINATOR_CANCEL")
        for position, way in enumerate(ways):
            try:
                if position:
                    permit, sip_call_id = Permit(), uuid4()
                    if not self._permitted(way, permit, sip_call_id):
                        break
                    self._dress(channel, way)
                cause = self._attempt(way, token, permit, sip_call_id)
            except SessionGone:
                if not self._session.lingering:
                    raise
                self._ending = True  # the agent gave up between two attempts; the leg's last event says so
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

    def _alarm_s(self, attempts: int) -> int:
        """Return after how many seconds FreeSWITCH may end an unanswered call by itself: all attempts are over then."""
        return attempts * int(self._calls.answer_timeout_s + ANSWER_MARGIN_S)

    def _prepare(self, channel: UUID, way: Route, *, alarm_s: int) -> None:
        """Subscribe to the agent's leg, dress it, replace the dialplan's alarm by one that leaves time to ring."""
        # linger comes last: of an agent who gives up in between, it would wait for events nobody asked for yet.
        filtered, subscribed, dressed, _disarmed, armed, _lingering = self._session.request(
            f"filter Unique-ID {channel}",
            f"event plain {' '.join(signs.EVENTS)}",
            self._dressing(channel, way),
            f"api sched_del {channel}",
            f"api sched_hangup +{alarm_s} {channel} NORMAL_TEMPORARY_FAILURE",
            "linger",
        )
        for reply in (filtered, subscribed):
            if not reply.ok:
                raise CommandRefused(command="event")
        _require("uuid_setvar_multi", dressed.body)
        _require("sched_hangup", armed.body)

    def _dress(self, channel: UUID, way: Route) -> None:
        (dressed,) = self._session.request(self._dressing(channel, way))
        _require("uuid_setvar_multi", dressed.body)

    def _dressing(self, channel: UUID, way: Route) -> str:
        variables = dialstring.agent_leg_variables(way, channel, answer_timeout_s=self._calls.answer_timeout_s)
        return f"api uuid_setvar_multi {channel} {variables}"

    def _attempt(self, way: Route, token: str, permit: Permit, sip_call_id: UUID) -> Cause:
        """Take the call to one gateway; returns what ended the attempt."""
        record = self._record
        app, argument = dialstring.execution(
            way, token=token, permit=permit, sip_call_id=sip_call_id, answer_timeout_s=self._calls.answer_timeout_s
        )
        execution = self._session.execute(app, argument)
        record.state = states.advance(record.state, State.BRIDGING)
        record.gateway, record.attempts = way.gateway.name, record.attempts + 1
        started = monotonic()
        if record.attempts == 1:
            self._observe.handed_off(started - self._began)
        while True:
            event = self._session.next_event(self._patience_s(started))
            if event is None:
                return cause_of("ALLOTTED_TIMEOUT")
            self._note(event)
            if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application-UUID") == execution:
                record.sip_code = signs.sip_code(event)
                self._ending = signs.is_ending(event)
                if signs.was_bridged(event, way.gateway.delivery):
                    self._note_answer(event)
                return signs.cause(event, way.gateway.delivery, answered=record.answered_at is not None)
            if event.name == "CHANNEL_HANGUP_COMPLETE":
                self._over, self._ending = event, True
                return cause_of(event.get("Hangup-Cause", ""))

    def _patience_s(self, started: float) -> float:
        answered = self._record.answered_at is not None
        limit_s = self._calls.max_call_s if answered else self._calls.answer_timeout_s + ANSWER_MARGIN_S
        return max(started + limit_s - monotonic(), 0.001)

    def _note(self, event: Event) -> None:
        """Keep what an event says of the call's progress."""
        record = self._record
        self._other_leg = event.get("Other-Leg-Unique-ID", self._other_leg)
        record.ringing_at = record.ringing_at or signs.ringing_at(event)
        if record.ringing_at and record.state is State.BRIDGING:
            record.state = states.advance(record.state, State.RINGING)
        if signs.is_answer(event):
            self._note_answer(event)

    def _note_answer(self, event: Event) -> None:
        record = self._record
        answered_at = signs.answered_at(event)
        if answered_at is not None and record.answered_at is None:
            record.state = states.advance(record.state, State.ANSWERED)
            record.answered_at = answered_at
            self._ledger.answered(record)

    def _end(self, cause: Cause) -> None:
        """End the agent's leg if it is still up, see a transferred customer off, close the record."""
        if self._over is None:
            if not (self._ending or self._session.lingering):
                # Its reply does not matter: either way the channel's last event follows.
                self._session.request(Hangup(cause.hangup_as))
            else:
                self._ending = True
            self._wait_for_hangup()
        if self._ending and self._over is not None and not self._record.answered_at:
            cause = cause_of(self._over.get("Hangup-Cause", ""))
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

    def _see_customer_off(self, ended_at: datetime) -> datetime:
        """After a transfer the customer talks on without the agent: the call ends when that leg does."""
        other_leg = UUID(self._other_leg)
        started, looks = monotonic(), iter(TRANSFER_LOOKS_S)
        transferred = False
        while monotonic() - started < self._calls.max_call_s:
            gevent.sleep(next(looks, TRANSFER_LOOKS_S[-1]))
            (reply,) = self._session.request(f"api uuid_exists {other_leg}")
            if reply.body.strip() != "true":
                return datetime.now(UTC) if transferred else ended_at
            transferred = monotonic() - started >= TRANSFER_AFTER_S
        return datetime.now(UTC)

    def _close_record(self, state: State, cause: Cause | None, ended_at: datetime | None = None) -> None:
        record = self._record
        record.state = states.advance(record.state, state)
        record.cause = cause.name if cause else ""
        record.ended_at = ended_at or datetime.now(UTC)
        if record.answered_at:
            record.sip_code = 200
        elif cause and (not record.sip_code or self._ending):
            record.sip_code = cause.sip


def _require(command: str, answer: str) -> None:
    """Refuse to go on unless an api command said +OK: without its variables the agent's leg would leak."""
    if answer.startswith("-ERR No such channel"):
        raise SessionGone(reason="the channel has ended")
    if not answer.startswith("+OK"):
        raise CommandRefused(command=command)
