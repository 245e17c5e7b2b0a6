"""The tenants' data keys, unwrapped and kept.

Invariants: a key is unwrapped once per process and version and never written anywhere; the number of kept keys is
bounded; a key that cannot be unwrapped is asked for again the next time, so that a mended vault needs no restart; one
that was destroyed is forgotten within ``EVERY_S`` seconds of a database that answers, without a redemption waiting.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

import gevent

from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.keys import KeyDestroyed, KeysMissing
from esl_shield.vault import keyring

if TYPE_CHECKING:
    from esl_shield.resolver.redeem import Functions
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.keys import DataKey

MAX_KEYS = 4096
EVERY_S = 10.0
LOG = logging.getLogger(__name__)


class DataKeys:
    """Data keys by tenant and version."""

    def __init__(self, database: Functions, kek: AnyKek, *, max_keys: int = MAX_KEYS) -> None:
        self._database = database
        self._kek = kek
        self._max_keys = max_keys
        self._keys: OrderedDict[tuple[int, int], DataKey] = OrderedDict()

    def get(self, tenant_id: int, version: int) -> DataKey:
        """Return a data key.

        Raises DatabaseAway, KeysMissing, KeyDestroyed, WrongKek, KeyDamaged, what a device raises.
        """
        wanted = (tenant_id, version)
        if wanted not in self._keys:
            self._keys[wanted] = self._unwrap(tenant_id, version)
            if len(self._keys) > self._max_keys:
                self._keys.popitem(last=False)
        self._keys.move_to_end(wanted)
        return self._keys[wanted]

    def forget_destroyed(self) -> None:
        """Forget the keys the vault no longer has; raises DatabaseAway, DatabaseRefused."""
        if self._keys:
            tenants, versions = map(list, zip(*self._keys, strict=True))
            for wanted in self._database.call("missing_data_keys", tenants, versions):
                self._keys.pop(wanted, None)

    def _unwrap(self, tenant_id: int, version: int) -> DataKey:
        rows = self._database.call("tenant_data_key", tenant_id, version)
        if not rows:
            raise KeysMissing(tenant=tenant_id)
        wrapped, kek_id = rows[0]
        if wrapped is None:
            raise KeyDestroyed(purpose="data", version=version, tenant=tenant_id)
        return keyring.unwrap(
            self._kek, bytes(wrapped), tenant_id=tenant_id, purpose="data", version=version, kek_id=kek_id
        )


class KeyKeeper:
    """Has destroyed keys forgotten while the resolver runs."""

    def __init__(self, keys: DataKeys, *, every_s: float = EVERY_S) -> None:
        self._keys = keys
        self._every_s = every_s
        self._failing = False
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self) -> None:
        """Ask every few seconds from now on."""
        self._greenlet = gevent.spawn(self._keep)

    def stop(self) -> None:
        """Ask no more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def _keep(self) -> None:
        while True:
            gevent.sleep(self._every_s)
            try:
                self._keys.forget_destroyed()
            except (DatabaseAway, DatabaseRefused) as error:
                if not self._failing:
                    LOG.warning("keys.unchecked", extra={"fields": {"error_id": error.error_id}})
                self._failing = True
            else:
                self._failing = False
