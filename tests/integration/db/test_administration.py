"""What an administrator sets up: tenants, caps, keys, logins."""

from __future__ import annotations

import threading

import psycopg2
import pytest

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.logins import QUIET_SETTINGS, make_login
from esl_shield.errors.database import DatabaseRefused, LoginRejected
from esl_shield.errors.tenants import TenantUnknown

ADD = ("add_tenant", "acme", "sip.acme.example", "91", 14, "CN")


@pytest.fixture
def administrator(database):
    """The administrator's engine."""
    return database.open(database.admin)


def _role_of(config):
    return config.url.split("//")[1].split(":")[0]


def test_the_same_tenant_again_is_the_same(database, administrator):
    """Adding a tenant twice answers one id, in any case of the domain; default caps are set."""
    first = administrator.call(*ADD)
    assert administrator.call("add_tenant", "acme", "SIP.Acme.Example", "91", 14, "CN") == first
    assert database.query("SELECT domain, token_per_day, agent_per_hour, tenant_per_day FROM dba.tenants") == [
        ("sip.acme.example", 10, 300, None)
    ]
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'tenant.added'") == [(1,)]


@pytest.mark.parametrize(
    "other",
    [
        ("acme", "sip.brick.example", "92", 14, "CN"),
        ("brick", "sip.acme.example", "92", 14, "CN"),
        ("brick", "sip.brick.example", "91", 14, "CN"),
        ("acme", "sip.acme.example", "91", 15, "CN"),
        ("acme", "sip.acme.example", "91", 14, "GB"),
    ],
)
def test_a_tenant_that_differs_is_refused(administrator, other):
    """Name, domain and prefix belong to one tenant, and a tenant does not change by being added again."""
    administrator.call(*ADD)
    with pytest.raises(DatabaseRefused) as caught:
        administrator.call("add_tenant", *other)
    assert caught.value.sqlstate == "ES003"


@pytest.mark.parametrize(
    "wrong",
    [
        ("a b", "x.example", "91", 14, "CN"),
        ("", "x.example", "91", 14, "CN"),
        ("acme", "x example", "91", 14, "CN"),
        ("acme", "x.example", "9a", 14, "CN"),
        ("acme", "x.example", "", 14, "CN"),
        ("acme", "x.example", "91", 7, "CN"),
        ("acme", "x.example", "91", 21, "CN"),
        ("acme", "x.example", "12345678", 12, "CN"),
        ("acme", "x.example", "91", 14, "China"),
    ],
)
def test_a_tenant_that_makes_no_sense_is_refused(administrator, wrong):
    """Names, domains, prefixes, lengths and regions have a grammar."""
    with pytest.raises(DatabaseRefused) as caught:
        administrator.call("add_tenant", *wrong)
    assert caught.value.sqlstate == "23514"


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (("acme", "sip.brick.example", "92", 14, "CN"), "name"),
        (("brick", "sip.acme.example", "92", 14, "CN"), "domain"),
        (("brick", "sip.brick.example", "91", 14, "CN"), "token_prefix"),
        (("brick", "sip.brick.example", "9", 14, "CN"), "token_prefix"),
        (("brick", "sip.brick.example", "912", 14, "CN"), "token_prefix"),
    ],
)
def test_what_is_taken_is_said(database, administrator, other, taken):
    """The error's column is name, domain or prefix; a prefix that begins another's, or begins with it, is taken."""
    administrator.call(*ADD)
    with pytest.raises(psycopg2.Error) as caught:
        database.query("SELECT shield_api.add_tenant(%s, %s, %s, %s, %s)", *other)
    assert (caught.value.pgcode, caught.value.diag.column_name) == ("ES003", taken)
    assert administrator.call("add_tenant", "crow", "sip.crow.example", "90", 14, "CN") != []


