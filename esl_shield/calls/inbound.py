"""A customer's call, from the edge to the agent who takes it, to its CDR.

Invariants: agents are shown the customer's token or ``anonymous``, whoever is rung; the customer's leg always has an
end: by us, by either side, or, should this process freeze, by an alarm in FreeSWITCH that an answer disarms; a call
that was accepted gets exactly one CDR, with the agent who answered it.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import gevent

from esl_shield.calls import arrivals, dialstring, signs, states
from esl_shield.calls.records import CallRecord
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors.calls import HandoffRejected
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.freeswitch import CommandRefused, EslError, SessionGone
from esl_shield.esl.session import Event, Hangup, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from esl_shield.calls.arrivals import Arrival
    from esl_shield.calls.records import Ledger, Observer
    from esl_shield.config import Config

log = logging.getLogger(__name__)

ACCEPTED = "ACCEPTED"
GOODBYE_S = 5.0  # from our hang-up to FreeSWITCH's last event
MARGIN_S = 5.0  # FreeSWITCH's own ringing time-out comes first
AGENT_LOOKS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
UNSET = "_undef_"
_QUEUE = "queue:"
_NAME = re.compile(r"[A-Za-z0-9._+@\-]{1,128}")
_REFUSALS = {"NOT_FOUND": "404 Not Found", "FORBIDDEN": "403 Forbidden"}
_UNAVAILABLE = "503 Service Unavailable"


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

    def __init__(
        self, session: Session, config: Config, ledger: Ledger, observe: Observer, *,
        refuse: Callable[[str, str], None], began: float,
    ) -> None:  # fmt: skip
        """``refuse`` answers the parked leg with a SIP status; ``began`` is the monotonic time of the hand-off."""
        self._session = session
        self._calls = config.calls
        self._config = config.inbound
        self._ledger = ledger
        self._observe = observe
        self._refuse = refuse
        self._began = began
        self._record = CallRecord()
        self._over: Event | None = None  # the customer's CHANNEL_HANGUP_COMPLETE
        self._ending = False  # the customer's leg is hung up, and not by us

    def run(self, channel_data: Event) -> None:
        """Take the call from its hand-off to its CDR."""
        try:
            arrival = arrivals.read(channel_data)
        except HandoffRejected as error:
            log.warning("handoff.rejected", extra={"fields": {"error_id": error.error_id}})
            self._refuse(_UNAVAILABLE, "bad_handoff")
            return
        try:
            days = self._config.last_agent_days
            accepted = Accepted(*self._ledger.accept_inbound(self._record.id, arrival, last_agent_days=days))
        except (DatabaseAway, DatabaseRefused) as error:
            log.warning("handoff.not_accepted", extra={"fields": {"error_id": error.error_id}})
            self._refuse(_UNAVAILABLE, "database_away")
            self._close(State.FAILED, cause_of("NORMAL_TEMPORARY_FAILURE"))
            self._ledger.finish_orphan(self._record)
            return
        if accepted.verdict != ACCEPTED:
            self._refuse(_REFUSALS.get(accepted.verdict, "403 Forbidden"), accepted.verdict.lower())
            return
        self._observe.count("accepted", "token" if accepted.token else "anonymous")
        self._follow(arrival, accepted)

    def _follow(self, arrival: Arrival, accepted: Accepted) -> None:
        try:
            self._prepare(arrival.channel, accepted)
            self._end(self._ring_all(accepted))
        except SessionGone:
            self._close_unseen()
        except EslError as error:
            log.warning("call.broken", extra={"fields": {"call": self._record.id, "error_id": error.error_id}})
        finally:
            if not self._record.state.is_terminal:
                self._close(State.FAILED if self._record.state is State.PARKED else State.LOST, None)
            self._observe.count("finished", str(self._record.state))
            self._ledger.finish(self._record)

    def _prepare(self, channel: UUID, accepted: Accepted) -> None:
        """Subscribe to the customer's leg, dress it, replace the dialplan's alarm by one that leaves time to ring."""
        waits = [self._config.queue_s if way.startswith(_QUEUE) else self._config.ring_s for way in accepted.ways]
        alarm_s = sum(waits) + int(len(waits) * MARGIN_S) + 1
        variables = dialstring.customer_leg_variables(accepted.token, channel, ring_s=self._config.ring_s)
        filtered, subscribed, dressed, _disarmed, armed, _lingering = self._session.request(
            f"filter Unique-ID {channel}",
            f"event plain {' '.join(signs.EVENTS)}",
            f"api uuid_setvar_multi {channel} {variables}",
            f"api sched_del {channel}",
            f"api sched_hangup +{alarm_s} {channel} NORMAL_TEMPORARY_FAILURE",
            "linger",
        )
        for command, done in (
            ("filter", filtered.ok), ("event", subscribed.ok),
            ("uuid_setvar_multi", dressed.body.startswith("+OK")), ("sched_hangup", armed.body.startswith("+OK")),
        ):  # fmt: skip
            if not done:
                raise CommandRefused(command=command)

    def _ring_all(self, accepted: Accepted) -> Cause:
        cause = cause_of("NO_ROUTE_DESTINATION")
        for way in accepted.ways:
            try:
                cause = self._ring(way, accepted.domain or "")
            except SessionGone:
                if not self._session.lingering:
                    raise
                self._ending = True
            if self._ending or self._over or self._record.answered_at:
                break
            self._observe.count("passed_on", cause.name)
        return cause

    def _ring(self, way: str, domain: str) -> Cause:
        """Ring one agent, or wait in one queue; returns what ended it."""
        in_queue = way.startswith(_QUEUE)
        if in_queue:
            app, argument = dialstring.wait_in_queue(way.removeprefix(_QUEUE))
        else:
            app, argument = dialstring.ring_agent(way, domain, ring_s=self._config.ring_s)
        execution = self._session.execute(app, argument)
        record, started = self._record, monotonic()
        record.state = states.advance(record.state, State.BRIDGING)
        record.attempts += 1
        if record.attempts == 1:
            self._observe.handed_off(started - self._began)
        while True:
            event = self._session.next_event(self._patience_s(started, in_queue=in_queue))
            if event is None:
                return cause_of("ALLOTTED_TIMEOUT")
            self._note(event, "" if in_queue else way)
            if event.name == "CHANNEL_HANGUP_COMPLETE":
                self._over, self._ending = event, True
                return cause_of(event.get("Hangup-Cause", ""))
            if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application-UUID") == execution:
                self._ending = self._ending or signs.is_ending(event)
                if in_queue and event.get("variable_cc_cause") == "answered":
                    # mod_callcenter is done once it has an agent: they talk now, or did
                    self._answered(signs.stamp(event), self._agent_of_queue())
                    if not self._ending:
                        continue
                if in_queue:
                    return cause_of("NO_ANSWER")
                return signs.cause(event, "edge", answered=record.answered_at is not None)

    def _patience_s(self, started: float, *, in_queue: bool) -> float:
        wait_s = self._config.queue_s if in_queue else self._config.ring_s
        limit_s = self._calls.max_call_s if self._record.answered_at else wait_s + MARGIN_S
        return max(started + limit_s - monotonic(), 0.001)

    def _note(self, event: Event, rung: str) -> None:
        """Keep what an event says of the call's progress; ``rung`` is empty in a queue, which answers first."""
        record = self._record
        record.ringing_at = record.ringing_at or signs.ringing_at(event)
        if record.ringing_at and record.state is State.BRIDGING:
            record.state = states.advance(record.state, State.RINGING)
        if rung and (signs.is_answer(event) or signs.was_bridged(event, "edge")):
            self._answered(signs.answered_at(event), rung)

    def _agent_of_queue(self) -> str:
        """Ask which agent mod_callcenter found: it says so a moment after it is done; empty if it does not."""
        for pause_s in AGENT_LOOKS_S:
            gevent.sleep(pause_s)
            (reply,) = self._session.request(f"api uuid_getvar {self._session.uuid} cc_agent")
            name = reply.body.strip()
            if _NAME.fullmatch(name) and name != UNSET:
                return name.partition("@")[0]
        return ""

    def _answered(self, at: datetime | None, agent: str) -> None:
        if at is not None and self._record.answered_at is None:
            self._record.state = states.advance(self._record.state, State.ANSWERED)
            self._record.answered_at = at
            self._ledger.inbound_answered(self._record, agent)

    def _end(self, cause: Cause) -> None:
        """End the customer's leg if it is still up, and close the record."""
        if self._over is None:
            if not (self._ending or self._session.lingering):
                # Its reply does not matter: either way the channel's last event follows.
                self._session.request(Hangup(cause.hangup_as))
            else:
                self._ending = True
            deadline = monotonic() + GOODBYE_S
            while self._over is None and monotonic() < deadline:
                event = self._session.next_event(deadline - monotonic())
                if event is not None and event.name == "CHANNEL_HANGUP_COMPLETE":
                    self._over = event
        if self._ending and self._over is not None and not self._record.answered_at:
            cause = cause_of(self._over.get("Hangup-Cause", ""))
        ended_at = signs.stamp(self._over) if self._over else None
        self._close(states.ending(self._record.state, cause), cause, ended_at)

    def _close_unseen(self) -> None:
        """Close the record of a leg whose socket ended without a word: answered, it goes on without us."""
        if self._record.state is State.PARKED:
            self._close(State.CANCELLED, cause_of("ORIGINATOR_CANCEL"))

    def _close(self, state: State, cause: Cause | None, ended_at: datetime | None = None) -> None:
        record = self._record
        record.state = states.advance(record.state, state)
        record.cause = cause.name if cause else ""
        record.ended_at = ended_at or datetime.now(UTC)
        record.sip_code = 200 if record.answered_at else cause.sip if cause else 0
