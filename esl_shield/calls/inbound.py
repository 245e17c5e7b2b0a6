"""A customer's call, from the edge to the agent who takes it, to its CDR.

Invariants: agents are shown the customer's token or ``anonymous``, whoever is rung; a call that was accepted
gets exactly one CDR, with the agent who answered it.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.calls import dialstring, signs, states
from esl_shield.calls.customer import Customer, End
from esl_shield.calls.parked import MARGIN_S, ParkedLeg
from esl_shield.calls.refusals import UNAVAILABLE, refuse, refuse_verdict
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.freeswitch import SessionGone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from esl_shield.calls.arrivals import Arrival
    from esl_shield.config.calls import InboundConfig
    from esl_shield.esl.session import Event

log = logging.getLogger(__name__)

ACCEPTED = "ACCEPTED"
TOO_LONG = cause_of("ALLOTTED_TIMEOUT")
UNSET = "_undef_"
_QUEUE = "queue:"
_NAME = re.compile(r"[A-Za-z0-9._+@\-]{1,128}")


class Accepted(NamedTuple):
    """What the database says of a call: verdict, tenant's domain, the token to show, whom to ring."""

    verdict: str
    domain: str | None
    token: str | None
    last_agent: str | None
    destinations: Sequence[str] | None

    @property
    def ways(self) -> list[str]:
        """Whom to ring, in order: the agent who called this customer last, then the DID's destinations."""
        first = [self.last_agent] if self.last_agent else []
        return [*first, *(way for way in self.destinations or () if way not in first)]


class Inbound:
    """One customer's call; ``run`` is the greenlet's body."""

    def __init__(self, leg: ParkedLeg, config: InboundConfig, arrival: Arrival) -> None:
        self._leg = leg
        self._config = config
        self._arrival = arrival
        self._domain = ""  # the tenant's
        self._queued = False  # mod_callcenter connected the customer
        self._customer = Customer(leg.session, leg.ledger, leg.record, leg=str(leg.channel), company=set())

    def run(self) -> None:
        """Take the call from its hand-off to its CDR."""
        leg = self._leg
        try:
            days = self._config.last_agent_days
            accepted = Accepted(*leg.ledger.accept_inbound(leg.record.id, self._arrival, last_agent_days=days))
        except (DatabaseAway, DatabaseRefused) as error:
            log.warning("handoff.not_accepted", extra={"fields": {"error_id": error.error_id}})
            refuse(leg.session, leg.observe, UNAVAILABLE, "database_away")
            leg.close(State.FAILED, cause_of("NORMAL_TEMPORARY_FAILURE"))
            leg.ledger.finish_orphan(leg.record)
            return
        if accepted.verdict != ACCEPTED:
            refuse_verdict(leg.session, leg.observe, accepted.verdict)
            return
        leg.record.domain = accepted.domain or ""
        leg.observe.count("accepted", "token" if accepted.token else "anonymous", leg.record.domain)
        leg.to_its_end(lambda: self._take_in(accepted))

    def _take_in(self, accepted: Accepted) -> None:
        leg = self._leg
        waits = [self._wait_s(way) for way in accepted.ways]
        alarm_s = sum(waits) + int(len(waits) * MARGIN_S) + 1
        self._domain = accepted.domain or ""
        variables = dialstring.customer_leg_variables(
            accepted.token, leg.channel, domain=self._domain, ring_s=self._config.ring_s
        )  # fmt: skip
        leg.prepare(variables, alarm_s=alarm_s)
        cause = self._ring_all(accepted.ways)
        seen_off = self._see_off() if leg.record.answered_at and not leg.ending and cause != TOO_LONG else None
        if seen_off is None or seen_off.cause == TOO_LONG:
            leg.end(seen_off.cause if seen_off else cause)
        else:
            leg.close(states.ending(leg.record.state, seen_off.cause), seen_off.cause, seen_off.at)

    def _see_off(self) -> End | None:
        """Follow a customer who talks on when our application is done: in a queue's call, or transferred."""
        if not self._customer.talks_on():
            return None
        if not self._queued:
            self._leg.observe.count("transferred", "talks_on")
        return self._customer.follow(self._leg.calls.max_call_s)

    def _wait_s(self, way: str) -> int:
        return self._config.queue_s if way.startswith(_QUEUE) else self._config.ring_s

    def _ring_all(self, ways: Sequence[str]) -> Cause:
        leg, cause = self._leg, cause_of("NO_ROUTE_DESTINATION")
        for way in ways:
            try:
                cause = self._ring(way)
            except SessionGone:
                if not leg.session.lingering:
                    raise
                leg.ending = True
            if leg.ending or leg.over or leg.record.answered_at:
                break
            leg.observe.count("passed_on", cause.name)
        return cause

    def _ring(self, way: str) -> Cause:
        """Ring one agent, or wait in one queue; returns what ended it."""
        leg, in_queue = self._leg, way.startswith(_QUEUE)
        if in_queue:
            app, argument = dialstring.wait_in_queue(way.removeprefix(_QUEUE))
        else:
            app, argument = dialstring.ring_agent(way, self._domain, ring_s=self._config.ring_s)
            # Its reply does not matter: a FreeSWITCH without mod_hash has no pickup and no supervision.
            leg.session.request(dialstring.note_ringing(way, self._domain, leg.channel))
        execution = leg.execute(app, argument)
        rung = "" if in_queue else way
        last = leg.until_done(execution, self._wait_s(way), lambda event: self._note(event, rung))
        if last is None:
            return TOO_LONG
        if last is leg.over:
            return cause_of(last.get("Hangup-Cause", ""))
        if in_queue:
            if last.get("variable_cc_cause") == "answered":
                # mod_callcenter is done once it has an agent: they talk now, or did
                self._queued = True
                self._answered(signs.stamp(last), "")
            return cause_of("NO_ANSWER")
        return signs.cause(last, "edge", answered=leg.record.answered_at is not None)

    def _note(self, event: Event, rung: str) -> None:
        """Keep what an event says of the call's progress; ``rung`` is empty in a queue, which answers first."""
        self._leg.note_ringing(event)
        if rung and (signs.is_answer(event) or signs.was_bridged(event, "edge")):
            self._answered(signs.answered_at(event), rung)

    def _answered(self, at: datetime | None, rung: str) -> None:
        """Tell the answer, and who answered: whoever is at the other end, for a colleague may have picked up."""
        leg = self._leg
        if at is None or not leg.note_answer(at):
            return
        agent = rung
        try:
            agent = self._customer.meets() or rung or self._agent_of_queue()
        finally:
            leg.ledger.inbound_answered(leg.record, agent)
        self._customer.look(at)
        if notes := dialstring.note_answer(rung, agent, self._domain, leg.channel):
            leg.session.request(*notes)

    def _agent_of_queue(self) -> str:
        """Ask which agent mod_callcenter found; empty if it does not say."""
        (reply,) = self._leg.session.request(f"api uuid_getvar {self._leg.channel} cc_agent")
        name = reply.body.strip()
        return name.partition("@")[0] if _NAME.fullmatch(name) and name != UNSET else ""
