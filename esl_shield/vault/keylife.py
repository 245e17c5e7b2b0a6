"""What an administrator does to keys that exist: rotate, rewrap, retire, destroy.

Invariants: each key is changed in a transaction of its own, so whatever stops a command leaves whole keys, and the
command again does the rest; a wrapped key is opened again before it takes the place of another; nothing is destroyed
that the database says is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esl_shield.errors.device import DeviceKeyLeft, DeviceKeyMissing
from esl_shield.errors.keys import (
    CryptoError,
    KekNotNamed,
    KeyDamaged,
    KeyKept,
    KeysMissing,
    KeyVersionUnknown,
    RotationOpen,
)
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault import keyring
from esl_shield.vault.outside_key import OutsideKey
from esl_shield.vault.provisioning import administering, check_kek

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.keks import Keks
    from esl_shield.vault.keyring import Purpose
    from esl_shield.vault.keys import DataKey

REFS_PAGE = 5000
_MAX_TRIES = 5
_KEPT = {
    "NEWEST": "it is the newest, which new rows are written under; rotate first",
    "UNFINISHED": "not every number is indexed under the newest key yet; run esl-shield keys reindex to its end",
    "REVEALS": "a reveal under way names its number by it; try again in 15 minutes",
    "LIVE": "look-ups still use it; run esl-shield keys retire first",
    "IN_USE": "{dependents} rows depend on it; run esl-shield keys {command} first",
    "RECENT": "calls authorised before its last row left it may still be under way; try again in {dependents} s",
}


@dataclass(frozen=True)
class TenantKey:
    """One key of one tenant, by name."""

    tenant: str
    tenant_id: int
    purpose: Purpose
    version: int
    in_device: bool = False


@dataclass(frozen=True)
class Dependents:
    """What stands against destroying a key: a verdict, how many rows or seconds, since when no row is under it.

    Of a key that lives in a device and is destroyed or could be, also its reference as it is kept.
    """

    verdict: str
    count: int
    since: dt.datetime | None
    wrapped: bytes | None = None
    kek_id: str | None = None


def newest_keys(
    database: DatabaseConfig, purpose: Purpose, tenant: str | None, older_than: dt.datetime | None = None
) -> list[TenantKey]:
    """Find the newest key of a tenant, or of all; with ``older_than`` only those made before.

    Raises TenantUnknown, KeysMissing, DatabaseAway, DatabaseRefused.
    """
    statement = (
        "SELECT t.name, t.id, k.version, k.created_at, k.in_device FROM dba.tenants t LEFT JOIN dba.keys k"
        " ON k.tenant = t.name AND k.purpose = %s AND k.state = 'newest'"
        " WHERE %s IS NULL OR t.name = %s ORDER BY t.name"
    )
    with administering(database, tenant or "") as connection:
        rows = connection.exec_driver_sql(statement, (purpose, tenant, tenant)).fetchall()
    if tenant is not None and not rows:
        raise TenantUnknown(tenant=tenant)
    for name, _, version, *_ in rows:
        if version is None:
            raise KeysMissing(tenant=name)
    return [
        TenantKey(name, id_, purpose, version, in_device)
        for name, id_, version, made, in_device in rows
        if older_than is None or made < older_than
    ]


def rotate(database: DatabaseConfig, keks: Keks, key: TenantKey, *, in_device: bool | None = None) -> TenantKey:
    """Give a tenant its next key of a purpose; from then on nothing is written under the one before.

    The new data key lives where the one before does, or as ``in_device`` says. Raises RotationOpen, KeysMissing,
    OtherKek, NoDevice, errors of the device, DatabaseAway, DatabaseRefused.
    """
    version, inside = key.version, key.in_device if in_device is None else in_device
    for _ in range(_MAX_TRIES):
        version += 1
        names: dict[str, Any] = {"tenant_id": key.tenant_id, "purpose": key.purpose, "version": version}
        with administering(database, key.tenant) as connection:
            check_kek(connection, keks)
            made = keyring.new_key(keks.current, in_device=inside, **names)
            wrapped = _wrapped(keks, made, key, version)
            verdict = connection.exec_driver_sql(
                "SELECT shield_api.rotate_key(%s, %s, %s, %s, %s)",
                (key.tenant_id, key.purpose, version, wrapped, keks.id),
            ).scalar_one()
        if verdict == "ROTATED":
            return TenantKey(key.tenant, key.tenant_id, key.purpose, version, isinstance(made, OutsideKey))
        if isinstance(made, OutsideKey):
            made.destroy()  # nobody has written under it
        if verdict != "STALE":
            break
    raise RotationOpen(tenant=key.tenant) if verdict == "BUSY" else KeysMissing(tenant=key.tenant)


def rewrap(database: DatabaseConfig, keks: Keks) -> Iterator[tuple[TenantKey, int]]:
    """Wrap every key that is under an earlier KEK under the current one; yields each once done, and how many there are.

    Raises KekNotNamed, and NoDevice or DeviceKeyMissing for a data key in a device that the current KEK is not in,
    before anything is changed; KeyDamaged, errors of the device, DatabaseAway, DatabaseRefused.
    """
    with administering(database, "") as connection:
        rows = connection.exec_driver_sql("SELECT * FROM shield_api.wrapped_keys(%s)", (keks.id,)).fetchall()
    foreign = sorted({row.kek_id for row in rows} - keks.ids)
    if foreign:
        raise KekNotNamed(wanted=" and ".join(foreign), given=" and ".join(sorted(keks.ids)))
    for row in rows:
        if keyring.in_device(row.wrapped):
            _rewrapped(keks, row)
    for row in rows:
        key, wrapped = _rewrapped(keks, row)
        with administering(database, key.tenant) as connection:
            # False: somebody else rewrapped or destroyed it meanwhile, which is as good.
            connection.exec_driver_sql(
                "SELECT shield_api.rewrap_key(%s, %s, %s, %s, %s, %s)",
                (key.tenant_id, key.purpose, key.version, bytes(row.wrapped), wrapped, keks.id),
            )
        yield key, len(rows)


def _rewrapped(keks: Keks, row: Any) -> tuple[TenantKey, bytes]:
    key = TenantKey(row.tenant, row.tenant_id, row.purpose, row.version, keyring.in_device(row.wrapped))
    return key, _wrapped(keks, _opened(keks, key, bytes(row.wrapped), row.kek_id), key, key.version)


def find_key(database: DatabaseConfig, tenant: str, purpose: Purpose, version: int) -> TenantKey:
    """Find one key; raises TenantUnknown, KeyVersionUnknown, DatabaseAway, DatabaseRefused."""
    with administering(database, tenant) as connection:
        id_ = connection.exec_driver_sql("SELECT id FROM dba.tenants WHERE name = %s", (tenant,)).scalar()
        if id_ is None:
            raise TenantUnknown(tenant=tenant)
        statement = "SELECT in_device FROM dba.keys WHERE (tenant, purpose, version) = (%s, %s, %s)"
        in_device = connection.exec_driver_sql(statement, (tenant, purpose, version)).scalar()
        if in_device is None:
            raise KeyVersionUnknown(tenant=tenant, purpose=purpose, version=version)
    return TenantKey(tenant, int(id_), purpose, version, in_device)


def retire(database: DatabaseConfig, key: TenantKey) -> None:
    """Let no look-up use an index key any more; again it changes nothing.

    Raises KeyKept, DatabaseAway, DatabaseRefused.
    """
    with administering(database, key.tenant) as connection:
        verdict = connection.exec_driver_sql(
            "SELECT shield_api.retire_index_key(%s, %s)", (key.tenant_id, key.version)
        ).scalar_one()
    if verdict != "RETIRED":
        raise _kept(key, "retired", verdict, 0)


def remove_refs(database: DatabaseConfig, key: TenantKey) -> Iterator[tuple[int, int]]:
    """Remove a retired index key's rows, a page a transaction; yields how many were seen and removed so far.

    Raises DatabaseAway, DatabaseRefused.
    """
    after: bytes | None = b""
    seen = removed = 0
    while after is not None:
        with administering(database, key.tenant) as connection:
            row = connection.exec_driver_sql(
                "SELECT last, seen, removed FROM shield_api.remove_refs(%s, %s, %s, %s)",
                (key.tenant_id, key.version, after, REFS_PAGE),
            ).one()
        after = None if row.last is None else bytes(row.last)
        seen, removed = seen + row.seen, removed + row.removed
        yield seen, removed


def dependents(database: DatabaseConfig, key: TenantKey) -> Dependents:
    """Ask what stands against destroying a key; raises DatabaseAway, DatabaseRefused."""
    return _destroy(database, key, None)


def outside(keks: Keks, key: TenantKey, found: Dependents) -> OutsideKey | None:
    """Return what of a key lives in a device; None for one that does not, or whose KEK's device has it no more.

    Raises WrongKek, KeyDamaged, NoDevice, errors of the device.
    """
    if found.wrapped is None or found.kek_id is None:
        return None
    try:
        opened = _opened(keks, key, bytes(found.wrapped), found.kek_id)
    except DeviceKeyMissing:  # what is wanted is so already
        return None
    return opened if isinstance(opened, OutsideKey) else None


def destroy(database: DatabaseConfig, key: TenantKey, backups: str, inside: OutsideKey | None = None) -> None:
    """Destroy a key nothing needs; ``backups``: ``gone`` or ``abandoned``, which is audited.

    ``inside`` is what of it lives in a device. That comes last: a key left there is of no use, a row without its key
    would be a lost number. Raises KeyKept, DeviceKeyLeft, DatabaseAway, DatabaseRefused.
    """
    found = _destroy(database, key, backups)
    if found.verdict not in ("DESTROYED", "ALREADY"):
        raise kept(key, found)
    if inside is None:
        return
    try:
        inside.destroy()
    except DeviceKeyMissing:
        return
    except CryptoError as error:
        why = str(error.args[0])
    else:
        return
    raise DeviceKeyLeft(tenant=key.tenant, version=key.version, reference=inside.reference.hex(), why=why)


def kept(key: TenantKey, found: Dependents) -> KeyKept:
    """Make the error that says why a key is not destroyed."""
    return _kept(key, "destroyed", found.verdict, found.count)


def _destroy(database: DatabaseConfig, key: TenantKey, backups: str | None) -> Dependents:
    with administering(database, key.tenant) as connection:
        row = connection.exec_driver_sql(
            "SELECT verdict, dependents, since, wrapped, kek_id FROM shield_api.destroy_key(%s, %s, %s, %s)",
            (key.tenant_id, key.purpose, key.version, backups),
        ).one()
    return Dependents(*row)


def _kept(key: TenantKey, done: str, verdict: str, count: int) -> KeyKept:
    command = "reencrypt" if key.purpose == "data" else "retire"
    why = _KEPT[verdict].format(dependents=count, command=command)
    return KeyKept(tenant=key.tenant, purpose=key.purpose, version=key.version, done=done, why=why)


def _opened(keks: Keks, key: TenantKey, wrapped: bytes, kek_id: str) -> DataKey:
    return keyring.unwrap(
        keks, wrapped, tenant_id=key.tenant_id, purpose=key.purpose, version=key.version, kek_id=kek_id
    )


def _wrapped(keks: Keks, secret: DataKey, key: TenantKey, version: int) -> bytes:
    """Wrap a key under the current KEK and open it again; raises KeyDamaged should it not be the same."""
    names: dict[str, Any] = {"tenant_id": key.tenant_id, "purpose": key.purpose, "version": version}
    wrapped = keyring.wrap(keks.current, secret, **names)
    if keyring.unwrap(keks.current, wrapped, kek_id=keks.id, **names) != secret:
        raise KeyDamaged(purpose=key.purpose, version=version)
    return wrapped
