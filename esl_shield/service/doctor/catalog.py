"""What PostgreSQL's catalog says of our schema, roles and settings.

Any login sees most of it. Revision, views, policies and the mapping of logins take a member of ``shield_owner``: views
and policies of this release are made as temporary ones, to compare PostgreSQL's rendering of both; the transaction is
rolled back, and no row of a table is read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from esl_shield.db import shipped_sql
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.db.schema import OWNER, SCHEMAS
from esl_shield.db.upgrade import driver_connection
from esl_shield.errors.database import RolesMissing
from esl_shield.service.doctor import catalog_sql
from esl_shield.service.doctor.finding import NotAskedError, Severity
from esl_shield.shipped import shipped

if TYPE_CHECKING:
    from esl_shield.config import Config

SETTINGS = (
    "server_version_num", "fsync", "full_page_writes", "synchronous_commit", "shared_preload_libraries",
    "session_preload_libraries",
)  # fmt: skip
NOT_OWNER = f"this takes the administrator's configuration, whose login is a member of {OWNER}"
_WHICH = {"schemas": list(SCHEMAS)}


@dataclass(frozen=True)
class Role:
    """A role's powers and the roles it is a direct member of."""

    name: str
    login: bool
    powers: frozenset[str]
    member_of: frozenset[str]


@dataclass(frozen=True)
class OwnerFacts:
    """What only a member of shield_owner sees; the pairs are what is there and what this release ships."""

    revision: str | None
    head: str | None
    mapped: dict[str, str]  # login -> role, as `db login` wrote it
    views: tuple[dict[str, str], dict[str, str]]
    policies: tuple[dict[str, str], dict[str, str]]


@dataclass(frozen=True)
class DatabaseFacts:
    """The catalog as this login sees it; ``owner`` is None for a login that is no member of shield_owner."""

    config: Config
    role: str
    login: str
    version: int
    settings: dict[str, str]
    encrypted: bool
    over_network: bool
    clock_offset_s: float
    functions: dict[str, list[tuple[str, bool, frozenset[str], str]]]  # name -> (source, definer, settings, owner)
    rights: frozenset[tuple[str, str, str]]
    tables: dict[str, tuple[bool, bool, str]]  # name -> (row security enabled, forced, owner)
    foreign_owners: tuple[str, ...]
    triggers: tuple[str, ...]
    roles: dict[str, Role]
    login_settings: dict[str, dict[str, str]]
    default_rights: frozenset[str]  # who gets EXECUTE on functions shield_owner makes
    months: frozenset[str]  # the months that have partitions of their own, by the later of calls and audit events
    unindexed: tuple[tuple[str, str], ...]  # table or partition, index it lacks or whose building failed
    owner: OwnerFacts | None
    owner_problem: str

    @property
    def owned(self) -> OwnerFacts:
        """What the owner sees; raises NotAskedError."""
        if self.owner is None:
            raise NotAskedError(
                self.owner_problem or NOT_OWNER, Severity.UNKNOWN if self.owner_problem else Severity.INFO
            )
        return self.owner


def ask_database(config: Config, role: str) -> DatabaseFacts:
    """Read the catalog; raises DatabaseAway, DatabaseRefused, ConfigError, RolesMissing."""
    failure: Exception
    try:
        with sqlalchemy_engine(config.database).connect() as connection, connection.begin() as transaction:
            with driver_connection(connection).cursor() as cursor:
                facts = _Catalog(cursor).read(config, role)
            transaction.rollback()
            return facts
    except DBAPIError as error:
        failure = connection_failed(error.orig or error)
    except psycopg2.Error as error:
        failure = call_failed("(catalog)", error)
    raise failure


