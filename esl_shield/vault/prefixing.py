"""What an administrator does to token prefixes: add one, with a key of its own for ff1, and retire one.

Invariants: a prefix and its key are written in one transaction; a prefix never gets another key or method, so a token
never comes to mean somebody else; what is retired stays retired.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from esl_shield.errors.methods import PermissionsNotRequired, PrefixTaken, PrefixUnknown
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault import keyring
from esl_shield.vault.keys import Key
from esl_shield.vault.prefixes import FF1
from esl_shield.vault.provisioning import administering, check_kek

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.errors import ShieldError
    from esl_shield.vault.keks import Keks
    from esl_shield.vault.prefixes import TokenPrefix

ADDED, SAME, KEYLESS = "ADDED", "SAME", "KEYLESS"
_CLASHES = {
    "RETIRED": "it was retired, and its tokens must never mean somebody else",
    "DIFFERS": "it is there with other values or a key of its own, which never change",
    "KEYLESS": "a key for it takes the KEK",
    "TAKEN": "it begins a prefix that is or was in use, or begins with one",
}


def add_prefix(
    database: DatabaseConfig, keks: Keks | None, prefix: TokenPrefix, key: Key | None = None
) -> tuple[bool, int | None]:
    """Add a prefix; ff1 needs the KEK and takes ``key``, or draws one. Returns whether it is new and its key's version.

    The same again, without a key, changes nothing. Raises PrefixRejected, PrefixTaken, PermissionsNotRequired,
    TenantUnknown, OtherKek, DatabaseAway, DatabaseRefused.
    """
    prefix.check()
    with administering(database, prefix.tenant) as connection:
        verdict = _offer(connection, prefix)
        if verdict == KEYLESS and keks is not None:
            prefix = dataclasses.replace(prefix, key_version=_add_key(connection, keks, prefix, key or Key.new()))
            verdict = _offer(connection, prefix)
        elif verdict == SAME and key is not None:
            verdict = "DIFFERS"
        if verdict not in (ADDED, SAME):
            raise _error(verdict, prefix)
        return verdict == ADDED, _version(connection, prefix)


def retire_prefix(database: DatabaseConfig, tenant: str, prefix: str) -> bool:
    """Let no token of a prefix be called any more, for good; False if that was so before.

    Raises PrefixUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant) as connection:
        verdict = connection.exec_driver_sql("SELECT shield_api.retire_prefix(%s, %s)", (tenant, prefix)).scalar_one()
    if verdict == "UNKNOWN":
        raise PrefixUnknown(tenant=tenant, prefix=prefix, kind="")
    return bool(verdict == "RETIRED")


def _offer(connection: Connection, prefix: TokenPrefix) -> str:
    values = (
        prefix.tenant, prefix.prefix, prefix.method, prefix.length, prefix.key_version,
        list(prefix.countries), list(prefix.ranges), list(prefix.line_types),
    )  # fmt: skip
    statement = "SELECT shield_api.add_prefix(%s, %s, %s, %s, %s, %s::text[], %s::text[], %s::text[])"
    return str(connection.exec_driver_sql(statement, values).scalar_one())


def _version(connection: Connection, prefix: TokenPrefix) -> int | None:
    statement = "SELECT key_version FROM dba.token_prefixes WHERE (tenant, prefix) = (%s, %s)"
    found: int | None = connection.exec_driver_sql(statement, (prefix.tenant, prefix.prefix)).scalar()
    return found


def _add_key(connection: Connection, keks: Keks, prefix: TokenPrefix, key: Key) -> int:
    check_kek(connection, keks)
    find = "SELECT id FROM dba.tenants WHERE name = %s"
    tenant_id: int = connection.exec_driver_sql(find, (prefix.tenant,)).scalar_one()
    newest = "SELECT coalesce(max(version), 0) + 1 FROM dba.keys WHERE (tenant, purpose) = (%s, 'ff1')"
    version: int = connection.exec_driver_sql(newest, (prefix.tenant,)).scalar_one()
    wrapped = keyring.wrap(keks.current, key, tenant_id=tenant_id, purpose=FF1, version=version)
    connection.exec_driver_sql(
        "SELECT shield_api.add_key(%s, %s, %s, %s, %s)", (tenant_id, FF1, version, wrapped, keks.id)
    )
    return version


def _error(verdict: str, prefix: TokenPrefix) -> ShieldError:
    if verdict == "UNKNOWN":
        return TenantUnknown(tenant=prefix.tenant)
    if verdict == "PERMISSION":
        return PermissionsNotRequired(method=prefix.method, tenant=prefix.tenant)
    return PrefixTaken(prefix=prefix.prefix, tenant=prefix.tenant, clash=_CLASHES[verdict])
