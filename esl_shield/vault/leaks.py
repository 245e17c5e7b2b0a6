"""Whether digits found somewhere are a number of the vault: the scanner's side of keys, filter and database.

Invariants: a number is known here as digits for as long as its blind index is computed, then as that index alone; what
the database is asked are blind indexes that passed the filter, a batch in one round trip; what it answers are tokens.
"""

from __future__ import annotations

import sys
import time
import uuid
from array import array
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from esl_shield.db.engine import Database
from esl_shield.errors.keys import KeysChanged, KeysMissing
from esl_shield.errors.process import LookupsForbidden
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault import keyring
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.plan import Plan, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.keks import AnyKek

APPLICATION = "esl_shield leakscan"
BATCH = 1000
# The countries of a big vault, or a page of its filter, take as long as a scan of a table.
PATIENCE_S = 600.0
MOST_REMEMBERED = 200_000
_WORD_BITS = 32
_UINT32 = "I"


@dataclass(frozen=True)
class Token:
    """What a leaked number is reported as."""

    tenant: str
    token: str


class Suspect:
    """A number whose blind indexes (two while an index key is being replaced) passed the filter.

    ``token`` is known once ``answered``.
    """

    __slots__ = ("answered", "indexes", "token")

    def __init__(self, indexes: Sequence[tuple[IndexKey, bytes]]) -> None:
        self.indexes = indexes
        self.answered = False
        self.token: Token | None = None


@dataclass(frozen=True)
class IndexKey:
    """A tenant's index key of one version, and the filter over what is indexed with it."""

    tenant: str
    tenant_id: int
    version: int
    index: Callable[[SubscriberNumber], bytes]
    filter: Filter


class _Asked(NamedTuple):
    """One look-up of a suspect."""

    suspect: Suspect
    key: IndexKey
    number_index: bytes


class Filter:
    """The first bits of a tenant's indexes: says no for certain, yes for those that are there and one in 256 others."""

    def __init__(self) -> None:
        self._beginnings = array(_UINT32)
        self._mask = 0

    def add(self, bits: int, page: bytes) -> None:
        """Take a page of the database: four bytes each, big-endian, in order behind the page before."""
        mask = (1 << _WORD_BITS) - (1 << (_WORD_BITS - bits))
        # Numbers seeded meanwhile may change how many bits a page has: the fewest of all pages hold for all.
        self._mask = mask if not self._mask else self._mask & mask
        words = array(_UINT32, page)
        if sys.byteorder == "little":
            words.byteswap()
        self._beginnings.extend(words)

    def close(self) -> None:
        """Bring what was added to the same number of bits."""
        self._beginnings = array(_UINT32, [word & self._mask for word in self._beginnings])

    def __len__(self) -> int:
        return len(self._beginnings)

    def passes(self, index: bytes) -> bool:
        """Whether an index may be there."""
        word = int.from_bytes(index[:4], "big") & self._mask
        at = bisect_left(self._beginnings, word)
        return at < len(self._beginnings) and self._beginnings[at] == word