def test_tenants_added_at_the_same_moment_share_no_prefix(database):
    """Of eight tenants whose prefixes begin each other, added at once, one is there."""
    administrators = [database.open(database.admin) for _ in range(8)]
    barrier, refused = threading.Barrier(8), []

    def add(position, administrator):
        barrier.wait()
        try:
            administrator.call(
                "add_tenant", f"t{position}", f"t{position}.example", "12345678"[: position + 1], 14, "CN"
            )
        except DatabaseRefused as error:
            refused.append(error.sqlstate)

    threads = [threading.Thread(target=add, args=pair) for pair in enumerate(administrators)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["ES003"] * 7


def test_tokens_get_longer_and_never_shorter(database, administrator):
    """Resizing answers the length before, is audited when it changes, and is refused when tokens would get shorter."""
    administrator.call(*ADD)
    assert administrator.call("resize_tenant", "acme", 16) == [(14,)]
    assert administrator.call("resize_tenant", "acme", 16) == [(16,)]
    assert administrator.call("resize_tenant", "nobody", 16) == [(None,)]
    for length, sqlstate in ((15, "ES006"), (21, "23514")):
        with pytest.raises(DatabaseRefused) as caught:
            administrator.call("resize_tenant", "acme", length)
        assert caught.value.sqlstate == sqlstate
    assert database.query("SELECT detail FROM shield.audit_events WHERE kind = 'tenant.resized'") == [
        ({"before": 14, "after": 16},)
    ]


def test_caps_are_set_and_audited(database, administrator):
    """Caps of a known tenant change, an unknown tenant has none."""
    administrator.call(*ADD)
    assert administrator.call("set_caps", "acme", 1, 2, 3) == [(True,)]
    assert administrator.call("set_caps", "nobody", 1, 2, 3) == [(False,)]
    assert database.query("SELECT token_per_day, agent_per_hour, tenant_per_day FROM dba.tenants") == [(1, 2, 3)]
    with pytest.raises(DatabaseRefused):
        administrator.call("set_caps", "acme", -1, None, None)


def test_a_key_is_stored_once_and_never_replaced(database, administrator):
    """The same purpose and version again is refused and leaves the first."""
    tenant = administrator.call(*ADD)[0][0]
    assert administrator.call("add_key", tenant, "data", 1, b"a" * 60, "kek-1") == [(True,)]
    assert administrator.call("add_key", tenant, "data", 1, b"b" * 60, "kek-2") == [(False,)]
    assert administrator.call("add_key", tenant, "index", 1, b"c" * 60, "kek-1") == [(True,)]
    assert database.query("SELECT purpose, version, kek_id FROM dba.keys ORDER BY 1") == [
        ("data", 1, "kek-1"),
        ("index", 1, "kek-1"),
    ]
    with pytest.raises(DatabaseRefused):
        administrator.call("add_key", tenant, "spare", 1, b"a" * 60, "kek-1")


def test_a_login_again_takes_the_new_values(database, tenants):
    """Another password, role and scope replace the old ones; the old role is revoked."""
    engine = sqlalchemy_engine(database.admin)
    name = "test_changing"
    assert make_login(engine, name, "correct horse", role="worker", tenants=["acme"], mint_per_s=5).new
    assert not make_login(engine, name, database.cluster.password(name), role="auditor", tenants=["brick"]).new
    assert database.query("SELECT role, tenants, mint_per_s FROM shield.logins WHERE login = %s", name) == [
        ("auditor", [tenants["brick"]], None)
    ]
    groups = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = %s::regrole"
    assert database.query(groups, name) == [("shield_auditor",)]
    settings = database.query("SELECT useconfig FROM pg_user WHERE usename = %s", name)
    assert settings == [(None,)]


def test_workers_and_resolvers_do_not_wait_on_the_server_either(database, tenants):
    """Their logins carry a statement_timeout, seeders' and auditors' do not."""
    for role, expected in (("worker", "1s"), ("resolver", "1s"), ("seeder", "0"), ("auditor", "0")):
        with database.connect(database.login(role)).cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == (expected,), role


@pytest.mark.parametrize("role", ["worker", "resolver", "seeder"])
def test_a_login_whose_statements_hold_tokens_is_not_logged(database, role):
    """Its settings keep its statements out of the server's log, and it cannot change them."""
    with database.connect(database.login(role)).cursor() as cursor:
        for setting, value in QUIET_SETTINGS.items():
            cursor.execute(f"SHOW {setting}")
            assert cursor.fetchone() == (value,)
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(f"SET {setting} = '1'")


@pytest.mark.parametrize("password", ["", "eleven char"])
def test_a_short_password_is_refused(database, password):
    """A password has 12 characters or more."""
    with pytest.raises(LoginRejected, match="password"):
        make_login(sqlalchemy_engine(database.admin), "test_short", password, role="worker")


def test_a_login_without_its_password_is_refused(database, cluster):
    """The socket asks every login for its password, and the server keeps only a SCRAM verifier."""
    name = _role_of(database.login("worker"))
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host=str(cluster.socket_folder), user=name, password="guess", dbname=database.name)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host=str(cluster.socket_folder), user="shield_admin", password="", dbname=database.name)
    assert database.query("SELECT rolpassword LIKE 'SCRAM-SHA-256$%%' FROM pg_authid WHERE rolname = %s", name) == [
        (True,)
    ]


