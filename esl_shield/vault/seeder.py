"""Turning rows into tokens: draw, encrypt, index, offer to the database, draw again where a token is taken.

Invariants: one number has one token in a tenant, whoever seeds it at the same time (the database decides); a batch, or
what is new of one, or each part of one that has more to it, is one transaction; the associated data of a ciphertext is
the token it is stored with, so a new draw encrypts anew.
"""

from __future__ import annotations

import datetime as dt
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.keys import KeysChanged
from esl_shield.errors.tokens import AliasTaken
from esl_shield.vault import cipher, keyring, tokens
from esl_shield.vault.candidates import Batch, Candidate, columns_of
from esl_shield.vault.numbers import parse_derived
from esl_shield.vault.rows import Row, check_alias, read_expiry
from esl_shield.vault.seedkeys import SeedingTenant, TenantKeys, open_keys
from esl_shield.vault.store import COLLISION, CREATED, Store, space_full

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.numbers import SubscriberNumber

# With at most one token in ten thousand taken, a row that collides this often is no accident.
_MAX_DRAWS = 30
_MAX_RENEWALS = 3
# One row that is neither new nor there with nothing new to it has a whole part seeded row by row: five times as long.
PART_ROWS = 2000


class Outcome(NamedTuple):
    """What became of one row: its token, or None if its alias names another; whether the token is new."""

    token: str | None
    created: bool


class _Writing(NamedTuple):
    """The keys that new rows are written under, and the encryptor that has one of them."""

    keys: TenantKeys
    encryptor: cipher.Encryptor

    @classmethod
    def of(cls, tenant: SeedingTenant, keys: TenantKeys) -> _Writing:
        return cls(keys, cipher.Encryptor(keys.data, tenant.id, keys.data_version))


class Seeder:
    """Seeds rows for one tenant; opens its keys once, and again when they were rotated. Close the store yourself."""

    def __init__(self, store: Store, kek: AnyKek, tenant: str) -> None:
        """Raise TenantUnknown, KeysMissing, WrongKek or KeyDamaged."""
        self._store = store
        self._kek = kek
        self.tenant: SeedingTenant = store.tenant(tenant)
        self._writing = _Writing.of(self.tenant, open_keys(kek, self.tenant))
        self._some_known = False  # whether the last batch had rows that were there: then the next is looked up first

    def add(self, text: str, alias: str | None, expires_at: str | None) -> tuple[str, bool]:
        """Seed one number; returns its token and whether it is new.

        Raises NumberRejected, AliasRejected, AliasTaken, ExpiryRejected or SpaceFull.
        """
        number, derived = parse_derived(text, self.tenant.region)
        if alias is not None:
            check_alias(alias, self.tenant, number)
        moment = read_expiry(expires_at, dt.datetime.now(dt.UTC)) if expires_at else None
        outcome = self.seed(self.prepare([Row(number, derived, alias, moment, {})]))[0]
        if outcome.token is None:
            raise AliasTaken(tenant=self.tenant.name)
        return outcome.token, outcome.created

    def prepare(self, rows: Sequence[Row]) -> Batch:
        """Index and encrypt rows; no database is asked."""
        keys, encryptor = self._writing
        drawn = tokens.draw_many(self.tenant.token_prefix, self.tenant.token_length, len(rows))
        numbers = [row.number for row in rows]
        indexes, before = _indexes(self.tenant, keys, numbers)
        ciphertexts = encryptor.encrypt(numbers, drawn)
        return Batch(keys, rows, indexes, drawn, ciphertexts, before, columns_of(rows, indexes, drawn, ciphertexts))

    def seed(self, batch: Batch) -> list[Outcome]:
        """Seed a batch in one transaction, or in parts where a row is not new; returns what became of each, in order.

        Rows that are there with nothing new to them are found first, in a transaction of their own. Keys that were
        rotated meanwhile are read again and the rows made anew. Raises SpaceFull, DatabaseAway, and KeysChanged when
        they are rotated all the time.
        """
        if len(batch.rows) <= PART_ROWS:
            return self._seed_part(batch)
        untried = self._some_known
        if not untried and self._store.seed_new(self.tenant, batch):
            return _all_created(batch)
        found = self._store.find_seeded(self.tenant, batch)
        if found is None:
            return self._seed_parts(batch.rows)
        some_known = self._some_known = any(found)
        rest = _rest_of(batch, found)
        outcomes = [Outcome(token, created=False) for token in found]
        made = self._seed_rest(batch.only(rest), hopeful=untried or some_known)
        for at, outcome in zip(rest, made, strict=True):
            outcomes[at] = outcome
        return outcomes

    def _seed_rest(self, batch: Batch, *, hopeful: bool) -> list[Outcome]:
        """Seed what was not found: at once if that may succeed, else in parts."""
        if len(batch.rows) <= PART_ROWS:
            return self._seed_part(batch)
        if hopeful and self._store.seed_new(self.tenant, batch):
            return _all_created(batch)
        return self._seed_parts(batch.rows)

    def _seed_parts(self, rows: Sequence[Row]) -> list[Outcome]:
        parts = (rows[at : at + PART_ROWS] for at in range(0, len(rows), PART_ROWS))
        return [outcome for part in parts for outcome in self._seed_part(self.prepare(part))]

    def _seed_part(self, batch: Batch) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        pending = list(range(len(batch.rows)))
        renewals = 0
        for _ in range(_MAX_DRAWS):
            if not pending:
                return [outcomes[position] for position in range(len(outcomes))]
            if batch.keys is not self._writing.keys:
                batch = self.prepare(batch.rows)
            if self._store.seed_new(self.tenant, batch):
                outcomes.update(zip(pending, _all_created(batch), strict=True))
                pending = []
                continue
            try:
                answers = self._store.seed(self.tenant, batch)
            except KeysChanged:
                renewals += 1
                if renewals > _MAX_RENEWALS:
                    raise
                self._renew()
                continue
            collided = []
            for at, (outcome, token) in enumerate(answers):
                if outcome == COLLISION:
                    collided.append(at)
                else:
                    outcomes[pending[at]] = Outcome(token, outcome == CREATED)
            pending = [pending[at] for at in collided]
            batch = self.prepare([batch.rows[at] for at in collided])
        raise space_full(self.tenant)

    def _renew(self) -> None:
        self.tenant = self._store.tenant(self.tenant.name)
        self._writing = _Writing.of(self.tenant, open_keys(self._kek, self.tenant))


