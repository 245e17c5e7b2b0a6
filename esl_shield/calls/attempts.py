"""From the parked leg to the customer's answer: the routes in order, and the talk until the leg we hold stops.

Invariants: a cause is what FreeSWITCH reported, never a guess; an answer is what the leg that was called says of
itself. The leg of an agent who dials is answered by the customer's answer; that of a transferred customer, or of an
agent we rang, was answered before and tells nothing, so the new customer's leg is listened to instead.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from esl_shield.calls import dialstring, policy, signs
from esl_shield.calls.parked import MARGIN_S, ParkedLeg
from esl_shield.calls.permits import Permit
from esl_shield.calls.states import Cause, cause_of
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.freeswitch import CommandRefused, SessionGone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.routing import Route
    from esl_shield.config.policy import TalkConfig
    from esl_shield.esl.session import Event

log = logging.getLogger(__name__)


class Attempts:
    """Takes one parked leg over its routes."""

    def __init__(self, leg: ParkedLeg, handoff: Handoff, talk: TalkConfig) -> None:
        self._leg = leg
        self._talk = talk
        self._record = leg.record
        self._handoff = handoff
        self.customer = ""  # UUID of the customer's leg, as far as known

    def run(self, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> Cause:
        """Try the routes in order; returns what ended the last attempt, its talk included."""
        leg = self._leg
        leg.prepare(
            self._variables(ways[0]), alarm_s=self._alarm_s(len(ways)), sound=policy.indispensable_file(self._talk)
        )
        cause = cause_of("ORIGINATOR_CANCEL")
        for position, way in enumerate(ways):
            try:
                if position:
                    permit, sip_call_id = Permit(), uuid4()
                    if not self._permitted(way, permit, sip_call_id):
                        break
                    leg.dress(self._variables(way))
                cause = self._attempt(way, permit, sip_call_id)
            except SessionGone:
                if not leg.session.lingering:
                    raise
                leg.ending = True  # the agent gave up between two attempts; the leg's last event says so
            else:
                if not self._record.answered_at:
                    leg.observe.attempted(way.gateway.name, cause)
            rang = self._record.ringing_at is not None
            if leg.ending or self._record.answered_at or not cause.may_go_elsewhere(rang=rang):
                break
            leg.observe.count("failover", cause.name)
        return cause

    def _permitted(self, way: Route, permit: Permit, sip_call_id: UUID) -> bool:
        try:
            return self._leg.ledger.next_permit(self._record.id, way.gateway, permit, sip_call_id)
        except (DatabaseAway, DatabaseRefused) as error:
            log.warning("call.no_permit", extra={"fields": {"call": self._record.id, "error_id": error.error_id}})
            return False

    def _alarm_s(self, attempts: int) -> int:
        """Return after how many seconds FreeSWITCH may end an unanswered call by itself: all attempts are over then."""
        return attempts * int(self._leg.calls.answer_timeout_s + MARGIN_S) + policy.notice_s(self._talk)

    def _variables(self, way: Route) -> str:
        return dialstring.parked_leg_variables(
            way, self._leg.channel, answer_timeout_s=self._leg.calls.answer_timeout_s,
            was_answered=self._handoff.was_answered, call=self._record.id, allowed=self._record.allowed,
            wishes=policy.parked_leg(self._talk, self._leg.channel, way.gateway.delivery),
            notice_s=policy.notice_s(self._talk),
        )  # fmt: skip

    def _attempt(self, way: Route, permit: Permit, sip_call_id: UUID) -> Cause:
        """Take the call to one gateway; returns what ended the attempt."""
        leg, record, was_answered = self._leg, self._record, self._handoff.was_answered
        timeout_s = leg.calls.answer_timeout_s
        app, argument = dialstring.execution(
            way, token=record.allowed.token or "", domain=self._handoff.domain or "", permit=permit,
            sip_call_id=sip_call_id, answer_timeout_s=timeout_s, disarms=leg.channel if was_answered else None,
            shown=record.allowed.shown or "", wishes=policy.customers_leg(self._talk, sip_call_id),
        )  # fmt: skip
        if was_answered:
            self.customer = str(sip_call_id)
            # The script's leg has the number among its variables; a transferred customer's own would be filtered too.
            unseen = [signs.NO_CUSTOMERS_VARIABLES] if way.gateway.delivery == "direct" else []
            listening = leg.session.request(*unseen, f"filter Unique-ID {self.customer}")
            if not all(reply.ok for reply in listening):
                raise CommandRefused(command="filter")
        execution = leg.execute(app, argument)
        record.gateway = way.gateway.name
        last = leg.until_done(execution, timeout_s + policy.notice_s(self._talk), self._note)
        if last is None:
            return cause_of("ALLOTTED_TIMEOUT")
        if last is leg.over:
            return cause_of(last.get("Hangup-Cause", ""))
        record.sip_code = signs.sip_code(last)
        if signs.was_bridged(last, way.gateway.delivery) and not was_answered:
            self._note_answer(last)
        return signs.cause(last, way.gateway.delivery, answered=record.answered_at is not None)

    def _note(self, event: Event) -> None:
        """Keep what an event says of the call's progress."""
        if self._handoff.was_answered:
            if event.get("Unique-ID") != self.customer:
                return
        else:
            self.customer = event.get("Other-Leg-Unique-ID", self.customer)
        self._leg.note_ringing(event)
        if signs.is_answer(event):
            self._note_answer(event)

    def _note_answer(self, event: Event) -> None:
        if self._leg.note_answer(signs.answered_at(event)):
            self._leg.observe.attempted(self._record.gateway, None)
            self._leg.ledger.answered(self._record)
