"""A tenant as whoever seeds it knows it, and the keys its numbers are written and found with.

Invariants: the newest key of each purpose is what is written under; of index keys the one before is opened too while
look-ups still need it; a key is opened by the KEK whose fingerprint is kept beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from esl_shield.errors.keys import KeysMissing
from esl_shield.vault import keyring

if TYPE_CHECKING:
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.keys import DataKey, Key


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