class _Catalog:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def read(self, config: Config, role: str) -> DatabaseFacts:
        self._cursor.execute("SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '2s'")
        if self._rows(catalog_sql.SCHEMAS_THERE)[0][0] < len(SCHEMAS):
            raise RolesMissing(roles="our schemas or roles")
        login, encrypted, over_network = self._rows(catalog_sql.CONNECTION)[0]
        owner, problem = self._owner()
        settings = dict(self._rows("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(SETTINGS)]))
        return DatabaseFacts(
            config=config, role=role, login=login, version=int(settings["server_version_num"]), settings=settings,
            encrypted=bool(encrypted), over_network=over_network, clock_offset_s=self._clock(),
            functions=self._functions(), rights=frozenset(self._rows(catalog_sql.RIGHTS, _WHICH)),
            tables={name: (on, forced, whose) for name, on, forced, whose in self._rows(catalog_sql.TABLES)},
            foreign_owners=tuple(row[0] for row in self._rows(catalog_sql.FOREIGN, {**_WHICH, "owner": OWNER})),
            triggers=tuple(row[0] for row in self._rows(catalog_sql.TRIGGERS, _WHICH)),
            roles=self._roles(), login_settings=self._login_settings(),
            default_rights=frozenset(row[0] for row in self._rows(catalog_sql.DEFAULT_RIGHTS, {"owner": OWNER})),
            months=frozenset(row[0] for row in self._rows(catalog_sql.MONTHS)),
            unindexed=tuple(self._rows(catalog_sql.INDEXES)), owner=owner, owner_problem=problem,
        )  # fmt: skip

    def _rows(self, statement: str, values: object = None) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def _clock(self) -> float:
        offsets = []
        for _ in range(3):
            before = time.time()
            there = float(self._rows("SELECT extract(epoch FROM clock_timestamp())")[0][0])
            after = time.time()
            offsets.append((after - before, there - (before + after) / 2))
        return min(offsets)[1]  # that of the fastest answer

    def _functions(self) -> dict[str, list[tuple[str, bool, frozenset[str], str]]]:
        found: dict[str, list[tuple[str, bool, frozenset[str], str]]] = {}
        for name, source, definer, settings, owner in self._rows(catalog_sql.FUNCTIONS, _WHICH):
            found.setdefault(name, []).append((source, definer, frozenset(settings or ()), owner))
        return found

    def _roles(self) -> dict[str, Role]:
        return {
            name: Role(name, login, frozenset(powers), frozenset(member_of))
            for name, login, powers, member_of in self._rows(catalog_sql.ROLES)
        }

    def _login_settings(self) -> dict[str, dict[str, str]]:
        return {
            login: dict(setting.split("=", 1) for setting in settings)
            for login, settings in self._rows(catalog_sql.LOGIN_SETTINGS)
        }

    def _owner(self) -> tuple[OwnerFacts | None, str]:
        if not self._rows("SELECT pg_has_role(session_user, %s, 'MEMBER')", [OWNER])[0][0]:
            return None, ""
        self._cursor.execute("SAVEPOINT owner")
        try:
            return self._as_owner(), ""
        except psycopg2.Error as error:
            return None, f"PostgreSQL refused with SQLSTATE {error.pgcode}"
        finally:
            self._cursor.execute("ROLLBACK TO SAVEPOINT owner")

    def _as_owner(self) -> OwnerFacts:
        self._cursor.execute(f"SET LOCAL ROLE {OWNER}; SET LOCAL search_path = pg_catalog, pg_temp")
        mapped = dict(self._rows("SELECT login, role FROM shield.logins"))
        revisions = self._rows("SELECT version_num FROM shield.alembic_version")
        head = ScriptDirectory(str(shipped("migrations"))).get_current_head()
        return OwnerFacts(
            revision=revisions[0][0] if revisions else None, head=head, mapped=mapped,
            views=self._views(), policies=self._policies(),
        )  # fmt: skip

    def _views(self) -> tuple[dict[str, str], dict[str, str]]:
        for name, body in shipped_sql.views().items():
            self._cursor.execute(f"CREATE TEMP VIEW doctor_view_{name}{body}")
        there = dict(self._rows(catalog_sql.VIEWS, {"schema": "dba", "prefix": ""}))
        temporary = self._rows("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")[0][0]
        ours = dict(self._rows(catalog_sql.VIEWS, {"schema": temporary, "prefix": "doctor_view_"}))
        return there, ours

    def _policies(self) -> tuple[dict[str, str], dict[str, str]]:
        for (table,) in self._rows(catalog_sql.PARENTS):
            self._cursor.execute(f'CREATE TEMP TABLE "{table}" (LIKE shield."{table}")')
        self._cursor.execute(shipped_sql.policies().replace("ON shield.", "ON pg_temp."))
        temporary = self._rows("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")[0][0]
        return dict(self._rows(catalog_sql.POLICIES, ["shield"])), dict(self._rows(catalog_sql.POLICIES, [temporary]))
