"""What an administrator sets up before numbers come: the KEK, tenants and their keys.

Invariants: a tenant is added with its caps and keys in one transaction, after the KEK was opened; no key is replaced; a
KEK other than the one the database's keys are wrapped under is refused before anything is written, so that a lost KEK
is never papered over with a new one.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors.database import NO_RIGHT, RightMissing
from esl_shield.errors.keys import KekLost, KekMissing, OtherKek
from esl_shield.errors.tenants import TenantRejected, TenantTaken, TenantUnknown
from esl_shield.vault import keyring, keys, tokens
from esl_shield.vault.keks import AnyKek, Keks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.config.resolver import KeysConfig
    from esl_shield.errors import ShieldError
    from esl_shield.vault.keys import Kek

MIN_RANDOM_DIGITS = 4
NO_REGION = "001"
_TAKEN = "ES003"
_SHORTER = "ES006"
_REFUSED_VALUE = "23514"
_UNIQUE = "23505"
_TENANT_INVISIBLE = "ES002"
_ADMINISTRATOR = "an administrator, who is a member of shield_owner"
_CLASHES = {
    "name": "there is one of this name with another domain, prefix, length or region",
    "domain": "its domain is another tenant's",
    "token_prefix": "its prefix is another tenant's, begins with it or is the beginning of it",
}
_PREFIXES = range(10, 100)


@dataclass(frozen=True)
class Caps:
    """Calls allowed to one token a day, of one agent an hour, of the tenant a day; None is no cap."""

    token_per_day: int | None = 10
    agent_per_hour: int | None = 300
    tenant_per_day: int | None = None


@dataclass(frozen=True)
class NewTenant:
    """A tenant to add; without ``prefix`` a free one of two digits is chosen."""

    name: str
    domain: str
    prefix: str | None
    length: int
    region: str
    caps: Caps | None
    data_key_in_device: bool = False


@dataclass(frozen=True)
class AddedTenant:
    """What adding a tenant did: its token prefix, whether it is new, whether its caps changed, which keys are new."""

    prefix: str
    created: bool
    caps_set: bool
    keys: list[keyring.Purpose]


def add_tenant(database: DatabaseConfig, kek: AnyKek, tenant: NewTenant) -> AddedTenant:
    """Add a tenant with its caps and keys; again with the same values it changes nothing.

    Raises TenantRejected, TenantTaken, OtherKek, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant.name) as connection:
        check_kek(connection, kek)
        before = _find(connection, tenant.name)
        prefix = tenant.prefix or (before.token_prefix if before else _free_prefix(connection))
        check_shape(prefix, tenant.length)
        tenant_id = _scalar(
            connection, "SELECT shield_api.add_tenant(%s, %s, %s, %s, %s)",
            tenant.name, tenant.domain, prefix, tenant.length, tenant.region,
        )  # fmt: skip
        caps_set = _set_caps(connection, tenant.name, tenant.caps)
        current = Keks.of(kek).current
        return AddedTenant(
            prefix,
            before is None,
            caps_set,
            _add_keys(connection, current, tenant_id, in_device=tenant.data_key_in_device),
        )


def resize_tenant(database: DatabaseConfig, name: str, length: int) -> int:
    """Let a tenant's new tokens have more digits; those it has stay. Returns how many they had.

    Raises TenantUnknown, TenantRejected (shorter, or too long), DatabaseAway, DatabaseRefused.
    """
    with administering(database, name) as connection:
        tenant = _find(connection, name)
        if tenant is None:
            raise TenantUnknown(tenant=name)
        check_shape(tenant.token_prefix, length)
        before: int = _scalar(connection, "SELECT shield_api.resize_tenant(%s, %s)", name, length)
        return before


def change_caps(database: DatabaseConfig, name: str, change: Callable[[Caps], Caps]) -> bool:
    """Change a tenant's caps from what they are; returns whether that changed them.

    Raises TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, name) as connection:
        stand = _find(connection, name)
        if stand is None:
            raise TenantUnknown(tenant=name)
        return _set_caps(connection, name, change(Caps(*stand[2:5])))


def set_label_mask(database: DatabaseConfig, name: str, label: str, pattern: str | None) -> str:
    """Say how a label of a tenant is shown, None for hidden; returns set, removed or unchanged.

    Raises TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, name) as connection:
        done = _scalar(connection, "SELECT shield_api.set_label_mask(%s, %s, %s)", name, label, pattern)
        if done is None:
            raise TenantUnknown(tenant=name)
        return str(done)


def init_keys(
    database: DatabaseConfig, config: KeysConfig, *, data_keys_in_device: bool = False
) -> tuple[bool, Kek, list[tuple[str, str]]]:
    """Create the KEK if there is none and every key there is opens without it, and the keys tenants lack.

    Returns whether the KEK was created, the KEK, and the tenant and purpose of each new key. Raises KekLost, OtherKek,
    errors of ``open_kek``, DatabaseAway, DatabaseRefused.
    """
    uri = config.kek
    previous = [keys.open_kek(earlier, config.device) for earlier in config.previous]
    with administering(database, "") as connection:
        wanted = _kek_ids(connection)
        try:
            kek, created = keys.open_kek(uri, config.device), False
        except KekMissing:
            if not {earlier.id for earlier in previous}.issuperset(wanted):
                raise KekLost(wanted=" and ".join(wanted), source=uri) from None
            created = keys.create_kek(uri, config.device)
            kek = keys.open_kek(uri, config.device)
        check_kek(connection, Keks(kek, previous))
        tenants = connection.exec_driver_sql("SELECT id, name FROM dba.tenants ORDER BY id").fetchall()
        added: list[tuple[str, str]] = [
            (name, purpose)
            for number, name in tenants
            for purpose in _add_keys(connection, kek, number, in_device=data_keys_in_device)
        ]
        return created, kek, added


