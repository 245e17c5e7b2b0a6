"""Bringing a database to this release's schema, and back by one revision.

Invariants: everything happens in one transaction under an advisory lock, so two upgrades take turns and a failed one
leaves nothing; whatever is made belongs to ``shield_owner``, whoever runs it; running it again changes nothing; roles
belong to the cluster and are made by ``make_roles`` alone, never dropped.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from esl_shield.db.failures import change_failed
from esl_shield.db.schema import GROUP_ROLES, OWNER, SCHEMAS, function_comment, sql_files, sql_hash
from esl_shield.errors.database import NO_RIGHT, NothingToDowngrade, RolesMissing, SchemaRefused
from esl_shield.shipped import shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

MONTHS_AHEAD = 12
_LOCK = 0x65736C736869  # any constant will do; "eslshi"
_SET_OPTION_SINCE = 160000
_LOCK_TIMEOUT = "10s"  # calls queue behind a waiting ALTER TABLE, so do not wait long


@dataclass(frozen=True)
class UpgradeReport:
    """What an upgrade or downgrade did; ``revision_*`` is None for a database without our tables."""

    revision_before: str | None
    revision_after: str | None
    sql_applied: bool
    months_made: int

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.revision_before != self.revision_after or self.sql_applied or self.months_made > 0


def make_roles(engine: Engine) -> list[str]:
    """Create the cluster-wide roles that are missing and answer their names.

    Needs CREATEROLE only when one is missing. Raises SchemaRefused.
    """
    with administering(engine) as connection:
        made = [role for role in (OWNER, *GROUP_ROLES) if not _has_role(connection, role)]
        for role in made:
            _run(connection, f"CREATE ROLE {role} NOLOGIN")
        for role in GROUP_ROLES:
            if not _scalar(connection, _ADMIN_OPTION, role):
                _run(connection, f"GRANT {role} TO {OWNER} WITH ADMIN OPTION")
        if not _may_become_owner(connection):
            _run(connection, f"GRANT {OWNER} TO CURRENT_USER")
        return made


def upgrade(engine: Engine) -> UpgradeReport:
    """Apply what is missing: revisions, functions, views, policies, grants, months.

    Raises RolesMissing before ``make_roles`` has run in the cluster, SchemaRefused when PostgreSQL says no.
    """
    with administering(engine) as connection:
        _become_owner(connection)
        before = _revision(connection)
        command.upgrade(_alembic(connection), "head")
        files = sql_files()
        applied = _apply_sql(connection, files)
        months = _scalar(connection, "SELECT shield.make_months(%s)", MONTHS_AHEAD)
        return UpgradeReport(before, _revision(connection), applied, months)


def downgrade(engine: Engine, revision: str = "-1") -> UpgradeReport:
    """Undo the newest revision, its rows included, and remove all functions, views and policies.

    Raises NothingToDowngrade, RolesMissing, SchemaRefused.
    """
    with administering(engine) as connection:
        _become_owner(connection)
        before = _revision(connection)
        if before is None:
            raise NothingToDowngrade(what="no revision of ours")
        _run(connection, _REMOVE_SQL)
        try:
            command.downgrade(_alembic(connection), revision)
        except CommandError:
            before = None
        if before is None:
            raise NothingToDowngrade(what=f"no revision {revision} before its own")
        if _scalar(connection, "SELECT to_regclass('shield.applied_sql') IS NOT NULL"):
            _run(connection, "TRUNCATE shield.applied_sql")
        return UpgradeReport(before, _revision(connection), sql_applied=False, months_made=0)


def is_current(engine: Engine) -> bool:
    """Whether the database has this release's revision and SQL; needs membership in shield_owner."""
    with administering(engine) as connection:
        _become_owner(connection)
        head = ScriptDirectory(str(shipped("migrations"))).get_current_head()
        return _revision(connection) == head and _applied(connection) == sql_hash()


def driver_connection(connection: Connection) -> Any:
    """psycopg2's own connection under SQLAlchemy's."""
    return connection.connection.dbapi_connection


_ADMIN_OPTION = f"""
SELECT count(*) > 0 FROM pg_auth_members m
WHERE m.roleid = %s::regrole AND m.member = '{OWNER}'::regrole AND m.admin_option
"""

_POWERFUL_ROLES = """
SELECT string_agg(rolname, ', ') FROM pg_roles
WHERE rolname = ANY (%s) AND (rolsuper OR rolbypassrls OR rolcanlogin)
"""

_FOREIGN_SCHEMAS = """
SELECT string_agg(nspname, ', ') FROM pg_namespace WHERE nspname = ANY (%s) AND nspowner <> %s::regrole
"""