@pytest.mark.parametrize("name", ["shield_owner", "shield_worker", "pg_monitor", "Upper", "a-b", "", "x" * 64])
def test_a_login_cannot_take_a_reserved_or_odd_name(database, name):
    """Our roles, PostgreSQL's roles and names that would need quoting are refused."""
    with pytest.raises(LoginRejected):
        make_login(sqlalchemy_engine(database.admin), name, "correct horse", role="worker")


@pytest.mark.parametrize("power", ["SUPERUSER", "BYPASSRLS", "IN ROLE shield_owner"])
def test_a_powerful_login_is_not_mapped(database, power):
    """Whom row-level security would not hold is refused, by the command and by the function."""
    name = f"test_power_{power.lower().split()[0]}"
    database.query(f"CREATE ROLE {name} LOGIN {power}")
    with pytest.raises(LoginRejected):
        make_login(sqlalchemy_engine(database.admin), name, "correct horse", role="worker")
    with pytest.raises(DatabaseRefused) as caught:
        database.open(database.admin).call("add_login", name, "worker", None, None, None)
    assert caught.value.sqlstate == "ES005"
    database.query(f"DROP ROLE {name}")


def test_a_login_for_an_unknown_tenant_is_not_made(database, tenants):
    """A tenant that does not exist is named, and nothing is left behind, not even the role."""
    engine = sqlalchemy_engine(database.admin)
    with pytest.raises(TenantUnknown, match="no tenant nobody that"):
        make_login(engine, "test_nowhere", "correct horse", role="worker", tenants=["acme", "nobody"])
    assert database.query("SELECT 1 FROM pg_roles WHERE rolname = 'test_nowhere'") == []


def test_what_a_login_sees_follows_its_row(database, tenants):
    """The copy that policies read cannot differ: mapped anew, changed by hand or removed, it is the row again."""
    config = database.login("auditor", ["acme"])
    login = _role_of(config)
    seen = database.connect(config).cursor()

    def tenants_seen():
        seen.execute("SELECT name FROM dba.tenants ORDER BY 1")
        return [name for (name,) in seen.fetchall()]

    assert tenants_seen() == ["acme"]
    database.query("SELECT shield_api.add_login(%s, 'auditor', NULL, NULL, NULL)", login)
    assert tenants_seen() == ["acme", "brick"]
    database.query("UPDATE shield.logins SET scope = '{}' WHERE login = %s", login)
    assert tenants_seen() == []
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        database.query("UPDATE shield.scopes SET scope = '{(,)}' WHERE login = %s", login)
    database.query("UPDATE shield.logins SET scope = '{(,)}' WHERE login = %s", login)
    assert tenants_seen() == ["acme", "brick"]
    database.query("DELETE FROM shield.logins WHERE login = %s", login)
    assert database.query("SELECT FROM shield.scopes WHERE login = %s", login) == []
    assert tenants_seen() == []
