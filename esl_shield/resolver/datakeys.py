"""The tenants' keys that decrypt, unwrapped and kept: data keys, and the ff1 keys of token prefixes.

Invariants: a key is unwrapped once per process and version and never written anywhere; the number of kept keys is
bounded; a key that cannot be unwrapped is asked for again the next time, so that a mended vault needs no restart; one
that was destroyed is forgotten within ``EVERY_S`` seconds of a database that answers, without a redemption waiting.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

import gevent

from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.keys import KeyDestroyed, KeysMissing
from esl_shield.vault import keyring

if TYPE_CHECKING:
    from esl_shield.resolver.functions import Functions
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.keys import DataKey, Key

MAX_KEYS = 4096
EVERY_S = 10.0
LOG = logging.getLogger(__name__)


_K = TypeVar("_K", bound="DataKey")


class _Keys(Generic[_K]):
    """Keys of one purpose by tenant and version; two functions read one and say which are missing."""

    _reads: str
    _misses: str

    def __init__(self, database: Functions, kek: AnyKek, *, max_keys: int = MAX_KEYS) -> None:
        self._database = database
        self._kek = kek
        self._max_keys = max_keys
        self._keys: OrderedDict[tuple[int, int], _K] = OrderedDict()

    def get(self, tenant_id: int, version: int) -> _K:
        """Return a key.

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
            for wanted in self._database.call(self._misses, tenants, versions):
                self._keys.pop(wanted, None)

    def _unwrap(self, tenant_id: int, version: int) -> _K:
        raise NotImplementedError

    def _read(self, purpose: str, tenant_id: int, version: int) -> tuple[bytes, str]:
        rows = self._database.call(self._reads, tenant_id, version)
        if not rows:
            raise KeysMissing(tenant=tenant_id)
        wrapped, kek_id = rows[0]
        if wrapped is None:
            raise KeyDestroyed(purpose=purpose, version=version, tenant=tenant_id)
        return bytes(wrapped), kek_id


class DataKeys(_Keys["DataKey"]):
    """Data keys, which decrypt stored tokens."""

    _reads, _misses = "tenant_data_key", "missing_data_keys"

    def _unwrap(self, tenant_id: int, version: int) -> DataKey:
        wrapped, kek_id = self._read("data", tenant_id, version)
        return keyring.unwrap(self._kek, wrapped, tenant_id=tenant_id, purpose="data", version=version, kek_id=kek_id)


class MethodKeys(_Keys["Key"]):
    """Keys of ff1 prefixes; one whose prefixes are all retired is missing."""

    _reads, _misses = "method_key", "missing_method_keys"

    def _unwrap(self, tenant_id: int, version: int) -> Key:
        wrapped, kek_id = self._read("ff1", tenant_id, version)
        return keyring.unwrap(self._kek, wrapped, tenant_id=tenant_id, purpose="ff1", version=version, kek_id=kek_id)


class KeyKeeper:
    """Has destroyed keys forgotten while the resolver runs."""

    def __init__(self, keys: DataKeys | MethodKeys, *, every_s: float = EVERY_S) -> None:
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
