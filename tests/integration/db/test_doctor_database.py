"""`doctor` against a real PostgreSQL: clean as migrated, and whatever a superuser changes is found."""

from __future__ import annotations

import re

import pytest
from doctor_facts import told, wrong
from sqlalchemy.engine import make_url

from esl_shield.config import Config
from esl_shield.config.database import DatabaseConfig
from esl_shield.db import shipped_sql
from esl_shield.db.schema import GROUP_ROLES, sql_files
from esl_shield.errors.database import DatabaseAway, LoginRefused, RolesMissing
from esl_shield.service.doctor import webhooks
from esl_shield.service.doctor.catalog import ask_database
from esl_shield.service.doctor.database_checks import AREA
from esl_shield.service.doctor.examine import Examination


def _wrong(config: DatabaseConfig, role: str) -> list[str]:
    found = wrong(AREA, ask_database(Config(config), role))
    return [line for line in found if not line.startswith("info database.administrators")]


def _name(config: DatabaseConfig) -> str:
    return make_url(config.url).username


# What a superuser does to a database, and what is said of it; {worker}, {auditor}: a login of the role.
TAMPERING = {
    "a function's body": (
        (
            "CREATE OR REPLACE FUNCTION shield_api.note_refusal(p_call uuid, p_reason text) RETURNS void"
            " LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN END $$"
        ),
        "critical database.functions",
        "body of shield_api.note_refusal",
    ),
    "a helper's body": (
        (
            "CREATE OR REPLACE FUNCTION shield.leg_of(p_sip_call_id text) RETURNS uuid LANGUAGE plpgsql IMMUTABLE"
            " SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NULL; END $$"
        ),
        "critical database.functions",
        "body of shield.leg_of",
    ),
    "no definer": (
        "ALTER FUNCTION shield_api.call_answered SECURITY INVOKER",
        "critical database.functions",
        "call_answered is not SECURITY DEFINER",
    ),
    "a loose path": (
        "ALTER FUNCTION shield_api.call_answered RESET search_path",
        "critical database.functions",
        "call_answered",
    ),
    "another owner's function": (
        "ALTER FUNCTION shield_api.call_answered OWNER TO shield_admin",
        "critical database.functions",
        "belongs to shield_admin",
    ),
    "a function more": (
        "CREATE FUNCTION shield_api.mole() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "critical database.functions",
        "shield_api.mole",
    ),
    "an overload": (
        "CREATE FUNCTION shield_api.call_answered(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "critical database.functions",
        "2 functions shield_api.call_answered",
    ),
    "a function less": (
        "DROP FUNCTION shield_api.call_answered",
        "critical database.functions",
        "call_answered is missing",
    ),
    "a view": (
        (
            "CREATE OR REPLACE VIEW dba.keys AS SELECT t.name AS tenant, d.purpose, d.version, 'x'::text AS kek_id,"
            " d.created_at, 'newest'::text AS state, d.retired_at, d.destroyed_at, false AS in_device"
            " FROM shield.data_keys d JOIN shield.tenants t ON t.id = d.tenant_id"
        ),
        "critical database.views",
        "dba.keys",
    ),
    "a view more": ("CREATE VIEW dba.mole AS SELECT 1", "critical database.views", "dba.mole"),
    "a policy more": ("CREATE POLICY mole ON shield.tokens USING (true)", "critical database.policies", "tokens.mole"),
    "a policy less": (
        "DROP POLICY own_login ON shield.mint_buckets",
        "critical database.policies",
        "mint_buckets.own_login is missing",
    ),
    "a policy's condition": (
        "ALTER POLICY own_tenants ON shield.calls USING (true)",
        "critical database.policies",
        "calls.own_tenants",
    ),
    "row security off": (
        "ALTER TABLE shield.tokens DISABLE ROW LEVEL SECURITY",
        "critical database.row_security",
        "off on shield.tokens",
    ),
    "row security not forced": (
        "ALTER TABLE shield.tokens_03 NO FORCE ROW LEVEL SECURITY",
        "critical database.row_security",
        "not forced on shield.tokens_03",
    ),
    "a table's grant": (
        "GRANT SELECT ON shield.tokens TO {worker}",
        "critical database.rights",
        "{worker} has SELECT on shield.tokens",
    ),
    "a column's grant": (
        "GRANT SELECT (token) ON shield.tokens TO shield_worker",
        "critical database.rights",
        "shield_worker has SELECT on shield.tokens.token",
    ),
    "a function for all": (
        "GRANT EXECUTE ON FUNCTION shield_api.tenant_data_key TO PUBLIC",
        "critical database.rights",
        "PUBLIC has EXECUTE on shield_api.tenant_data_key",
    ),
    "a schema's grant": (
        "GRANT USAGE ON SCHEMA shield TO shield_auditor",
        "critical database.rights",
        "shield_auditor has USAGE on shield",
    ),
    "a right less": (
        "REVOKE EXECUTE ON FUNCTION shield_api.next_permit FROM shield_worker",
        "critical database.rights",
        "shield_worker lacks EXECUTE on shield_api.next_permit",
    ),
    "a table's owner": ("ALTER TABLE shield.calls OWNER TO shield_admin", "critical database.owners", "shield.calls"),
    "default privileges": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE shield_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "warning database.default_rights",
        "PUBLIC",
    ),
    "a trigger": (
        (
            "CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            " CREATE TRIGGER mole"
            " AFTER INSERT ON shield.calls FOR EACH ROW EXECUTE FUNCTION public.t()"
        ),
        "critical database.triggers",
        "trigger mole on shield.calls",
    ),
    "a rule": (
        "CREATE RULE mole AS ON INSERT TO shield.calls DO ALSO NOTIFY x",
        "critical database.triggers",
        "rule mole on shield.calls",
    ),
    "a publication": (
        "CREATE PUBLICATION mole FOR TABLE shield.tokens",
        "critical database.triggers",
        "publication mole",
    ),
    "an old revision": (
        "UPDATE shield.alembic_version SET version_num = '0001'",
        "critical database.revision",
        "at revision 0001",
    ),
    "an unmapped login": ("DELETE FROM shield.logins WHERE login = '{worker}'", "critical database.mapped", "{worker}"),
    "no month": (
        "ALTER TABLE shield.calls DETACH PARTITION shield.{month}; DROP TABLE shield.{month}",
        "warning database.months",
        "no partition",
    ),
    "an index less": (
        "DROP INDEX shield.audit_events_by_time; CREATE INDEX audit_events_by_time ON ONLY shield.audit_events (at)",
        "warning database.indexes",
        "shield.audit_events_default lacks the index audit_events_default_by_time",
    ),
    # of the cluster, taken back by the test
    "two roles": (
        "GRANT shield_resolver TO {worker}",
        "critical database.logins",
        "{worker} is a member of shield_resolver and shield_worker",
    ),
    "a foreign role": (
        "GRANT pg_read_all_data TO {worker}",
        "critical database.logins",
        "{worker} is a member of pg_read_all_data too",
    ),
    "a powerful login": ("ALTER ROLE {worker} BYPASSRLS", "critical database.logins", "{worker} has BYPASSRLS"),
    "a statement's log": (
        "ALTER ROLE {worker} SET log_statement = 'all'",
        "warning database.log",
        "statements of {worker}",
    ),
}
TAKEN_BACK = (
    "REVOKE shield_resolver FROM {worker}; REVOKE pg_read_all_data FROM {worker}; ALTER ROLE {worker} NOBYPASSRLS"
)


