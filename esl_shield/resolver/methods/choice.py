"""Which method decrypts a token, within its time and behind its circuit breaker.

Invariants: a token with a row is decrypted from its ciphertext and no other way, one without by the method its prefix
names and no other; what fails, is slow or is left alone by its breaker fails the call; each tenant's methods have a
breaker of their own, so that one tenant's service takes nothing from another's calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent

from esl_shield.errors.keys import CryptoError
from esl_shield.errors.methods import MethodAway, MethodRefused
from esl_shield.resolver.methods.breaker import REST_S, Breaker
from esl_shield.vault.prefixes import TokenPrefix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esl_shield.resolver.functions import Functions
    from esl_shield.resolver.methods.method import Method
    from esl_shield.resolver.methods.stored import StoredMethod
    from esl_shield.resolver.permits import Redeemed
    from esl_shield.vault.numbers import SubscriberNumber

BUSY = "busy"
MethodCount = Callable[[str, str, float], None]
"""Told of each attempt: the method, how it ended (number, refused, away, error, open) and the seconds it took."""


def no_method_count(method: str, outcome: str, duration_s: float) -> None:
    """Count nowhere."""


class Methods:
    """The methods of a resolver; safe to call from many greenlets."""

    def __init__(
        self,
        database: Functions,
        stored: StoredMethod,
        others: Iterable[Method],
        count: MethodCount = no_method_count,
        *,
        rest_s: float = REST_S,
    ) -> None:
        self._database = database
        self._stored = stored
        self._others = {method.name: method for method in others}
        self._count = count
        self._rest_s = rest_s
        self._breakers: dict[tuple[str, int], Breaker] = {}

    @property
    def open_breakers(self) -> dict[str, int]:
        """Of how many tenants each method is left alone now, or tried by one caller."""
        found = dict.fromkeys((self._stored.name, *self._others), 0)
        for (method, _), breaker in list(self._breakers.items()):
            found[method] += breaker.is_open
        return found

    def close(self) -> None:
        """Keep nothing open."""
        for method in self._others.values():
            method.close()

    def number_of(self, redeemed: Redeemed) -> SubscriberNumber:
        """Return a redeemed token's number; raises MethodRefused, MethodAway, CryptoError, DatabaseAway."""
        if redeemed.key_version is not None:
            return self._guarded(self._stored, redeemed, lambda: self._stored.number_of(redeemed))
        prefix = self._prefix_of(redeemed)
        method = self._others.get(prefix.method)
        if method is None:
            raise MethodAway(method=prefix.method, reason="method_unconfigured")
        return self._guarded(method, redeemed, lambda: method.number_of(redeemed, prefix))

    def _prefix_of(self, redeemed: Redeemed) -> TokenPrefix:
        rows = self._database.call("token_method", redeemed.tenant_id, redeemed.token)
        if not rows:
            raise MethodRefused(method="none", reason="prefix_over")
        tenant, prefix, method, length, version, *allowed = rows[0]
        return TokenPrefix(tenant, prefix, method, length, version, *map(tuple, allowed))

    def _guarded(
        self, method: Method | StoredMethod, redeemed: Redeemed, work: Callable[[], SubscriberNumber]
    ) -> SubscriberNumber:
        breaker = self._breakers.get((method.name, redeemed.tenant_id))
        if breaker is None:
            breaker = self._breakers[method.name, redeemed.tenant_id] = Breaker(rest_s=self._rest_s)
        if not breaker.admit():
            self._count(method.name, "open", 0.0)
            raise MethodAway(method=method.name, reason="method_open")
        began, outcome, well = time.monotonic(), "error", False
        try:
            number = _in_time(method, work)
            outcome, well = "number", True
        except MethodRefused:
            outcome, well = "refused", True
            raise
        except CryptoError:  # of this token or key; a device has a guard of its own
            well = True
            raise
        except MethodAway as error:
            outcome, well = "away", error.reason.endswith(BUSY)
            raise
        else:
            return number
        finally:
            breaker.settle(well=well)
            self._count(method.name, outcome, time.monotonic() - began)


def _in_time(method: Method | StoredMethod, work: Callable[[], SubscriberNumber]) -> SubscriberNumber:
    timer = gevent.Timeout(method.budget_s)
    try:
        with timer:
            return work()
    except gevent.Timeout as ended:
        if ended is not timer:  # the request's, which ends before the method's
            raise
        raise MethodAway(method=method.name, reason="method_slow") from None
