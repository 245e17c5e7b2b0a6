"""The leg FreeSWITCH parked with us: prepared, given applications, ended, and its call's record closed.

Invariants: the leg always has an end: by us, by either side, or, should this process freeze, by an alarm in FreeSWITCH
that an answer disarms; whatever ends the work on it, exactly one CDR is written.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from esl_shield.calls import signs, states
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors.freeswitch import CommandRefused, EslError, SessionGone, SoundMissing
from esl_shield.esl.session import Event, Hangup, Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from esl_shield.calls.observer import Observer
    from esl_shield.calls.records import CallRecord, Ledger
    from esl_shield.config.calls import CallsConfig

log = logging.getLogger(__name__)

GOODBYE_S = 5.0  # from our hang-up to FreeSWITCH's last event
ALARM_FIRST_S = 1.0  # the dialplan's alarm counts whole clock seconds: this is the earliest it can fire
MARGIN_S = 5.0  # FreeSWITCH's own answer time-out, and a next permit, come first


@dataclass
class ParkedLeg:
    """One leg and the record of its call; ``began`` is the monotonic time of the hand-off."""

    session: Session
    calls: CallsConfig
    ledger: Ledger
    observe: Observer
    record: CallRecord
    channel: UUID
    began: float
    ending: bool = False  # hung up, and not by us
    over: Event | None = None  # its CHANNEL_HANGUP_COMPLETE

    def to_its_end(self, work: Callable[[], None]) -> None:
        """Do ``work``, which closes the record; whatever becomes of it, the record is closed and told."""
        record = self.record
        try:
            work()
        except SessionGone:
            self._close_unseen()
        except EslError as error:
            log.warning("call.broken", extra={"fields": {"call": record.id, "error_id": error.error_id}})
        finally:
            if not record.state.is_terminal:
                self.close(State.FAILED if record.state is State.PARKED else State.LOST, None)
            self.observe.count("finished", str(record.state), record.domain)
            self.ledger.finish(record)

    def prepare(self, variables: str, *, alarm_s: int, sound: str = "") -> None:
        """Subscribe to the leg, dress it, replace the dialplan's alarm by one that leaves time to ring.

        Raises CommandRefused, SoundMissing when FreeSWITCH has no file ``sound`` (empty: none is asked for), and
        SessionGone when the leg has ended meanwhile.
        """
        # linger comes last: of a caller who gives up in between, it would wait for events nobody asked for yet.
        filtered, spared, subscribed, dressed, _disarmed, armed, *found, _lingering = self.session.request(
            f"filter Unique-ID {self.channel}",
            signs.NO_END_OF_SOCKET,
            f"event plain {' '.join(signs.EVENTS)}",
            f"api uuid_setvar_multi {self.channel} {variables}",
            f"api sched_del {self.channel}",
            f"api sched_hangup +{alarm_s} {self.channel} NORMAL_TEMPORARY_FAILURE",
            *([f"api file_exists {sound}"] if sound else []),
            "linger",
        )
        for reply in (filtered, spared, subscribed):
            if not reply.ok:
                raise CommandRefused(command="event")
        _require("uuid_setvar_multi", dressed.body)
        _require("sched_hangup", armed.body)
        for reply in found:
            if reply.body != "true":
                raise SoundMissing(path=sound)

    def dress(self, variables: str) -> None:
        """Set channel variables on the leg; raises as ``prepare`` does."""
        (dressed,) = self.session.request(f"api uuid_setvar_multi {self.channel} {variables}")
        _require("uuid_setvar_multi", dressed.body)

    def execute(self, app: str, argument: str) -> str:
        """Start an application on the leg, one more attempt of the call; returns the UUID of its execution."""
        execution = self.session.execute(app, argument)
        self.record.state = states.advance(self.record.state, State.BRIDGING)
        self.record.attempts += 1
        if self.record.attempts == 1:
            self.observe.handed_off(monotonic() - self.began)
        return execution

    def until_done(self, execution: str, wait_s: float, note: Callable[[Event], None]) -> Event | None:
        """Wait for the end of an execution or of the leg, which is in ``over`` then; None when it takes too long.

        ``wait_s`` is how long, in seconds, nobody may answer; a call that was answered may take ``max_call_s``.
        ``note`` is given every event, the last one included.
        """
        started = monotonic()
        while True:
            limit_s = self.calls.max_call_s if self.record.answered_at else wait_s + MARGIN_S
            event = self.session.next_event(max(started + limit_s - monotonic(), 0.001))
            if event is None:
                return None
            note(event)
            if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application-UUID") == execution:
                self.ending = self.ending or signs.is_ending(event)
                return event
            if event.name == "CHANNEL_HANGUP_COMPLETE" and event.get("Unique-ID") == str(self.channel):
                self.over, self.ending = event, True
                return event

    def note_ringing(self, event: Event) -> None:
        """Keep when the other side first gave a sign."""
        record = self.record
        record.ringing_at = record.ringing_at or signs.ringing_at(event)
        if record.ringing_at and record.state is State.BRIDGING:
            record.state = states.advance(record.state, State.RINGING)

    def note_answer(self, at: datetime | None) -> bool:
        """Keep when the call was answered; whether that is news."""
        if at is None or self.record.answered_at is not None:
            return False
        self.record.state = states.advance(self.record.state, State.ANSWERED)
        self.record.answered_at = at
        return True

    def end(self, cause: Cause) -> None:
        """End the leg if it is still up, wait for its last event, close the record."""
        if self.over is None:
            if not (self.ending or self.session.lingering):
                # Its reply does not matter: either way the channel's last event follows.
                self.session.request(Hangup(cause.hangup_as))
            else:
                self.ending = True
            self._wait_for_hangup()
        if self.ending and self.over is not None and not self.record.answered_at:
            cause = cause_of(self.over.get("Hangup-Cause", ""))
        self.close(states.ending(self.record.state, cause), cause, signs.stamp(self.over) if self.over else None)

    def close(self, state: State, cause: Cause | None, ended_at: datetime | None = None) -> None:
        """Close the record; without ``ended_at`` the call ends now."""
        record = self.record
        record.state = states.advance(record.state, state)
        record.cause = cause.name if cause else ""
        record.ended_at = ended_at or datetime.now(UTC)
        if record.answered_at:
            record.sip_code = 200
        elif cause and (not record.sip_code or self.ending):
            record.sip_code = cause.sip

    def _close_unseen(self) -> None:
        """Close the record of a leg that ended before we asked for its events.

        Until the dialplan's alarm can have fired only the caller ends a ringing leg; after that nobody knows who did.
        """
        if self.record.state is State.PARKED and monotonic() - self.began < ALARM_FIRST_S:
            self.close(State.CANCELLED, cause_of("ORIGINATOR_CANCEL"))

    def _wait_for_hangup(self) -> None:
        deadline = monotonic() + GOODBYE_S
        while self.over is None and monotonic() < deadline:
            event = self.session.next_event(deadline - monotonic())
            if event is not None and event.name == "CHANNEL_HANGUP_COMPLETE":
                self.over = event


def _require(command: str, answer: str) -> None:
    """Refuse to go on unless an api command said +OK: without its variables the parked leg would leak."""
    if answer.startswith("-ERR No such channel"):
        raise SessionGone(reason="the channel has ended")
    if not answer.startswith("+OK"):
        raise CommandRefused(command=command)
