"""What an administrator sets up before numbers come: the KEK, tenants and their keys.

Invariants: a tenant is added with its caps and keys in one transaction, after the KEK was opened; no key is replaced; a
KEK other than the one the database's keys are wrapped under is refused before anything is written, so that a lost KEK
is never papered over with a new one.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors import DatabaseRefused, KekLost, KekMissing, OtherKek, TenantRejected, TenantTaken, TenantUnknown
from esl_shield.vault import keyring, keys, tokens
from esl_shield.vault.keys import Key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from esl_shield.config import DatabaseConfig
    from esl_shield.vault.keys import Kek

MIN_RANDOM_DIGITS = 4
NO_REGION = "001"
_TAKEN = "ES003"
_REFUSED_VALUE = "23514"
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


def add_tenant(database: DatabaseConfig, kek: Kek, tenant: NewTenant) -> str:
    """Add a tenant with its caps and keys; again with the same values it changes nothing. Returns its token prefix.

    Raises TenantRejected, TenantTaken, OtherKek, DatabaseAway, DatabaseRefused.
    """
    with _administering(database, tenant.name) as connection:
        _check_kek(connection, kek)
        prefix = tenant.prefix or _free_prefix(connection, tenant.name)
        check_shape(prefix, tenant.length)
        tenant_id = _scalar(
            connection, "SELECT shield_api.add_tenant(%s, %s, %s, %s, %s)",
            tenant.name, tenant.domain, prefix, tenant.length, tenant.region,
        )  # fmt: skip
        if tenant.caps is not None:
            caps = tenant.caps
            _scalar(
                connection, "SELECT shield_api.set_caps(%s, %s, %s, %s)",
                tenant.name, caps.token_per_day, caps.agent_per_hour, caps.tenant_per_day,
            )  # fmt: skip
        _add_keys(connection, kek, tenant_id)
        return prefix


def resize_tenant(database: DatabaseConfig, name: str, length: int) -> None:
    """Let a tenant's new tokens have more digits; those it has stay. Audited as ``tenant.resized``.

    Raises TenantUnknown, TenantRejected (shorter, or too long), DatabaseAway, DatabaseRefused.
    """
    with _administering(database, name) as connection:
        statement = "SELECT id, token_prefix, token_length FROM shield.tenants WHERE name = %s FOR UPDATE"
        row = connection.exec_driver_sql(statement, (name,)).first()
        if row is None:
            raise TenantUnknown(tenant=name)
        tenant_id, prefix, before = row
        check_shape(prefix, length)
        if length < before:
            raise TenantRejected(problem=f"its tokens have {before} digits and can only get longer")
        connection.exec_driver_sql("UPDATE shield.tenants SET token_length = %s WHERE id = %s", (length, tenant_id))
        event = "INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (%s, 'tenant.resized', %s)"
        connection.exec_driver_sql(event, (tenant_id, json.dumps({"before": before, "after": length})))


def init_keys(database: DatabaseConfig, uri: str) -> tuple[bool, list[tuple[str, str]]]:
    """Create the KEK if the database has no keys yet and there is none, and the keys tenants lack.

    Returns whether the KEK was created, and the tenant and purpose of each new key. Raises KekLost, OtherKek, errors of
    ``open_kek``, DatabaseAway, DatabaseRefused.
    """
    with _administering(database, "") as connection:
        wanted = _kek_ids(connection)
        try:
            kek, created = keys.open_kek(uri), False
        except KekMissing:
            if wanted:
                raise KekLost(wanted=" and ".join(wanted), source=uri) from None
            created = keys.create_kek(uri)
            kek = keys.open_kek(uri)
        _check_kek(connection, kek)
        tenants = connection.exec_driver_sql("SELECT id, name FROM dba.tenants ORDER BY id").fetchall()
        return created, [(name, purpose) for number, name in tenants for purpose in _add_keys(connection, kek, number)]


def check_shape(prefix: str, length: int) -> None:
    """Raise TenantRejected unless tokens of this prefix and length leave room for random digits."""
    if not (prefix.isascii() and prefix.isdigit()):
        raise TenantRejected(problem="its token prefix must be digits")
    most = tokens.TOKEN_MAX_LENGTH
    least = max(tokens.TOKEN_MIN_LENGTH, len(prefix) + MIN_RANDOM_DIGITS + tokens.CHECK_DIGITS)
    if not least <= length <= most:
        raise TenantRejected(problem=f"with this prefix its token length must be {least} to {most}")


@contextlib.contextmanager
def _administering(database: DatabaseConfig, tenant: str) -> Iterator[Connection]:
    failure = None
    try:
        with sqlalchemy_engine(database).begin() as connection:
            yield connection
    except DBAPIError as error:
        cause = error.orig
        failure = call_failed("add_tenant", cause) if isinstance(cause, psycopg2.Error) else connection_failed(error)
    if isinstance(failure, DatabaseRefused) and failure.sqlstate == _TAKEN:
        raise TenantTaken(tenant=tenant)
    if isinstance(failure, DatabaseRefused) and failure.sqlstate == _REFUSED_VALUE:
        raise TenantRejected(problem="its name, domain or region is not of the form tenant add --help describes")
    if failure is not None:
        raise failure


def _kek_ids(connection: Connection) -> list[str]:
    return [row[0] for row in connection.exec_driver_sql("SELECT DISTINCT kek_id FROM dba.keys ORDER BY kek_id")]


def _check_kek(connection: Connection, kek: Kek) -> None:
    wanted = _kek_ids(connection)
    if wanted and kek.id not in wanted:
        raise OtherKek(wanted=" and ".join(wanted), given=kek.id)


def _add_keys(connection: Connection, kek: Kek, tenant_id: int) -> list[keyring.Purpose]:
    """Give the tenant a first key of each purpose it has none of; returns these purposes."""
    added = []
    for purpose in keyring.PURPOSES:
        version = keyring.FIRST_VERSION
        wrapped = keyring.wrap(kek, Key.new(), tenant_id=tenant_id, purpose=purpose, version=version)
        statement = "SELECT shield_api.add_key(%s, %s, %s, %s, %s)"
        if _scalar(connection, statement, tenant_id, purpose, version, wrapped, kek.id):
            added.append(purpose)
    return added


def _free_prefix(connection: Connection, name: str) -> str:
    rows = connection.exec_driver_sql("SELECT name, token_prefix FROM dba.tenants").fetchall()
    taken: dict[str, str] = {row[0]: row[1] for row in rows}
    if name in taken:
        return taken[name]
    for number in _PREFIXES:
        prefix = str(number)
        if not any(other.startswith(prefix) or prefix.startswith(other) for other in taken.values()):
            return prefix
    raise TenantRejected(problem="no token prefix of two digits is free; give one of up to 8 digits with --prefix")


def _scalar(connection: Connection, statement: str, *values: object) -> Any:
    return connection.exec_driver_sql(statement, values).scalar()