def check_shape(prefix: str, length: int) -> None:
    """Raise TenantRejected unless tokens of this prefix and length leave room for random digits."""
    if not (prefix.isascii() and prefix.isdigit()):
        raise TenantRejected(problem="its token prefix must be digits")
    most = tokens.TOKEN_MAX_LENGTH
    least = max(tokens.TOKEN_MIN_LENGTH, len(prefix) + MIN_RANDOM_DIGITS + tokens.CHECK_DIGITS)
    if not least <= length <= most:
        raise TenantRejected(problem=f"with this prefix its token length must be {least} to {most}")


@contextlib.contextmanager
def administering(database: DatabaseConfig, tenant: str) -> Iterator[Connection]:
    """Open one transaction for a change to a tenant; PostgreSQL's refusals become ours, without values."""
    failure: ShieldError | None = None
    try:
        with sqlalchemy_engine(database).begin() as connection:
            yield connection
    except DBAPIError as error:
        cause = error.orig
        failure = _failure(cause, tenant) if isinstance(cause, psycopg2.Error) else connection_failed(error)
    if failure is not None:
        raise failure


def _failure(error: psycopg2.Error, tenant: str) -> ShieldError:  # noqa: PLR0911 - one line per SQLSTATE
    if error.pgcode == _TAKEN:
        return TenantTaken(tenant=tenant, clash=_CLASHES[str(error.diag.column_name)])
    if error.pgcode == _SHORTER:
        return TenantRejected(problem="its tokens can only get longer")
    if error.pgcode == _TENANT_INVISIBLE:
        return TenantUnknown(tenant=tenant)
    if error.pgcode == _REFUSED_VALUE:
        return TenantRejected(problem="its name, domain or region is not of the form tenant add --help describes")
    if error.pgcode == NO_RIGHT:
        return RightMissing(function="an administrator's function", needs=_ADMINISTRATOR)
    if error.pgcode == _UNIQUE:
        return TenantTaken(tenant=tenant, clash="its name, domain or prefix is a tenant's that this login does not see")
    return call_failed("add_tenant", error)


def _find(connection: Connection, name: str) -> Any:
    columns = "token_prefix, token_length, token_per_day, agent_per_hour, tenant_per_day"
    return connection.exec_driver_sql(f"SELECT {columns} FROM dba.tenants WHERE name = %s", (name,)).first()


def _set_caps(connection: Connection, name: str, caps: Caps | None) -> bool:
    """Set the caps unless the tenant has them; returns whether they changed."""
    if caps is None:
        return False
    stand = _find(connection, name)
    if Caps(stand.token_per_day, stand.agent_per_hour, stand.tenant_per_day) == caps:
        return False
    values = (caps.token_per_day, caps.agent_per_hour, caps.tenant_per_day)
    return bool(_scalar(connection, "SELECT shield_api.set_caps(%s, %s, %s, %s)", name, *values))


def _kek_ids(connection: Connection) -> list[str]:
    statement = "SELECT DISTINCT kek_id FROM dba.keys WHERE destroyed_at IS NULL ORDER BY kek_id"
    return [row[0] for row in connection.exec_driver_sql(statement)]


def check_kek(connection: Connection, kek: AnyKek) -> None:
    """Raise OtherKek unless some of the database's keys, if it has any, are wrapped under one of these KEKs."""
    wanted = _kek_ids(connection)
    if wanted and Keks.of(kek).ids.isdisjoint(wanted):
        raise OtherKek(wanted=" and ".join(wanted), given=kek.id)


def _add_keys(connection: Connection, kek: Kek, tenant_id: int, *, in_device: bool) -> list[keyring.Purpose]:
    """Give the tenant a first key of each purpose it has none of; returns these purposes."""
    added = []
    for purpose in keyring.PURPOSES:
        version = keyring.FIRST_VERSION
        # Looked at first, because a key made in a device for nothing would stay there.
        there = (
            "SELECT count(*) FROM dba.keys k JOIN dba.tenants t ON t.name = k.tenant WHERE t.id = %s AND k.purpose = %s"
        )
        if _scalar(connection, there, tenant_id, purpose):
            continue
        key = keyring.new_key(kek, tenant_id=tenant_id, purpose=purpose, version=version, in_device=in_device)
        wrapped = keyring.wrap(kek, key, tenant_id=tenant_id, purpose=purpose, version=version)
        statement = "SELECT shield_api.add_key(%s, %s, %s, %s, %s)"
        if _scalar(connection, statement, tenant_id, purpose, version, wrapped, kek.id):
            added.append(purpose)
    return added


def _free_prefix(connection: Connection) -> str:
    taken: list[str] = [row[0] for row in connection.exec_driver_sql("SELECT token_prefix FROM dba.tenants")]
    for number in _PREFIXES:
        prefix = str(number)
        if not any(other.startswith(prefix) or prefix.startswith(other) for other in taken):
            return prefix
    raise TenantRejected(problem="no token prefix of two digits is free; give one of up to 8 digits with --prefix")


def _scalar(connection: Connection, statement: str, *values: object) -> Any:
    return connection.exec_driver_sql(statement, values).scalar()
