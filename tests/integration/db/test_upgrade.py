"""Upgrading, by a superuser and by a database owner who is none, and back."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from pathlib import Path

import psycopg2
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from esl_shield.config.database import DatabaseConfig
from esl_shield.db import upgrade as schema
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import Database, sqlalchemy_engine
from esl_shield.db.logins import make_login
from esl_shield.errors.database import NothingToDowngrade, RolesMissing, SchemaRefused
from esl_shield.shipped import shipped

REVISIONS = [script.revision for script in ScriptDirectory(str(shipped("migrations"))).walk_revisions()]
HEAD, BEFORE = REVISIONS[:2]
TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'shield'::regnamespace AND relkind IN ('r', 'p')"
_EVENTS = """INSERT INTO shield.audit_events (kind, detail)
    SELECT 'key.read', jsonb_build_object('filler', repeat('x', 1900)) FROM generate_series(1, 40000)"""
_PAGE = (Path(__file__).parents[3] / "docs" / "dba.md").read_text(encoding="utf-8")
_BESIDE = next(
    block for block in re.findall(r"```sql\n(.*?)```", _PAGE, re.DOTALL) if "CREATE INDEX CONCURRENTLY" in block
)
_VALID = """SELECT n.relname, indisvalid FROM pg_index JOIN pg_class n ON n.oid = indexrelid
    WHERE n.relname IN ('audit_events_by_time', 'audit_events_of_no_call') ORDER BY n.relname"""
_OPTIONS = """SELECT DISTINCT n.reloptions FROM pg_class n JOIN pg_am a ON a.oid = n.relam
    WHERE a.amname = 'brin' AND n.relkind = 'i' AND n.relname ^@ 'audit_events_'"""
_numbers = itertools.count(1)


def _where(url):
    parts = make_url(url)
    return {"host": parts.query["host"], "user": parts.username, "password": parts.password, "dbname": parts.database}


def _run(url, *statements):
    with contextlib.closing(psycopg2.connect(**_where(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def bare():
    """A cluster nobody has made roles in."""
    with EmbeddedPostgres() as postgres:
        yield postgres


@pytest.fixture
def empty(cluster):
    """The URL of an empty database in the run's cluster."""
    name = f"test_empty_{next(_numbers)}"
    _run(cluster.url(), f"CREATE DATABASE {name}")
    yield cluster.url(dbname=name)
    _run(cluster.url(), f"DROP DATABASE {name} WITH (FORCE)")


def _engine(url):
    return sqlalchemy_engine(DatabaseConfig(url))


@pytest.fixture
def crowded(empty):
    """The engine of a database whose upgrade to 0023 found a month of events too large to index beside calls."""
    engine = _engine(empty)
    schema.upgrade(engine)
    schema.downgrade(engine, "0022")
    _run(empty, _EVENTS)
    schema.upgrade(engine)
    return engine


def test_an_upgrade_without_roles_says_what_to_run(bare):
    """Before `db roles` an upgrade refuses and changes nothing; the roles are made once."""
    engine = _engine(bare.url())
    with pytest.raises(RolesMissing):
        schema.upgrade(engine)
    assert _run(bare.url(), "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'shield%'") == []
    assert schema.make_roles(engine) == [
        "shield_owner", "shield_worker", "shield_resolver", "shield_masker", "shield_seeder", "shield_auditor",
        "shield_revealer", "shield_scanner", "shield_canary", "shield_sealer",
        "shield_steward", "shield_eraser", "shield_housekeeper",
        "shield_rekeyer", "shield_intake", "shield_reaper", "shield_dispatcher", "shield_dialler",
        "shield_api",
    ]  # fmt: skip
    assert schema.make_roles(engine) == []


def test_the_second_upgrade_does_nothing(empty):
    """An upgrade reports what it did, the next one that nothing was to do, and nothing was."""
    engine = _engine(empty)
    first = schema.upgrade(engine)
    assert (first.revision_before, first.revision_after, first.sql_applied, first.months_made) == (None, HEAD, True, 39)
    before = _run(empty, "SELECT oid, xmin::text FROM pg_class UNION ALL SELECT oid, xmin::text FROM pg_proc")
    second = schema.upgrade(engine)
    assert not second.changed
    assert schema.is_current(engine)
    after = _run(empty, "SELECT oid, xmin::text FROM pg_class UNION ALL SELECT oid, xmin::text FROM pg_proc")
    assert set(after) == set(before)


