"""What a method is: a way from a redeemed permit to a number.

Invariants: it is asked after the permit's redemption was committed, so whatever it decrypts was audited; it answers
with a number the token's prefix allows, or raises; no method asks another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from esl_shield.resolver.permits import Redeemed
    from esl_shield.vault.numbers import SubscriberNumber
    from esl_shield.vault.prefixes import TokenPrefix


class Method(Protocol):
    """One method; ``name`` is its word in prefixes and metrics, ``budget_s`` the seconds one number may take."""

    name: str
    budget_s: float

    def number_of(self, redeemed: Redeemed, prefix: TokenPrefix) -> SubscriberNumber:
        """Return the token's number; raises MethodRefused, MethodAway, CryptoError, DatabaseAway."""

    def close(self) -> None:
        """Keep nothing open."""
