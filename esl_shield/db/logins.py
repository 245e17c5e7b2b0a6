"""Logins: a PostgreSQL role with a password, mapped to what it may see.

Invariants: the password leaves this process only as a SCRAM verifier, so no server log can hold it; running it again
brings an existing login to what was asked; what a worker or resolver waits for ends on the server too
(``statement_timeout`` stands on the role).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from esl_shield.db.schema import GROUP_ROLES, LOGIN_ROLES, OWNER
from esl_shield.db.upgrade import administering, driver_connection
from esl_shield.errors import LoginRejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Engine

STATEMENT_TIMEOUT_MS = 1000
_TIMED = ("worker", "resolver")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_STATE = "SELECT rolsuper OR rolbypassrls OR pg_has_role(oid, %s, 'MEMBER') FROM pg_roles WHERE rolname = %s"


def make_login(
    engine: Engine,
    name: str,
    password: str,
    *,
    role: str,
    tenants: Sequence[str] | None = None,
    deliveries: Sequence[str] | None = None,
    mint_per_s: int | None = None,
) -> bool:
    """Create or bring up to date a login; answers whether it is new.

    ``role`` is worker, resolver, seeder or auditor. ``tenants`` (names), ``deliveries`` and ``mint_per_s`` (permits a
    second) limit it; None does not. Raises LoginRejected, SchemaRefused.
    """
    if not _NAME.fullmatch(name) or name in (OWNER, *GROUP_ROLES) or name.startswith("pg_"):
        raise LoginRejected(login=name, why="a name is up to 63 of a-z, 0-9 and _, and none of our roles'")
    if role not in LOGIN_ROLES:
        raise LoginRejected(login=name, why=f"the role is one of {', '.join(LOGIN_ROLES)}")
    if not password:
        raise LoginRejected(login=name, why="the password is empty")
    with administering(engine) as connection:
        driver = driver_connection(connection)
        with driver.cursor() as cursor:
            new = _make_role(cursor, name)
            _set_up_role(cursor, name, password, timed=role in _TIMED)
            _let_connect(cursor, name)
            lists = [None if given is None else list(given) for given in (tenants, deliveries)]
            cursor.execute(
                "SELECT shield_api.add_login(%s, %s, %s::text[], %s::text[], %s)", (name, role, *lists, mint_per_s)
            )
    return new


def _make_role(cursor: Any, name: str) -> bool:
    cursor.execute(_STATE, (OWNER, name))
    found = cursor.fetchone()
    if found and found[0]:
        raise LoginRejected(login=name, why="it is an administrator, whom row-level security would not hold")
    if found is None:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    return found is None


def _let_connect(cursor: Any, name: str) -> None:
    cursor.execute("SELECT current_database(), has_database_privilege(%s, current_database(), 'CONNECT')", (name,))
    database, may_connect = cursor.fetchone()
    if not may_connect:
        names = sql.Identifier(database), sql.Identifier(name)
        cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))


def _set_up_role(cursor: Any, name: str, password: str, *, timed: bool) -> None:
    verifier = encrypt_password(password, name, cursor.connection, "scram-sha-256")
    role = sql.Identifier(name)
    cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(verifier)))
    setting = sql.SQL("SET statement_timeout = {}").format(sql.Literal(STATEMENT_TIMEOUT_MS))
    cursor.execute(sql.SQL("ALTER ROLE {} {}").format(role, setting if timed else sql.SQL("RESET statement_timeout")))