class Leaks:
    """One search's view of the vault. Close it yourself."""

    def __init__(self, config: DatabaseConfig, kek: AnyKek, tenants: Sequence[str], prefixes: Sequence[str]) -> None:
        """Open keys and filters; no ``tenants`` are all the login sees. ``prefixes`` are dialled before numbers.

        Raises TenantUnknown, KeysMissing, WrongKek, KeyDamaged, DatabaseAway, DatabaseRefused.
        """
        patient = replace(config, pool_size=1, statement_timeout_s=max(config.statement_timeout_s, PATIENCE_S))
        self._database = Database(patient, application_name=APPLICATION, needs="a scanner")
        self._call = self._database.call
        self.scan = uuid.uuid4()
        self._tenants = list(tenants) or None
        self._suspects: dict[bytes, Suspect] = {}
        self._known: dict[bytes, tuple[Suspect, ...]] = {}
        self.asked = 0
        try:
            rows = self._call("start_leakscan", str(self.scan), self._tenants)
            self._require(rows)
            self._readers = self._open(kek, rows, prefixes)
        except BaseException:
            self._database.close()
            raise
        plans = [plan for plan, _ in self._readers]
        self.least = min(plan.least for plan in plans)
        self.shape = Shape([pattern for plan in plans for pattern in plan.patterns])

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def read(self, digits: bytes) -> tuple[Suspect, ...]:
        """Return what a run of digits, perhaps with ``+`` in front, may be; nothing for nearly all."""
        known = self._known.get(digits)
        if known is None:
            known = tuple(self._suspects_of(digits))
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digits] = known
        return known

    def ask(self, suspects: Collection[Suspect], wait: Callable[[float], None] = time.sleep) -> None:
        """Have the database answer them, in batches; waits (seconds) when the login's rate is used up.

        Raises LookupsForbidden, DatabaseAway, DatabaseRefused.
        """
        unanswered = {id(suspect): suspect for suspect in suspects if not suspect.answered}.values()
        asked = [_Asked(suspect, key, index) for suspect in unanswered for key, index in suspect.indexes]
        for at in range(0, len(asked), BATCH):
            self._ask(asked[at : at + BATCH], wait)

    def finish(self, outcome: str, *, files: int, read_bytes: int, unread: int, findings: int) -> None:
        """Write into the audit trail what the search came to."""
        self._call("finish_leakscan", str(self.scan), self._tenants, outcome, files, read_bytes, unread, findings)

    def _suspects_of(self, digits: bytes) -> list[Suspect]:
        found: list[Suspect] = []
        for plan, keys in self._readers:
            for text in plan.read(digits):
                number = SubscriberNumber("+" + text)
                passed: dict[int, list[tuple[IndexKey, bytes]]] = {}
                for key in keys:
                    index = key.index(number)
                    if key.filter.passes(index):
                        passed.setdefault(key.tenant_id, []).append((key, index))
                found += map(self._suspect, passed.values())
        return found

    def _suspect(self, indexes: Sequence[tuple[IndexKey, bytes]]) -> Suspect:
        index = indexes[0][1]
        suspect = self._suspects.get(index)
        if suspect is None:
            if len(self._suspects) >= MOST_REMEMBERED:
                self._suspects.clear()
            suspect = self._suspects[index] = Suspect(indexes)
        return suspect

    def _ask(self, batch: list[_Asked], wait: Callable[[float], None]) -> None:
        arguments = (
            [asked.key.tenant_id for asked in batch],
            [asked.key.version for asked in batch],
            [asked.number_index.hex() for asked in batch],
        )
        while True:
            rows = self._call("find_leaks", str(self.scan), *arguments)
            verdict = rows[0][0] if rows else "FOUND"
            if verdict == "FORBIDDEN":
                raise LookupsForbidden
            if verdict == "STALE":
                raise KeysChanged(tenant=" or ".join(sorted({asked.key.tenant for asked in batch})))
            if verdict != "WAIT":
                break
            wait(rows[0][1] / 1000)
        self.asked += len(batch)
        for asked in batch:
            asked.suspect.answered = True
        for _, place, token in rows:
            asked = batch[place - 1]
            asked.suspect.token = Token(asked.key.tenant, token)

    def _require(self, rows: Sequence[tuple[Any, ...]]) -> None:
        seen = {row[1] for row in rows}
        missing = [name for name in self._tenants or () if name not in seen]
        if missing:
            raise TenantUnknown(tenant=", ".join(missing))
        if not rows:
            raise KeysMissing(tenant="any that this login sees")

    def _open(
        self, kek: AnyKek, rows: Sequence[tuple[Any, ...]], prefixes: Sequence[str]
    ) -> list[tuple[Plan, list[IndexKey]]]:
        """Group keys under the plan that reads digits for them: tenants of one region and countries share it."""
        keys: dict[tuple[str, tuple[str | None, ...]], list[IndexKey]] = {}
        filters: dict[int, Filter] = {}
        for tenant_id, tenant, region, version, wrapped, kek_id, countries in rows:
            key = keyring.unwrap(kek, wrapped, tenant_id=tenant_id, purpose="index", version=version, kek_id=kek_id)
            if tenant_id not in filters:
                filters[tenant_id] = self._filter(tenant_id)
            made = IndexKey(tenant, tenant_id, version, keyring.indexer(key, tenant_id), filters[tenant_id])
            keys.setdefault((region, tuple(sorted(countries, key=str))), []).append(made)
        return [
            (Plan(region, None if None in countries else {str(country) for country in countries}, prefixes), made)
            for (region, countries), made in keys.items()
        ]

    def _filter(self, tenant_id: int) -> Filter:
        made, start = Filter(), 0
        while start is not None:
            rows = self._call("leakscan_filter", str(self.scan), tenant_id, start)
            if not rows:
                raise TenantUnknown(tenant=tenant_id)
            bits, page, start = rows[0]
            made.add(bits, page)
        made.close()
        return made
