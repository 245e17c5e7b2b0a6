"""The seeder's side of the database: its functions as Python.

Invariants: one method is one call of one ``shield_api`` function; what goes in is ciphertext, blind index and what was
derived, never a number; a database error is turned into one of ours without repeating any parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esl_shield.db.engine import Database
from esl_shield.errors.database import DatabaseRefused
from esl_shield.errors.keys import KeysChanged
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.tokens import SpaceFull
from esl_shield.vault import tokens
from esl_shield.vault.candidates import payload_of
from esl_shield.vault.seedkeys import seeding_tenant

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.errors import ShieldError
    from esl_shield.vault.candidates import Batch, Candidate
    from esl_shield.vault.seedkeys import SeedingTenant, TenantKeys

CREATED = "created"
COLLISION = "collision"
SPACE_FULL = "ES001"
TENANT_INVISIBLE = "ES002"
KEYS_CHANGED = "ES004"
REVOKED = "revoked"
APPLICATION = "esl_shield seeding"
# A batch waits for other imports' locks; the call path's second is not enough.
BATCH_TIMEOUT_S = 60.0


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

    def find_seeded(self, tenant: SeedingTenant, batch: Batch) -> list[str] | None:
        """Find the tokens of rows that are there and bring no new alias, ``""`` for each other row.

        None while an index key is being replaced or a key is not the newest. Raises TenantUnknown.
        """
        versions = batch.keys.index_version, batch.keys.data_version
        try:
            found = self._call("find_seeded", tenant.id, *versions, *batch.known_by)[0][0]
        except DatabaseRefused as error:
            raise _translated(error, tenant) from None
        return None if found is None else found.split(",")

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