@pytest.fixture
def logins(database):
    """A login of each role; dropped with what they were given, for others see them in the cluster."""
    database.tenant()
    made = {role: database.login(role) for role in ("worker", "resolver", "seeder", "auditor")}
    yield made
    for config in made.values():
        database.query(f"DROP OWNED BY {_name(config)}; DROP ROLE {_name(config)}")


@pytest.fixture
def worker(database):
    """The name of a worker's login, dropped with what it was given."""
    name = _name(database.login("worker"))
    yield name
    database.query(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def only_ours(database):
    """No login of other tests is in the cluster while these look at all of them."""
    rows = database.query(
        "SELECT DISTINCT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g"
        " ON g.oid = a.roleid WHERE g.rolname LIKE 'shield\\_%' AND m.rolname LIKE 'test\\_%'"
    )
    for (name,) in rows:
        database.query(f"REVOKE {', '.join(GROUP_ROLES)} FROM {name}")


@pytest.mark.parametrize("role", ["admin", "worker", "resolver", "seeder", "auditor"])
def test_a_migrated_database_is_well(database, only_ours, logins, role):
    """Each role's login finds nothing wrong; what only the owner sees is told to be for another configuration."""
    found = _wrong({**logins, "admin": database.admin}[role], role)
    assert all(line.startswith("info") and "administrator's configuration" in line for line in found)
    assert len(found) == (0 if role == "admin" else 4)


@pytest.mark.parametrize("name", TAMPERING)
def test_what_a_superuser_changed_is_found(database, only_ours, worker, name):
    """The live catalog is compared with the shipped SQL, whatever was recorded when it was applied."""
    statement, check, words = TAMPERING[name]
    (month,) = database.query(
        "SELECT relname FROM pg_class WHERE relname ~ '^calls_[0-9_]+$' ORDER BY 1 LIMIT 1 OFFSET 1"
    )[0]
    values = {"worker": worker, "month": month}
    database.query(re.sub(r"\{(\w+)\}", lambda m: values[m[1]], statement))
    try:
        found = _wrong(database.admin, "admin")
    finally:
        database.query(TAKEN_BACK.format(**values))
    assert told(found, f"{check}:", words.format(**values)), found


def test_asking_changes_nothing(database):
    """Temporary views, tables and policies are rolled back, and no lock is left."""
    before = database.query("SELECT count(*) FROM pg_class")
    _wrong(database.admin, "admin")
    assert database.query("SELECT count(*) FROM pg_class") == before


def test_a_worker_that_has_an_auditors_login_is_found(logins):
    """The configuration's login must be of its role."""
    assert told(_wrong(logins["auditor"], "worker"), "critical database.login:", "no member of shield_worker")


def test_a_superusers_login_is_no_workers(database):
    """A worker's configuration that names a superuser."""
    assert told(_wrong(database.admin, "worker"), "critical database.login:", "a superuser")


def test_a_database_without_our_schema_is_said(cluster):
    """Before `db upgrade` there is one finding that says what is missing."""
    with pytest.raises(RolesMissing):
        ask_database(Config(DatabaseConfig(cluster.url(dbname="postgres"))), "admin")


def test_a_database_that_is_away_or_refuses_is_one_finding(cluster, tmp_path):
    """Away is unknown, a wrong password critical; neither shows the password."""
    away = DatabaseConfig(f"postgresql+psycopg2://w:hush-hush@/x?host={tmp_path}")
    with pytest.raises(DatabaseAway):
        ask_database(Config(away), "worker")
    (finding,) = Examination(Config(away), "worker").findings(["database"])
    assert (finding.check, finding.severity) == ("database.reached", "unknown")
    url = make_url(cluster.url()).set(password="hush-hush").render_as_string(hide_password=False)
    with pytest.raises(LoginRefused):
        ask_database(Config(DatabaseConfig(url)), "admin")
    (finding,) = Examination(Config(DatabaseConfig(url)), "admin").findings(["database"])
    assert finding.severity == "critical"
    assert "hush-hush" not in repr(finding)


def test_the_reader_of_the_shipped_sql_understands_all_of_it():
    """Every function, view and grant of the files is read; one it cannot read is an error."""
    assert {path.stem for path in sql_files() if path.parent.name == "shield_api"} == {
        name.removeprefix("shield_api.") for name in shipped_sql.functions() if name.startswith("shield_api.")
    }
    assert len(shipped_sql.rights()) > 20
    assert set(shipped_sql.views()) == {path.stem for path in sql_files() if path.parent.name == "dba"}


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_a_webhook_that_was_written_past_the_commands_is_found(database, role):
    """An address in clear in the table, and an event that waits, as administrator and auditor see them."""
    tenant = database.tenant()
    database.query(
        "INSERT INTO shield.webhooks (tenant_id, name, url, events) VALUES (%s, 'crm', 'http://crm.example/', '{x}')",
        tenant,
    )
    database.query(
        "INSERT INTO shield.webhook_events (tenant_id, webhook, kind, body, at) SELECT tenant_id, id, 'x', '{}', "
        "now() - interval '2 h' FROM shield.webhooks"
    )
    config = Config(database=database.admin if role == "admin" else database.login("auditor"))
    found = wrong(webhooks.AREA, webhooks.ask_webhooks(config, role))
    assert told(found, "webhooks.addresses:", "webhook crm of acme", "https://")
    assert told(found, "webhooks.taken:", "last problem: none")
