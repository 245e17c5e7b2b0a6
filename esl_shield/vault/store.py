"""The seeder's side of the database: its functions as Python, with the keys that belong to a tenant.

Invariants: one method is one call of one ``shield_api`` function; what goes in is ciphertext, blind index and what was
derived, never a number; a database error is turned into one of ours without repeating any parameter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from esl_shield.db.engine import Database
from esl_shield.errors.database import DatabaseRefused
from esl_shield.errors.keys import KeysChanged, KeysMissing
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.tokens import SpaceFull
from esl_shield.vault import keyring, tokens

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.errors import ShieldError
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.keys import DataKey, Key
    from esl_shield.vault.rows import Row

CREATED = "created"
COLLISION = "collision"
SPACE_FULL = "ES001"
TENANT_INVISIBLE = "ES002"
KEYS_CHANGED = "ES004"
REVOKED = "revoked"
APPLICATION = "esl_shield seeding"
# A batch of a thousand rows waits for other imports' locks; the call path's second is not enough.
BATCH_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class WrappedKey:
    """A key as the database keeps it; ``kek_id`` is the fingerprint of the KEK that opens it."""

    purpose: keyring.Purpose
    version: int
    wrapped: bytes
    kek_id: str


@dataclass(frozen=True)
class SeedingTenant:
    """What seeding has to know of a tenant, with the keys that writing and look-ups need."""

    name: str
    id: int
    region: str | None
    token_prefix: str
    token_length: int
    keys: tuple[WrappedKey, ...] = ()


@dataclass(frozen=True)
class TenantKeys:
    """A tenant's opened newest keys and their versions; ``previous_index`` while an index key is being replaced."""

    data: DataKey
    data_version: int
    index: Key
    index_version: int
    previous_index: Key | None = None


class Candidate(NamedTuple):
    """One row for the database: everything but the number."""

    number_index: bytes
    token: str
    ciphertext: bytes
    row: Row
    previous_index: bytes | None = None


class Batch(NamedTuple):
    """Rows for the database, in columns, and the keys they were made with; ``columns`` as ``seed_batch`` takes them."""

    keys: TenantKeys
    rows: Sequence[Row]
    indexes: list[bytes]
    tokens: list[str]
    ciphertexts: list[bytes]
    previous: list[bytes | None]
    columns: list[object]

    def candidates(self) -> list[Candidate]:
        """Give row by row what ``seed_tokens`` takes."""
        return list(map(Candidate, self.indexes, self.tokens, self.ciphertexts, self.rows, self.previous))


@dataclass(frozen=True)
class TokenInfo:
    """What may be shown of a token; no number, no ciphertext."""

    token: str
    aliases: list[str]
    status: str
    expires_at: dt.datetime | None
    country: str
    region: str
    time_zone: str
    line_type: str
    labels: dict[str, str]
    created_at: dt.datetime


