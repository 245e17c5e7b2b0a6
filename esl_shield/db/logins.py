"""Logins: a PostgreSQL role with a password, mapped to what it may see.

Invariants: the password leaves this process only as a SCRAM verifier, so no server log can hold it; running it again
brings an existing login to what was asked; what a worker or resolver waits for ends on the server too
(``statement_timeout`` stands on the role); where PostgreSQL lets us, the server's log never holds a statement of a
login whose statements carry tokens, since a mis-dialled number may have a token's form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from esl_shield.db.schema import GROUP_ROLES, LOGIN_ROLES, OWNER
from esl_shield.db.upgrade import administering, driver_connection
from esl_shield.errors.database import LoginRejected
from esl_shield.errors.tenants import TenantUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Engine

STATEMENT_TIMEOUT_MS = 1000
MIN_PASSWORD_LENGTH = 12
_TIMED = ("worker", "resolver", "masker", "api")
_QUIET = (
    "worker", "resolver", "masker", "seeder", "revealer", "scanner", "canary", "steward", "eraser", "rekeyer", "api",
    "dialler",
)  # fmt: skip
REVEALER = "revealer"
REVEAL_RIGHTS = ("request", "approve")
# What writes statements into the server's log (PostgreSQL's "Error Reporting and Logging"), and its value for never.
QUIET_SETTINGS = {
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_statement": "none",
}
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PERSON = re.compile(r"[^\W\d_][^\d\x00-\x1f]{1,63}")

_STATE = "SELECT rolsuper OR rolbypassrls OR pg_has_role(oid, %s, 'MEMBER') FROM pg_roles WHERE rolname = %s"


@dataclass(frozen=True)
class MadeLogin:
    """A login that was made, or brought up to date (not ``new``).

    ``missing`` is what a superuser must run, one line, so that the server's log holds none of its statements; empty
    when that is done.
    """

    new: bool
    missing: str


def make_login(
    engine: Engine,
    name: str,
    password: str,
    *,
    role: str,
    tenants: Sequence[str] | None = None,
    deliveries: Sequence[str] | None = None,
    mint_per_s: int | None = None,
    person: str | None = None,
    rights: Sequence[str] = (),
    lookups_per_s: int | None = None,
) -> MadeLogin:
    """Create or bring up to date a login.

    ``role`` is one of LOGIN_ROLES. ``tenants`` (names), ``deliveries`` and ``mint_per_s`` (permits, or callers masked,
    a second) limit it; None does not. ``lookups_per_s`` is what a scanner may look up in a second; None is nothing. A
    revealer belongs to a ``person`` and has ``rights`` of REVEAL_RIGHTS, none by default.
    Raises LoginRejected, TenantUnknown, SchemaRefused, DatabaseAway.
    """
    if not _NAME.fullmatch(name) or name in (OWNER, *GROUP_ROLES) or name.startswith("pg_"):
        raise LoginRejected(login=name, why="a name is up to 63 of a-z, 0-9 and _, and none of our roles'")
    if role not in LOGIN_ROLES:
        raise LoginRejected(login=name, why=f"the role is one of {', '.join(LOGIN_ROLES)}")
    if len(password) < MIN_PASSWORD_LENGTH:
        why = f"its password is shorter than {MIN_PASSWORD_LENGTH} characters" if password else "the password is empty"
        raise LoginRejected(login=name, why=why)
    if role == REVEALER and not (person and _PERSON.fullmatch(" ".join(person.split()))):
        raise LoginRejected(
            login=name, why="a revealer's login is one person's: their name, 2 to 64 letters, no digits"
        )
    with administering(engine) as connection:
        driver = driver_connection(connection)
        with driver.cursor() as cursor:
            _require_tenants(cursor, tenants or ())
            new = _make_role(cursor, name)
            _set_up_role(cursor, name, password, timed=role in _TIMED)
            _let_connect(cursor, name)
            lists = [None if given is None else list(given) for given in (tenants, deliveries)]
            if role == REVEALER:
                cursor.execute(
                    "SELECT shield_api.add_revealer(%s, %s::text[], %s, %s::text[])",
                    (name, lists[0], person, list(rights)),
                )
            else:
                cursor.execute(
                    "SELECT shield_api.add_login(%s, %s, %s::text[], %s::text[], %s)", (name, role, *lists, mint_per_s)
                )
            if role == "scanner":
                cursor.execute("SELECT shield_api.set_lookup_rate(%s, %s)", (name, lookups_per_s))
            return MadeLogin(new, _quieten(cursor, name, QUIET_SETTINGS if role in _QUIET else {}))


def quiet_settings(role: str) -> Mapping[str, str]:
    """Return what stands on a login of this role so that the server's log holds none of its statements."""
    return QUIET_SETTINGS if role in _QUIET else {}


def _make_role(cursor: Any, name: str) -> bool:
    cursor.execute(_STATE, (OWNER, name))
    found = cursor.fetchone()
    if found and found[0]:
        raise LoginRejected(login=name, why="it is an administrator, whom row-level security would not hold")
    if found is None:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    return found is None


def _require_tenants(cursor: Any, tenants: Sequence[str]) -> None:
    cursor.execute("SELECT name FROM dba.tenants WHERE name = ANY (%s)", (list(tenants),))
    known = {row[0] for row in cursor.fetchall()}
    unknown = [name for name in tenants if name not in known]
    if unknown:
        raise TenantUnknown(tenant=", ".join(unknown))


def _quieten(cursor: Any, name: str, wanted: Mapping[str, str]) -> str:
    """Set what keeps statements out of the log; only a superuser may, so the answer is what is left to be run."""
    cursor.execute("SELECT setconfig FROM pg_db_role_setting WHERE setrole = %s::regrole AND setdatabase = 0", (name,))
    row = cursor.fetchone()
    stand = dict(setting.split("=", 1) for setting in (row[0] if row else []))
    statements = [
        f"ALTER ROLE \"{name}\" SET {setting} = '{value}'" if value else f'ALTER ROLE "{name}" RESET {setting}'
        for setting, value in {setting: wanted.get(setting) for setting in QUIET_SETTINGS}.items()
        if stand.get(setting) != value
    ]
    if not statements:
        return ""
    script = "; ".join(statements) + ";"
    cursor.execute("SAVEPOINT quieten")
    try:
        cursor.execute(script)
    except psycopg2.errors.InsufficientPrivilege:
        cursor.execute("ROLLBACK TO SAVEPOINT quieten")
        return script if wanted else ""
    return ""


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
