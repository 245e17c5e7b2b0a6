"""One redemption: permit in, number out.

Invariants: the database consumes the permit and writes the audit event before anything is decrypted, so a number that
was disclosed was audited; every refusal is the same answer; an answer about the number itself (a rule forbids it, it
cannot be decrypted) is audited too; the number lives in the local variables of one call and is in no exception.

A permit is for one gateway and one delivery. An unknown gateway never reaches the database; a known one of the other
delivery does, because that consumes the permit and leaves an audit event, and is refused whatever the database says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.audit.journal import DECRYPTS, WITHHELD
from esl_shield.errors.keys import CryptoError
from esl_shield.errors.methods import MethodAway, MethodRefused
from esl_shield.resolver.functions import Count, Functions, no_count
from esl_shield.resolver.permits import Asked, PermitQueue, Redeemed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esl_shield.config.gateways import Delivery, Gateway
    from esl_shield.resolver.destinations import Destinations
    from esl_shield.resolver.donotcall import DoNotCall
    from esl_shield.resolver.forms import RedeemForm
    from esl_shield.resolver.methods.choice import Methods


@dataclass(frozen=True, repr=False, slots=True)
class Outcome:
    """What the caller is told and why (both of a fixed few), the number's spelling and the call, empty if none."""

    answer: str
    reason: str
    body: str = ""
    call: str = ""


NUMBER, TOKEN, REVEALED, REFUSED = "number", "token", "revealed", "refused"
DESTINATION, AWAY = "destination", "away"
LISTED = "do_not_call"


class Redeemer:
    """Exchanges permits for numbers; safe to call from many greenlets."""

    def __init__(
        self, database: Functions, methods: Methods, destinations: Destinations, gateways: Sequence[Gateway],
        count: Count = no_count, *, lists: DoNotCall | None = None,
    ) -> None:  # fmt: skip
        self._lists = lists
        self._count = count
        self._database = database
        self._permits = PermitQueue(database, count)
        self._methods = methods
        self._destinations = destinations
        self._gateways: Mapping[str, Gateway] = {gateway.name: gateway for gateway in gateways}

    def redeem(self, form: RedeemForm, delivery: Delivery) -> Outcome:
        """Redeem for an authenticated caller; raises DatabaseAway."""
        gateway = self._gateways.get(form.gateway)
        if gateway is None:
            return Outcome(REFUSED, "unknown_gateway")
        redeemed = self._permits.redeem(Asked(form.permit_hash, form.token, form.gateway, delivery, form.call or None))
        if redeemed is None:
            return Outcome(REFUSED, "permit")
        if gateway.delivery != delivery or redeemed.token != form.token:
            self._count(WITHHELD)
            return self._noted(redeemed, REFUSED, "delivery")
        self._count(DECRYPTS)  # before it is done, so that no way out of it is uncounted
        return self._disclose(redeemed, gateway)

    def _disclose(self, redeemed: Redeemed, gateway: Gateway) -> Outcome:
        try:
            number = self._methods.number_of(redeemed)
            listed = self._lists is not None and self._lists.refuses(redeemed.call, redeemed.tenant_id, number)
        except CryptoError as error:
            return self._noted(redeemed, AWAY, error.error_id)
        except MethodRefused as error:
            return self._noted(redeemed, REFUSED, error.reason)
        except MethodAway as error:
            return self._noted(redeemed, AWAY, error.reason)
        if listed:  # audited with the answer
            return Outcome(DESTINATION, LISTED, call=str(redeemed.call))
        spelling, rule = self._destinations.decide(number, gateway)
        if rule is not None:
            return self._noted(redeemed, DESTINATION, rule)
        body = f"sip:{spelling}@{gateway.proxy}" if gateway.delivery == "direct" else spelling
        return Outcome(NUMBER, "redeemed", body)

    def _noted(self, redeemed: Redeemed, answer: str, reason: str) -> Outcome:
        self._database.call("note_refusal", redeemed.call, reason)
        return Outcome(answer, reason, call=str(redeemed.call))