class Store:
    """A seeder login's connection; raises DatabaseAway when PostgreSQL does not answer."""

    def __init__(self, config: DatabaseConfig, *, pool_size: int = 1) -> None:
        patient = replace(
            config, pool_size=pool_size, statement_timeout_s=max(config.statement_timeout_s, BATCH_TIMEOUT_S)
        )
        self._database = Database(patient, application_name=APPLICATION, needs="a seeder")
        self._call = self._database.call

    @property
    def database(self) -> Database:
        """What it asks, for functions beside those of seeding."""
        return self._database

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def tenant(self, name: str) -> SeedingTenant:
        """Find a tenant this login may seed; raises TenantUnknown."""
        rows = self._call("seeding_tenant", name)
        if not rows:
            raise TenantUnknown(tenant=name)
        return seeding_tenant(name, *rows[0])

    def seed_new(self, tenant: SeedingTenant, batch: Batch) -> bool:
        """Create all rows' tokens in one transaction; False, and nothing is changed, where some row takes ``seed``.

        Raises TenantUnknown.
        """
        keys = batch.keys
        try:
            return bool(
                self._call("seed_batch", tenant.id, keys.index_version, keys.data_version, *batch.columns)[0][0]
            )
        except DatabaseRefused as error:
            raise _translated(error, tenant) from None

    def seed(self, tenant: SeedingTenant, batch: Batch) -> list[tuple[str, str | None]]:
        """Offer rows in one transaction; returns (outcome, token) in the rows' order.

        Outcomes: created, existing, alias_taken (no token), collision (draw again). Raises SpaceFull, TenantUnknown,
        and KeysChanged when the tenant's keys are not the newest any more: read them again.
        """
        keys = batch.keys
        try:
            payload = [payload_of(ord_, row) for ord_, row in enumerate(batch.candidates())]
            answers = self._call("seed_tokens", tenant.id, keys.index_version, keys.data_version, payload)
        except DatabaseRefused as error:
            raise _translated(error, tenant) from None
        by_ord = {ord_: (outcome, token) for ord_, token, outcome in answers}
        return [by_ord[ord_] for ord_ in range(len(batch.rows))]

    def info(self, tenant: str, token: str | None, alias: str | None) -> TokenInfo | None:
        """Find a token by itself or by its alias; None if the tenant has no such."""
        rows = self._call("token_info", tenant, token, alias)
        return TokenInfo(*rows[0]) if rows else None

    def revoke(self, tenant: str, token: str) -> bool | None:
        """Revoke a token; False if it was revoked before, None if the tenant has no such."""
        info = self.info(tenant, token, None)
        if info is None or info.status == REVOKED:
            return None if info is None else False
        return bool(self._call("set_token", tenant, token, REVOKED, None)[0][0]) or None

    def expire(self, tenant: str, token: str, at: dt.datetime | None) -> bool:
        """Let a token end at a moment, or never; False if the tenant has no such."""
        return bool(self._call("set_token", tenant, token, None, at)[0][0])

    def find(self, tenant: SeedingTenant, names: Sequence[tuple[str | None, str | None]]) -> list[str | None]:
        """Find tokens by (token, alias), both given must fit; None for each that is not there."""
        rows = self._call("find_tokens", tenant.id, [token for token, _ in names], [alias for _, alias in names])
        return [token for _, token in rows]

    def list_numbers(self, tenant: SeedingTenant, keys: TenantKeys, rows: Sequence[dict[str, str | None]]) -> int:
        """List numbers as ``donotcall`` makes them; returns how many are new. Raises KeysChanged, TenantUnknown."""
        versions = keys.index_version, keys.data_version
        try:
            return int(self._call("list_numbers", tenant.id, *versions, list(rows))[0][0])
        except DatabaseRefused as error:
            raise _translated(error, tenant) from None

    def unlist_numbers(self, tenant: SeedingTenant, indexes: Sequence[bytes]) -> int:
        """Take numbers off the list by their blind indexes; returns how many entries that were."""
        return int(self._call("unlist_numbers", tenant.id, list(indexes))[0][0])

    def replace(self, tenant: SeedingTenant, keys: TenantKeys, rows: Sequence[Candidate]) -> list[str]:
        """Give tokens new numbers in one transaction; returns outcomes in the rows' order.

        Outcomes: replaced, unchanged, number_taken, held, unknown. Raises TenantUnknown.
        """
        payload = [payload_of(ord_, row) for ord_, row in enumerate(rows)]
        try:
            answers = self._call("replace_numbers", tenant.id, keys.index_version, keys.data_version, payload)
        except DatabaseRefused as error:
            raise _translated(error, tenant) from None
        by_ord = {ord_: outcome for ord_, _, outcome in answers}
        return [by_ord[ord_] for ord_ in range(len(rows))]


def seeding_tenant(  # noqa: PLR0917 - a row's columns, in its order
    name: str, id_: int, region: str, prefix: str, length: int, keys: list[dict[str, Any]]
) -> SeedingTenant:
    """Make a tenant of the database's row."""
    wrapped = (WrappedKey(**{**key, "wrapped": bytes.fromhex(key["wrapped"])}) for key in keys)
    return SeedingTenant(name, id_, region or None, prefix or "", length, tuple(wrapped))


