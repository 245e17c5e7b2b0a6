"""From the parked leg to the customer's answer: the routes in order, and the talk until the leg we hold stops.

Invariants: the parked leg always has an end: by us, by the carrier's side, or, should this process freeze, by an alarm
in FreeSWITCH that an answer disarms; a cause is what FreeSWITCH reported, never a guess; an answer is what the leg that
was called says of itself. The leg of an agent is answered by the customer's answer; that of a transferred customer was
answered before and tells nothing, so the new customer's leg is listened to instead.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from esl_shield.calls import dialstring, signs, states
from esl_shield.calls.permits import Permit
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.freeswitch import CommandRefused, SessionGone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.records import CallRecord, Ledger, Observer
    from esl_shield.calls.routing import Route
    from esl_shield.config.calls import CallsConfig
    from esl_shield.esl.session import Event, Session

log = logging.getLogger(__name__)

ANSWER_MARGIN_S = 5.0  # FreeSWITCH's own answer time-out and our next permit come first


class Attempts:
    """Takes one parked leg over its routes; ``began`` is the monotonic time of the hand-off."""

    def __init__(
        self, session: Session, calls: CallsConfig, ledger: Ledger, observe: Observer, *, record: CallRecord,
        parked: Handoff, began: float,
    ) -> None:  # fmt: skip
        self._session = session
        self._calls = calls
        self._ledger = ledger
        self._observe = observe
        self._record = record
        self._parked = parked
        self._began = began
        self.customer = ""  # UUID of the customer's leg, as far as known
        self.ending = False  # the parked leg is hung up, and not by us
        self.over: Event | None = None  # its CHANNEL_HANGUP_COMPLETE

    def run(self, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> Cause:
        """Try the routes in order; returns what ended the last attempt, its talk included."""
        self._prepare(ways[0], alarm_s=self._alarm_s(len(ways)))
        cause = cause_of("ORIGINATOR_CANCEL")
        for position, way in enumerate(ways):
            try:
                if position:
                    permit, sip_call_id = Permit(), uuid4()
                    if not self._permitted(way, permit, sip_call_id):
                        break
                    self._dress(way)
                cause = self._attempt(way, permit, sip_call_id)
            except SessionGone:
                if not self._session.lingering:
                    raise
                self.ending = True  # the agent gave up between two attempts; the leg's last event says so
            rang = self._record.ringing_at is not None
            if self.ending or self._record.answered_at or not cause.may_go_elsewhere(rang=rang):
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

    def _prepare(self, way: Route, *, alarm_s: int) -> None:
        """Subscribe to the parked leg, dress it, replace the dialplan's alarm by one that leaves time to ring."""
        channel = self._parked.channel
        # linger comes last: of an agent who gives up in between, it would wait for events nobody asked for yet.
        filtered, subscribed, dressed, _disarmed, armed, _lingering = self._session.request(
            f"filter Unique-ID {channel}",
            f"event plain {' '.join(signs.EVENTS)}",
            self._dressing(way),
            f"api sched_del {channel}",
            f"api sched_hangup +{alarm_s} {channel} NORMAL_TEMPORARY_FAILURE",
            "linger",
        )
        for reply in (filtered, subscribed):
            if not reply.ok:
                raise CommandRefused(command="event")
        _require("uuid_setvar_multi", dressed.body)
        _require("sched_hangup", armed.body)

    def _dress(self, way: Route) -> None:
        (dressed,) = self._session.request(self._dressing(way))
        _require("uuid_setvar_multi", dressed.body)

    def _dressing(self, way: Route) -> str:
        channel = self._parked.channel
        variables = dialstring.parked_leg_variables(
            way, channel, answer_timeout_s=self._calls.answer_timeout_s, transferred=self._parked.transferred
        )
        return f"api uuid_setvar_multi {channel} {variables}"

    def _attempt(self, way: Route, permit: Permit, sip_call_id: UUID) -> Cause:
        """Take the call to one gateway; returns what ended the attempt."""
        record, transferred = self._record, self._parked.transferred
        app, argument = dialstring.execution(
            way, token=self._parked.dialled.token or "", domain=self._parked.domain or "", permit=permit,
            sip_call_id=sip_call_id, answer_timeout_s=self._calls.answer_timeout_s,
            disarms=self._parked.channel if transferred else None,
        )  # fmt: skip
        if transferred:
            self.customer = str(sip_call_id)
            (listening,) = self._session.request(f"filter Unique-ID {self.customer}")
            if not listening.ok:
                raise CommandRefused(command="filter")
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
                self.ending = signs.is_ending(event)
                if signs.was_bridged(event, way.gateway.delivery) and not transferred:
                    self._note_answer(event)
                return signs.cause(event, way.gateway.delivery, answered=record.answered_at is not None)
            if self._is_parked_legs_end(event):
                self.over, self.ending = event, True
                return cause_of(event.get("Hangup-Cause", ""))

    def _is_parked_legs_end(self, event: Event) -> bool:
        return event.name == "CHANNEL_HANGUP_COMPLETE" and event.get("Unique-ID") == str(self._parked.channel)

    def _patience_s(self, started: float) -> float:
        answered = self._record.answered_at is not None
        limit_s = self._calls.max_call_s if answered else self._calls.answer_timeout_s + ANSWER_MARGIN_S
        return max(started + limit_s - monotonic(), 0.001)

    def _note(self, event: Event) -> None:
        """Keep what an event says of the call's progress."""
        record = self._record
        if self._parked.transferred:
            if event.get("Unique-ID") != self.customer:
                return
        else:
            self.customer = event.get("Other-Leg-Unique-ID", self.customer)
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


def _require(command: str, answer: str) -> None:
    """Refuse to go on unless an api command said +OK: without its variables the parked leg would leak."""
    if answer.startswith("-ERR No such channel"):
        raise SessionGone(reason="the channel has ended")
    if not answer.startswith("+OK"):
        raise CommandRefused(command=command)