_REMOVE_SQL = f"""
DO $$
DECLARE
    v_routine regprocedure;
    v_policy record;
BEGIN
    DROP SCHEMA IF EXISTS shield_api CASCADE;
    DROP SCHEMA IF EXISTS dba CASCADE;
    FOR v_routine IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'shield'::regnamespace LOOP
        EXECUTE 'DROP FUNCTION ' || v_routine;
    END LOOP;
    FOR v_policy IN SELECT p.policyname, p.tablename FROM pg_policies p WHERE p.schemaname = 'shield' LOOP
        EXECUTE format('DROP POLICY %I ON shield.%I', v_policy.policyname, v_policy.tablename);
    END LOOP;
    CREATE SCHEMA shield_api AUTHORIZATION {OWNER};
    CREATE SCHEMA dba AUTHORIZATION {OWNER};
END
$$
"""


@contextlib.contextmanager
def administering(engine: Engine) -> Iterator[Connection]:
    """Open one transaction under the lock, for administrators; PostgreSQL's refusals become ours, without rows.

    Raises DatabaseAway, SchemaRefused.
    """
    problem = None
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            connection.exec_driver_sql("SET LOCAL client_min_messages = warning")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection
    except DBAPIError as error:
        problem = change_failed(error.orig)
    except psycopg2.Error as error:
        problem = change_failed(error)
    if isinstance(problem, SchemaRefused) and f"SQLSTATE {NO_RIGHT}" in str(problem.fields["problem"]):
        who = f"it takes the login of a superuser or a member of {OWNER}, who may make roles"
        raise SchemaRefused(problem=f"{problem.fields['problem']}; {who}")
    if problem is not None:
        raise problem


def _become_owner(connection: Connection) -> None:
    """Make the schemas as whoever we are, then go on as their owner."""
    missing = [role for role in (OWNER, *GROUP_ROLES) if not _has_role(connection, role)]
    if missing or not _may_become_owner(connection):
        raise RolesMissing(roles=", ".join(missing) or f"membership in {OWNER}")
    powerful = _scalar(connection, _POWERFUL_ROLES, [OWNER, *GROUP_ROLES])
    if powerful:
        raise SchemaRefused(problem=f"{powerful} must be NOLOGIN, NOSUPERUSER and NOBYPASSRLS")
    if not _scalar(connection, "SELECT has_database_privilege(%s, current_database(), 'CREATE')", OWNER):
        name = _scalar(connection, "SELECT quote_ident(current_database())")
        _run(connection, f"GRANT CREATE ON DATABASE {name} TO {OWNER}")
    _run(connection, f"SET LOCAL ROLE {OWNER}")
    for schema in SCHEMAS:
        _run(connection, f"CREATE SCHEMA IF NOT EXISTS {schema}")
    foreign = _scalar(connection, _FOREIGN_SCHEMAS, list(SCHEMAS), OWNER)
    if foreign:
        raise SchemaRefused(problem=f"the schema {foreign} belongs to somebody else, who could change what is in it")
    _run(connection, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")


def _may_become_owner(connection: Connection) -> bool:
    """Whether SET ROLE will do: since PostgreSQL 16 whoever creates a role is a member that may not."""
    right = "SET" if driver_connection(connection).server_version >= _SET_OPTION_SINCE else "MEMBER"
    return bool(_scalar(connection, f"SELECT pg_has_role(current_user, %s, '{right}')", OWNER))


def _apply_sql(connection: Connection, files: list[Any]) -> bool:
    wanted = sql_hash(files)
    if _applied(connection) == wanted:
        return False
    for path in files:
        _run(connection, path.read_text(encoding="utf-8"))
        if comment := function_comment(path):
            _run(connection, f"COMMENT ON FUNCTION {path.parent.name}.{path.stem} IS %s", comment)
    _run(
        connection,
        "INSERT INTO shield.applied_sql (hash) VALUES (%s)"
        " ON CONFLICT (one) DO UPDATE SET hash = excluded.hash, applied_at = now()",
        wanted,
    )
    return True


def _applied(connection: Connection) -> str | None:
    if not _scalar(connection, "SELECT to_regclass('shield.applied_sql') IS NOT NULL"):
        return None
    applied: str | None = _scalar(connection, "SELECT max(hash) FROM shield.applied_sql")
    return applied


def _revision(connection: Connection) -> str | None:
    options = {"version_table_schema": "shield"}
    revision: str | None = MigrationContext.configure(connection, opts=options).get_current_revision()
    return revision


def _alembic(connection: Connection) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(shipped("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _has_role(connection: Connection, role: str) -> bool:
    return bool(_scalar(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", role))


def _run(connection: Connection, statement: str, *values: object) -> None:
    """Execute as it stands: our SQL holds ``%`` and ``:``, which SQLAlchemy would read as parameters."""
    with driver_connection(connection).cursor() as cursor:
        cursor.execute(statement, values or None)


def _scalar(connection: Connection, statement: str, *values: object) -> Any:
    return connection.exec_driver_sql(statement, values or None).scalar()