def open_keys(kek: AnyKek, tenant: SeedingTenant) -> TenantKeys:
    """Unwrap the keys a tenant's numbers are written and found with; raises KeysMissing, WrongKek or KeyDamaged."""
    data = [key for key in tenant.keys if key.purpose == "data"]
    index = [key for key in tenant.keys if key.purpose == "index"]
    if not data or not index:
        raise KeysMissing(tenant=tenant.name)
    opened = [_opened(kek, tenant, key, "index") for key in index]
    return TenantKeys(
        data=_opened(kek, tenant, data[0], "data"),
        data_version=data[0].version,
        index=opened[0],
        index_version=index[0].version,
        previous_index=opened[1] if len(opened) > 1 else None,
    )


@overload
def _opened(kek: AnyKek, tenant: SeedingTenant, key: WrappedKey, purpose: Literal["index"]) -> Key: ...
@overload
def _opened(kek: AnyKek, tenant: SeedingTenant, key: WrappedKey, purpose: Literal["data"]) -> DataKey: ...
def _opened(kek: AnyKek, tenant: SeedingTenant, key: WrappedKey, purpose: keyring.Purpose) -> DataKey:
    return keyring.unwrap(
        kek, key.wrapped, tenant_id=tenant.id, purpose=purpose, version=key.version, kek_id=key.kek_id
    )


def space_full(tenant: SeedingTenant) -> SpaceFull:
    """Make the error that names the token length with room for ten times as many."""
    prefix, length = len(tenant.token_prefix), tenant.token_length
    suggested = min(length + 1, tokens.TOKEN_MAX_LENGTH)
    return SpaceFull(
        tenant=tenant.name,
        capacity=tokens.capacity(prefix, length),
        length=length,
        suggested=suggested,
        suggested_capacity=tokens.capacity(prefix, suggested),
    )


def _translated(error: DatabaseRefused, tenant: SeedingTenant) -> ShieldError:
    if error.sqlstate == SPACE_FULL:
        return space_full(tenant)
    if error.sqlstate == TENANT_INVISIBLE:
        return TenantUnknown(tenant=tenant.name)
    if error.sqlstate == KEYS_CHANGED:
        return KeysChanged(tenant=tenant.name)
    return error


def payload_of(ord_: int, candidate: Candidate) -> dict[str, Any]:
    """Spell a row as the database's functions take it."""
    row = candidate.row
    spelled = {
        "ord": ord_,
        "index": candidate.number_index.hex(),
        "token": candidate.token,
        "ciphertext": candidate.ciphertext.hex(),
        "alias": row.alias,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "country": row.derived.country,
        "region": row.derived.region,
        "time_zone": row.derived.time_zone,
        "line_type": row.derived.line_type,
        "labels": dict(row.labels),
    }
    if candidate.previous_index is not None:
        spelled["previous"] = candidate.previous_index.hex()
    return spelled


def columns_of(
    rows: Sequence[Row], indexes: Sequence[bytes], drawn: Sequence[str], ciphertexts: Sequence[bytes]
) -> list[object]:
    """Spell rows as ``seed_batch`` takes them: a text or byte string for each column, each place once.

    PostgreSQL takes these apart five times as fast as it reads JSON. No value holds the comma between them.
    """
    derived = [row.derived for row in rows]
    at_place = {id(place): place for place in derived}  # not by value: hashing four texts costs more than they save
    position = {key: str(at) for at, key in enumerate(at_place, 1)}
    places = list(at_place.values())
    aliases = [row.alias or "" for row in rows]
    expiries = [row.expires_at for row in rows]
    labels = [row.labels for row in rows]
    return [
        b"".join(indexes),
        ",".join(drawn),
        b"".join(ciphertexts),
        ",".join(aliases) if any(aliases) else None,
        ",".join([moment.isoformat() if moment else "" for moment in expiries]) if any(expiries) else None,
        [place.country for place in places],
        [place.region for place in places],
        [place.time_zone for place in places],
        [place.line_type for place in places],
        ",".join([position[id(place)] for place in derived]),
        json.dumps(list(map(dict, labels))) if any(labels) else None,
    ]
