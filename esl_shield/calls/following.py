"""An authorised call, from the first attempt to its CDR.

Invariants: whatever ends this object's work, exactly one CDR is written; the call ends with its customer's leg, not
with the leg that called: until then its slot, its permits and its agents' times stay open.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from esl_shield.calls import signs, states
from esl_shield.calls.attempts import Attempts
from esl_shield.calls.customer import Customer, End
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors.freeswitch import EslError, SessionGone
from esl_shield.esl.session import Hangup, Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.permits import Permit
    from esl_shield.calls.records import CallRecord, Ledger, Observer
    from esl_shield.calls.routing import Route
    from esl_shield.config.calls import CallsConfig

log = logging.getLogger(__name__)

GOODBYE_S = 5.0  # from our hang-up to FreeSWITCH's last event
ALARM_FIRST_S = 1.0  # the dialplan's alarm counts whole clock seconds: this is the earliest it can fire


class Following:
    """Takes one call over its routes to its end; ``began`` is the monotonic time of the hand-off."""

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
        self._attempts = Attempts(session, calls, ledger, observe, record=record, parked=parked, began=began)

    def run(self, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> None:
        """Try the routes in order and follow the call to its end."""
        try:
            self._end(self._attempts.run(ways, permit, sip_call_id))
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

    def _end(self, cause: Cause) -> None:
        """See a customer off who talks on, end the parked leg if it is still up, close the record."""
        seen_off = self._see_customer_off() if self._record.answered_at else None
        if seen_off is not None:
            self._close_record(states.ending(self._record.state, seen_off.cause), seen_off.cause, seen_off.at)
            return
        attempts = self._attempts
        if attempts.over is None:
            if not (attempts.ending or self._session.lingering):
                # Its reply does not matter: either way the channel's last event follows.
                self._session.request(Hangup(cause.hangup_as))
            else:
                attempts.ending = True
            self._wait_for_hangup()
        if attempts.ending and attempts.over is not None and not self._record.answered_at:
            cause = cause_of(attempts.over.get("Hangup-Cause", ""))
        ended_at = signs.stamp(attempts.over) if attempts.over else datetime.now(UTC)
        self._close_record(states.ending(self._record.state, cause), cause, ended_at)

    def _see_customer_off(self) -> End | None:
        """Follow a customer who was transferred; returns the end of that leg, None if it ended with the parked one."""
        if not self._attempts.customer or self._parked.transferred:
            return None
        customer = Customer(
            self._session, self._ledger, self._record, leg=self._attempts.customer, parked=self._parked.channel
        )
        try:
            if not customer.talks_on():
                return None
        except EslError:  # the parked leg is known to have ended; only a transfer stays unseen
            return None
        self._observe.count("transferred", "talks_on")
        self._release_parked_leg()
        return customer.follow(self._calls.max_call_s)

    def _release_parked_leg(self) -> None:
        """Hang the parked leg up if it waits for us without its customer, as it does when the script bridged it.

        One that was transferred itself, to a conference say, has left us and is not ours to end.
        """
        if self._attempts.ending or self._session.lingering:
            return
        (moved,) = self._session.request(f"api uuid_getvar {self._parked.channel} transfer_source")
        if moved.body.strip() == "_undef_":
            self._session.request(Hangup("NORMAL_CLEARING"))

    def _wait_for_hangup(self) -> None:
        deadline = monotonic() + GOODBYE_S
        while self._attempts.over is None and monotonic() < deadline:
            event = self._session.next_event(deadline - monotonic())
            if event is not None and event.name == "CHANNEL_HANGUP_COMPLETE":
                self._attempts.over = event

    def _close_record(self, state: State, cause: Cause | None, ended_at: datetime | None = None) -> None:
        record = self._record
        record.state = states.advance(record.state, state)
        record.cause = cause.name if cause else ""
        record.ended_at = ended_at or datetime.now(UTC)
        if record.answered_at:
            record.sip_code = 200
        elif cause and (not record.sip_code or self._attempts.ending):
            record.sip_code = cause.sip
