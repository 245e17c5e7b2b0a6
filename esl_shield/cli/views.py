"""Reading the views of schema ``dba`` for commands that list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.masking import Pattern, read_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esl_shield.config.database import DatabaseConfig

_READERS = {
    "tenants": "an auditor or a seeder", "tokens": "an auditor or a seeder", "dids": "an auditor or a seeder",
    "label_masks": "an auditor or a seeder", "holds": "a steward, an eraser or an auditor",
    "erasures": "a steward, an eraser or an auditor", "token_caps": "a steward or an auditor",
    "tenant_caps": "a steward or an auditor", "dialling": "a dialler or an auditor",
    "dial_permissions": "a dialler or an auditor", "clicks": "a dialler or an auditor",
    "policies": "a steward or an auditor", "agent_locks": "a steward or an auditor",
    "do_not_call": "a seeder or an auditor", "token_prefixes": "an auditor, a seeder, a steward or an eraser",
}  # fmt: skip


def read(
    database: DatabaseConfig, view: str, columns: Sequence[str], *, where: Mapping[str, object | None] | None = None,
    order: str = "", limit: int | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Read columns of ``dba.<view>``; ``where`` maps a condition with one ``%s`` to its value, left out when None.

    Names and conditions come from our own commands, never from a user. Raises DatabaseAway, DatabaseRefused; its
    RightMissing says whose login reads the view.
    """
    conditions = {text: value for text, value in (where or {}).items() if value is not None}
    statement = f"SELECT {', '.join(columns)} FROM dba.{view}"
    statement += f" WHERE {' AND '.join(conditions)}" if conditions else ""
    statement += f" ORDER BY {order}" if order else ""
    statement += f" LIMIT {limit:d}" if limit is not None else ""
    failure: Exception
    try:
        with sqlalchemy_engine(database).connect() as connection:
            rows = connection.exec_driver_sql(statement, tuple(conditions.values())).fetchall()
            return [dict(zip(columns, row, strict=True)) for row in rows]
    except DBAPIError as error:
        failure = _failure(error, view)
    raise failure


def tenant(database: DatabaseConfig, name: str) -> dict[str, Any]:
    """Read a tenant's region, token_prefix and token_length; raises TenantUnknown, DatabaseAway, DatabaseRefused."""
    rows = read(database, "tenants", ("region", "token_prefix", "token_length"), where={"name = %s": name})
    if not rows:
        raise TenantUnknown(tenant=name)
    return rows[0]


def has_token(database: DatabaseConfig, name: str, token: str) -> bool:
    """Whether digits have the form of a token without a row of the tenant; raises DatabaseAway, DatabaseRefused."""
    rows = read(database, "token_prefixes", ("prefix",), where={"tenant = %s": name, "length = %s": len(token)})
    return any(token.startswith(row["prefix"]) for row in rows)


def label_patterns(database: DatabaseConfig, tenant: str) -> dict[str, Pattern]:
    """Read how a tenant's labels are shown; raises DatabaseAway, DatabaseRefused."""
    rows = read(database, "label_masks", ("label", "pattern"), where={"tenant = %s": tenant})
    return {row["label"]: read_pattern(row["pattern"]) for row in rows}


def _failure(error: DBAPIError, view: str) -> Exception:
    if not isinstance(error.orig, psycopg2.Error):
        return connection_failed(error)
    return call_failed(view, error.orig, schema="dba", needs=_READERS.get(view, "an auditor"))
