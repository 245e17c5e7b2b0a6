"""An authorised call, from the first attempt to its CDR.

Invariants: the call ends with its customer's leg, not with the leg that called: until then its slot, its permits and
its agents' times stay open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.calls import states
from esl_shield.calls.attempts import Attempts
from esl_shield.calls.customer import Customer, End
from esl_shield.errors.freeswitch import EslError
from esl_shield.esl.session import Hangup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.parked import ParkedLeg
    from esl_shield.calls.permits import Permit
    from esl_shield.calls.routing import Route
    from esl_shield.config.policy import TalkConfig


class Following:
    """Takes one call over its routes to its end."""

    def __init__(self, leg: ParkedLeg, handoff: Handoff, talk: TalkConfig) -> None:
        self._leg = leg
        self._handoff = handoff
        self._attempts = Attempts(leg, handoff, talk)

    def run(self, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> None:
        """Try the routes in order and follow the call to its end."""
        self._leg.to_its_end(lambda: self._run(ways, permit, sip_call_id))

    def _run(self, ways: Sequence[Route], permit: Permit, sip_call_id: UUID) -> None:
        leg = self._leg
        cause = self._attempts.run(ways, permit, sip_call_id)
        seen_off = self._see_customer_off() if leg.record.answered_at else None
        if seen_off is None:
            leg.end(cause)
        else:
            leg.close(states.ending(leg.record.state, seen_off.cause), seen_off.cause, seen_off.at)

    def _see_customer_off(self) -> End | None:
        """Follow a customer who was transferred; returns the end of that leg, None if it ended with the parked one."""
        leg = self._leg
        if not self._attempts.customer or self._handoff.transferred:
            return None
        customer = Customer(
            leg.session, leg.ledger, leg.record, leg=self._attempts.customer, company={str(leg.channel)}
        )  # fmt: skip
        try:
            if not customer.talks_on():
                return None
        except EslError:  # the parked leg is known to have ended; only a transfer stays unseen
            return None
        leg.observe.count("transferred", "talks_on")
        self._release_parked_leg()
        return customer.follow(leg.calls.max_call_s)

    def _release_parked_leg(self) -> None:
        """Hang the parked leg up if it waits for us without its customer, as it does when the script bridged it.

        One that was transferred itself, to a conference say, has left us and is not ours to end.
        """
        leg = self._leg
        if leg.ending or leg.session.lingering:
            return
        (moved,) = leg.session.request(f"api uuid_getvar {leg.channel} transfer_source")
        if moved.body.strip() == "_undef_":
            leg.session.request(Hangup("NORMAL_CLEARING"))