def _all_created(batch: Batch) -> list[Outcome]:
    return list(map(Outcome, batch.tokens, repeat(True)))


def _rest_of(batch: Batch, found: Sequence[str]) -> list[int]:
    """Return which rows were not found, and which share a number or an alias with one of those.

    They are seeded together, in one transaction where they are few enough: an erasure after the look-up divides none.
    """
    rest = [at for at, token in enumerate(found) if not token]
    more = rest
    shared: set[object] = set()
    while more and len(rest) < len(found):
        shared.update(batch.indexes[at] for at in more)
        shared.update(filter(None, (batch.rows[at].alias for at in more)))
        taken = set(rest)
        more = [
            at
            for at, row in enumerate(batch.rows)
            if at not in taken and (batch.indexes[at] in shared or row.alias in shared)
        ]
        rest = sorted(rest + more)
    return rest


def draw_candidate(tenant: SeedingTenant, keys: TenantKeys, row: Row) -> Candidate:
    """Index a row's number, draw it a token and encrypt it under that; no database is asked."""
    return candidate_for(tenant, keys, tokens.draw(tenant.token_prefix, tenant.token_length), row)


def candidate_for(tenant: SeedingTenant, keys: TenantKeys, token: str, row: Row) -> Candidate:
    """Index a row's number and encrypt it for a token; no database is asked."""
    blob = cipher.encrypt(keys.data, row.number, tenant.id, token, keys.data_version)
    (index,), (before,) = _indexes(tenant, keys, [row.number])
    return Candidate(index, token, blob, row, before)


def _indexes(
    tenant: SeedingTenant, keys: TenantKeys, numbers: Sequence[SubscriberNumber]
) -> tuple[list[bytes], list[bytes | None]]:
    """Return numbers' indexes, and those under the key before while look-ups still need that one."""
    indexes = keyring.blind_indexes(keys.index, numbers, tenant.id)
    if keys.previous_index is None:
        return indexes, [None] * len(numbers)
    return indexes, list(keyring.blind_indexes(keys.previous_index, numbers, tenant.id))
