"""Whether a number may be called at all: the do-not-call lists, asked between decrypting and answering.

Invariants: a listed number is never answered, and its refusal is in the audit trail before the caller hears of it; when
the lists cannot be asked nothing is answered; a tenant for whom no list holds costs one question in ``KEPT_S`` seconds,
which is also how long the first entry of a list may take to be heeded. Index keys are unwrapped once a process.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.keys import KeysMissing
from esl_shield.vault import keyring

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from esl_shield.resolver.functions import Functions
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.numbers import SubscriberNumber

KEPT_S = 5.0
MAX_TENANTS = 10_000


class _List(NamedTuple):
    """A list, by its tenant, and one of the index keys its entries may be under."""

    tenant_id: int
    version: int


class DoNotCall:
    """The lists of all tenants; safe to call from many greenlets."""

    def __init__(self, database: Functions, kek: AnyKek, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._kek = kek
        self._clock = clock
        self._lists: dict[int, tuple[float, tuple[_List, ...]]] = {}
        self._indexers: dict[_List, Callable[[SubscriberNumber], bytes]] = {}

    def refuses(self, call: uuid.UUID, tenant_id: int, number: SubscriberNumber) -> bool:
        """Whether a list that holds for this tenant has the number; then the call's refusal is audited.

        Raises DatabaseAway, DatabaseRefused, CryptoError.
        """
        lists = self._of(tenant_id)
        if not lists:
            return False
        indexes = [self._indexer(one)(number) for one in lists]
        rows = self._database.call("refuse_listed", call, [one.tenant_id for one in lists], indexes)
        return bool(rows[0][0])

    def _of(self, tenant_id: int) -> tuple[_List, ...]:
        until, lists = self._lists.get(tenant_id, (0.0, ()))
        now = self._clock()
        if until <= now:
            lists = tuple(_List(*row) for row in self._database.call("do_not_call_lists", tenant_id))
            if len(self._lists) >= MAX_TENANTS:
                self._lists.clear()
            self._lists[tenant_id] = now + KEPT_S, lists
        return lists

    def _indexer(self, one: _List) -> Callable[[SubscriberNumber], bytes]:
        if one not in self._indexers:
            rows = self._database.call("do_not_call_key", one.tenant_id, one.version)
            if not rows:  # removed since the list was asked for: the next question says so
                raise KeysMissing(tenant=one.tenant_id)
            wrapped, kek_id = rows[0]
            key = keyring.unwrap(
                self._kek, bytes(wrapped), tenant_id=one.tenant_id, purpose="index", version=one.version, kek_id=kek_id
            )
            self._indexers[one] = keyring.indexer(key, one.tenant_id)
        return self._indexers[one]