def test_the_newest_revision_can_be_undone_and_done_again(empty):
    """A downgrade removes what it made and our functions; older tables keep their rows; an upgrade brings all back."""
    engine = _engine(empty)
    schema.upgrade(engine)
    _run(empty, "SELECT shield_api.add_tenant('acme', 'acme.example', '91', 14, 'CN')")
    tables = _run(empty, TABLES)
    report = schema.downgrade(engine)
    assert (report.revision_before, report.revision_after) == (HEAD, BEFORE)
    assert _run(empty, TABLES) <= tables
    assert _run(empty, "SELECT to_regclass('dba.tenants')") == [(None,)]
    assert _run(empty, "SELECT 1 FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'shield%'") == []
    assert not schema.is_current(engine)
    assert schema.upgrade(engine).changed
    assert _run(empty, "SELECT name FROM dba.tenants") == [("acme",)]
    assert schema.is_current(engine)


def test_all_revisions_can_be_undone(empty):
    """Down to nothing, then an error, then up again; the roles stay."""
    engine = _engine(empty)
    schema.upgrade(engine)
    assert schema.downgrade(engine, "base").revision_after is None
    with pytest.raises(NothingToDowngrade):
        schema.downgrade(engine)
    assert _run(empty, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'shield\\_%'")[0][0] >= 5
    assert (
        _run(empty, "SELECT typname FROM pg_type WHERE typnamespace = 'shield'::regnamespace AND typtype = 'd'") == []
    )
    assert schema.upgrade(engine).revision_after == HEAD


def test_an_unknown_revision_is_refused_whole(empty):
    """Going back to what never was leaves everything as it is."""
    engine = _engine(empty)
    schema.upgrade(engine)
    with pytest.raises(NothingToDowngrade):
        schema.downgrade(engine, "nowhere")
    assert schema.is_current(engine)


def test_upgrades_at_the_same_time_take_turns(empty):
    """Four upgrades of an empty database: one does the work, the others find it done."""
    reports, failures = [], []

    def run():
        try:
            reports.append(schema.upgrade(_engine(empty)))
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(report.changed for report in reports) == [False, False, False, True]


def test_a_database_owner_who_is_no_superuser_can_do_it_all(bare):
    """With CREATEROLE and a database of its own: roles, upgrade, login, a call, downgrade, upgrade, a call again."""
    _run(
        bare.url(),
        f"CREATE ROLE site_dba LOGIN CREATEROLE CREATEDB NOSUPERUSER PASSWORD '{bare.password('site_dba')}'",
        "CREATE DATABASE site OWNER site_dba",
        "REVOKE ALL ON DATABASE site FROM PUBLIC",
    )
    url = bare.url("site_dba", "site")
    engine = _engine(url)
    assert len(schema.make_roles(engine)) == 1 + len(schema.GROUP_ROLES)
    assert schema.make_roles(engine) == []
    assert schema.upgrade(engine).revision_after == HEAD
    assert not schema.upgrade(engine).changed
    administrator = Database(DatabaseConfig(url), application_name="tests")
    assert administrator.call("add_tenant", "acme", "acme.example", "91", 14, "CN") == [(1,)]
    administrator.close()
    made = make_login(engine, "site_worker", bare.password("site_worker"), role="worker", tenants=["acme"])
    assert made.missing.startswith("ALTER ROLE \"site_worker\" SET log_min_error_statement = 'panic'; ALTER ROLE")
    _run(bare.url(), made.missing)
    again = make_login(engine, "site_worker", bare.password("site_worker"), role="worker", mint_per_s=9)
    assert (again.new, again.missing) == (False, "")
    worker = Database(DatabaseConfig(bare.url("site_worker", "site")), application_name="tests")
    arguments = (None, "acme.example", "1001", None, "telephone", 11, None, None, None, None, None)
    with contextlib.closing(worker):
        answer = worker.call("authorize_call", "00000000-0000-4000-8000-000000000001", *arguments[1:])
    assert answer == [("NOT_FOUND",)]
    assert _run(url, "SELECT login, state FROM dba.calls") == [("site_worker", "REFUSED")]
    made = make_login(engine, "site_seeder", bare.password("site_seeder"), role="seeder", tenants=["acme"])
    _run(bare.url(), made.missing)
    seeder = Database(DatabaseConfig(bare.url("site_seeder", "site")), application_name="tests")
    columns = (b"i" * 32, "91000000000017", b"c" * 50, "A-1", None, ["CN"], [""], [""], ["mobile"], "1", None)
    with contextlib.closing(seeder):
        assert seeder.call("seed_batch", 1, 1, 1, *columns) == [(True,)]
    owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'shield'::regnamespace"
    assert _run(url, owners) == [("shield_owner",)]
    assert schema.downgrade(engine).revision_after == BEFORE
    assert schema.upgrade(engine).revision_after == HEAD
    assert _run(bare.url(dbname="site"), "SELECT token, alias FROM dba.tokens") == [("91000000000017", "A-1")]
    worker = Database(DatabaseConfig(bare.url("site_worker", "site")), application_name="tests")
    with contextlib.closing(worker):
        answer = worker.call("authorize_call", "00000000-0000-4000-8000-000000000002", *arguments[1:])
    assert answer == [("NOT_FOUND",)]


def test_a_function_that_answered_more_is_replaced(empty):
    """A database whose authorize_call still answers tenant and alias gets the one that answers the verdict alone."""
    engine = _engine(empty)
    schema.upgrade(engine)
    arguments = "uuid, text, text, text, text, int, bytea, text, text, text, uuid"
    _run(
        empty,
        "DROP FUNCTION shield_api.authorize_call",
        f"CREATE FUNCTION shield_api.authorize_call({arguments}) RETURNS TABLE (verdict text, tenant text, alias text)"
        " LANGUAGE sql AS $$ SELECT '', '', '' $$",
        "ALTER FUNCTION shield_api.authorize_call OWNER TO shield_owner",
        "UPDATE shield.applied_sql SET hash = 'of an older release'",
    )
    assert schema.upgrade(engine).sql_applied
    assert _run(empty, "SELECT pg_get_function_result('shield_api.authorize_call'::regproc)") == [
        ("TABLE(verdict text)",)
    ]


def test_somebody_who_may_not_upgrade_changes_nothing(database):
    """A plain login, and a worker's, are told that they are no members of the owner."""
    for config in (database.login("worker"), database.login("auditor")):
        with pytest.raises(RolesMissing):
            schema.upgrade(sqlalchemy_engine(config))
        with pytest.raises((RolesMissing, SchemaRefused)):
            schema.make_roles(sqlalchemy_engine(config))


def test_a_schema_of_somebody_else_is_refused(empty, cluster):
    """Whoever owns a schema could replace what is in it, so an upgrade does not put anything there."""
    _run(empty, "CREATE ROLE test_squatter", "CREATE SCHEMA shield_api AUTHORIZATION test_squatter")
    with pytest.raises(SchemaRefused, match="shield_api belongs to somebody else"):
        schema.upgrade(_engine(empty))
    assert _run(empty, "SELECT to_regnamespace('shield')") == [(None,)]
    _run(empty, "DROP SCHEMA shield_api", "DROP ROLE test_squatter")


@pytest.mark.parametrize("power", ["LOGIN", "SUPERUSER", "BYPASSRLS"])
def test_a_role_with_powers_is_refused(empty, power):
    """Row-level security would not hold an owner or group with powers, so an upgrade stops."""
    engine = _engine(empty)
    for role in ("shield_owner", "shield_worker"):
        _run(empty, f"ALTER ROLE {role} {power}")
        try:
            with pytest.raises(SchemaRefused, match=f"{role} must be NOLOGIN"):
                schema.upgrade(engine)
        finally:
            _run(empty, f"ALTER ROLE {role} NO{power}")


def test_rows_of_a_month_nobody_made_are_moved_into_it(database, tenants):
    """Calls and events that fell into the default partition are there afterwards, in partitions of their own."""
    for table, column in (("calls", "started_at"), ("audit_events", "at")):
        columns = "id, tenant_id, state" if table == "calls" else "id, tenant_id, kind"
        values = "gen_random_uuid(), 1, 'BUSY'" if table == "calls" else "0, 1, 'call.refused'"
        for months in (-2, 40):
            database.query(
                f"INSERT INTO shield.{table} ({columns}, {column})"
                f" VALUES ({values}, date_trunc('month', now() AT TIME ZONE 'UTC') + interval '{months} months 5 days')"
            )
    stray = "SELECT (SELECT count(*) FROM shield.calls_default), (SELECT count(*) FROM shield.audit_events_default)"
    assert database.query(stray) == [(2, 2)]
    report = schema.upgrade(sqlalchemy_engine(database.admin))
    assert report.months_made == 4
    assert database.query(stray) == [(1, 1)]
    assert database.query("SELECT count(*) FROM shield.calls") == [(2,)]
    forced = "SELECT relforcerowsecurity FROM pg_class WHERE relname IN ('calls_default', 'audit_events_default')"
    assert database.query(forced) == [(True,), (True,)]
    assert not schema.upgrade(sqlalchemy_engine(database.admin)).changed


def test_a_large_month_of_events_gets_its_indexes_beside_the_calls(empty, crowded):
    """An upgrade does not read what is long there; the page's statements do, and every other month has its indexes."""
    _run(empty, "SELECT shield.make_month('audit_events', '2099-01-01Z')")  # made while one is still without
    beside = _run(empty, _BESIDE)
    assert sorted(re.sub(r" ON .*|.*_\d{4}_\d\d_", "", build) for build, _ in beside) == ["by_time", "of_no_call"]
    assert _run(empty, _VALID) == [("audit_events_by_time", False), ("audit_events_of_no_call", False)]
    for statement in itertools.chain.from_iterable(beside):
        _run(empty, statement)
    assert _run(empty, _BESIDE) == []
    assert _run(empty, _VALID) == [("audit_events_by_time", True), ("audit_events_of_no_call", True)]
    assert _run(empty, _OPTIONS) == [(["pages_per_range=32", "autosummarize=on"],)]
    assert schema.downgrade(crowded, "0022").revision_after == "0022"


@pytest.mark.usefixtures("crowded")
@pytest.mark.parametrize("attached", [False, True])
def test_a_building_of_an_index_that_failed_is_listed_and_mended(empty, attached):
    """What a cancelled CREATE INDEX CONCURRENTLY leaves is built anew, attached already or not."""
    ((build, attach),) = [row for row in _run(empty, _BESIDE) if "brin" in row[0]]
    with contextlib.closing(psycopg2.connect(**_where(empty))) as writer, writer.cursor() as cursor:
        cursor.execute("INSERT INTO shield.audit_events (kind) VALUES ('key.read')")  # the building waits for its end
        with pytest.raises(psycopg2.errors.QueryCanceled):
            _run(empty, "SET statement_timeout = '1s'", build)
    if attached:
        _run(empty, attach)
    ((mend, again),) = [row for row in _run(empty, _BESIDE) if "by_time" in row[1]]
    assert (mend.split(" shield.")[0], again) == ("REINDEX INDEX CONCURRENTLY", attach)
    _run(empty, mend, again)
    assert not [row for row in _run(empty, _BESIDE) if "by_time" in row[1]]
    assert _run(empty, _VALID)[0] == ("audit_events_by_time", True)


def test_an_index_built_before_its_upgrade_is_attached_by_the_pages_statements(empty):
    """An upgrade passes over a month that has an index of the name; the page attaches it without building."""
    engine = _engine(empty)
    schema.upgrade(engine)
    schema.downgrade(engine, "0022")
    _run(empty, "CREATE INDEX audit_events_default_by_time ON shield.audit_events_default USING brin (at)")
    schema.upgrade(engine)
    ((build, attach),) = _run(empty, _BESIDE)
    assert build is None
    _run(empty, attach)
    assert _run(empty, _BESIDE) == []


@pytest.mark.usefixtures("crowded")
def test_attaching_an_index_gives_up_soon_where_a_month_is_read(empty):
    """Calls never queue behind it: beside an open reader it ends in a fraction of a second."""
    ((build, attach),) = [row for row in _run(empty, _BESIDE) if "brin" in row[0]]
    _run(empty, build)
    with contextlib.closing(psycopg2.connect(**_where(empty))) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shield.audit_events WHERE at > now() - interval '1 hour'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            _run(empty, attach)
    _run(empty, attach)


def test_changed_sql_is_applied_again(database, monkeypatch):
    """When a file differs from what the database recorded, all are applied; rights given by hand are gone."""
    database.query("GRANT SELECT ON shield.tokens TO shield_worker")
    database.query("GRANT EXECUTE ON FUNCTION shield_api.add_tenant TO PUBLIC")
    database.query("UPDATE shield.applied_sql SET hash = 'of an older release'")
    assert schema.upgrade(sqlalchemy_engine(database.admin)).sql_applied
    assert database.query(
        "SELECT has_table_privilege('shield_worker', 'shield.tokens', 'SELECT'),"
        " has_function_privilege('shield_worker', 'shield_api.add_tenant(text,text,text,int,text)', 'EXECUTE')"
    ) == [(False, False)]
