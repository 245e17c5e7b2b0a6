"""Do-not-call lists: numbers nobody may call, whatever token stands for them.

Invariants: a list is kept as blind indexes beside ciphertexts, so that it can be searched by who has the index key and
carried to a new one; a line that is no number is told by its place and never shown; the same list again adds nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from esl_shield.errors.keys import KeysChanged
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault import cipher, keyring, numbers
from esl_shield.vault.csvfile import Header
from esl_shield.vault.provisioning import administering
from esl_shield.vault.seedkeys import open_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.csvfile import Source
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.numbers import SubscriberNumber
    from esl_shield.vault.store import Store

BATCH = 1000
_MAX_RENEWALS = 3


def associated(entry: uuid.UUID) -> str:
    """Return what a ciphertext of a list is bound to in the place of a token; no token looks like it."""
    return f"dnc:{entry.hex}"


@dataclass
class Summary:
    """What an import did: numbers read, new on the list, and the lines that held none with the reason."""

    numbers: int = 0
    added: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


class ListKeeper:
    """Adds to and removes from one tenant's list, over a seeder's store."""

    def __init__(self, store: Store, kek: AnyKek, tenant: str) -> None:
        """Raise TenantUnknown, KeysMissing, WrongKek or KeyDamaged."""
        self._store = store
        self._kek = kek
        self._tenant = store.tenant(tenant)
        self._keys = open_keys(kek, self._tenant)

    def read(self, text: str) -> SubscriberNumber:
        """Read a number in any common spelling of the tenant's region; raises NumberRejected."""
        return numbers.parse(text, self._tenant.region)

    def add(self, given: Sequence[SubscriberNumber]) -> int:
        """List numbers; returns how many are new. Raises KeysChanged when keys are rotated all the time."""
        for _ in range(_MAX_RENEWALS):
            try:
                return self._store.list_numbers(self._tenant, self._keys, [self._row(number) for number in given])
            except KeysChanged:
                self._renew()
        raise KeysChanged(tenant=self._tenant.name)

    def remove(self, number: SubscriberNumber) -> bool:
        """Take a number off the list; whether it was on it."""
        self._renew()  # an index under a key that was replaced meanwhile would find nothing
        keys = [self._keys.index, *filter(None, [self._keys.previous_index])]
        indexes = [keyring.blind_index(key, number, self._tenant.id) for key in keys]
        return self._store.unlist_numbers(self._tenant, indexes) > 0

    def import_csv(self, source: Source) -> Summary:
        """List the column ``number`` of a file; raises CsvRejected for what is no such file."""
        records = source.records()
        header = Header.read(source, next(records, (0, None))[1], ("number",), ())
        done = Summary()
        while batch := list(islice(records, BATCH)):
            found = []
            for line, record in batch:
                cells = header.cells(record)
                if cells is None:
                    done.rejected.append((line, "ragged"))
                    continue
                try:
                    found.append(self.read(cells["number"]))
                except NumberRejected as error:
                    done.rejected.append((line, str(error.fields["reason"])))
            done.numbers += len(found)
            if found:
                done.added += self.add(found)
        return done

    def _row(self, number: SubscriberNumber) -> dict[str, str | None]:
        entry, tenant, keys = uuid.uuid4(), self._tenant.id, self._keys
        blob = cipher.encrypt(keys.data, number, tenant, associated(entry), keys.data_version)
        before = keys.previous_index
        return {
            "index": keyring.blind_index(keys.index, number, tenant).hex(),
            "previous": keyring.blind_index(before, number, tenant).hex() if before else None,
            "entry": str(entry),
            "ciphertext": blob.hex(),
        }

    def _renew(self) -> None:
        self._tenant = self._store.tenant(self._tenant.name)
        self._keys = open_keys(self._kek, self._tenant)


def share_list(database: DatabaseConfig, tenant: str, *, for_all: bool) -> str:
    """Let a tenant's list hold for every tenant, or for its own calls again; returns set or unchanged.

    Raises TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant) as connection:
        done = connection.exec_driver_sql("SELECT shield_api.share_list(%s, %s)", (tenant, for_all)).scalar()
    if done is None:
        raise TenantUnknown(tenant=tenant)
    return str(done)
