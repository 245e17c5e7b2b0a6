"""Every right, by a login of each role that tries what it must not do."""

from __future__ import annotations

import uuid

import psycopg2
import pytest
from shield_calls import TOKEN, Attempt

from esl_shield.db.schema import LOGIN_ROLES
from esl_shield.errors.database import DatabaseRefused

BRICK_TOKEN = "92000000000014"
INSUFFICIENT_PRIVILEGE = "42501"

TABLES = (
    "tenants", "logins", "data_keys", "tokens", "tokens_00", "number_refs", "number_refs_15", "aliases", "token_space",
    "applied_sql", "alembic_version", "calls", "calls_default", "audit_events", "audit_events_default", "permits",
    "token_usage", "agent_usage", "tenant_usage", "mint_buckets", "dids", "mask_buckets", "reveals", "reveal_tickets",
    "reveal_usage", "audit_blocks", "audit_code", "holds", "erasures", "label_masks",
    "rekeyings", "cdr_legs", "worker_beats", "webhooks", "webhook_events", "dial_permissions", "clicks",
    "token_prefixes", "rowless_tokens", "api_keys", "api_answers", "blocked_tokens",
    "policies", "policy_marks", "wrong_dials", "agent_locks", "do_not_call",
)  # fmt: skip
VIEWS = (
    "tenants", "tokens", "dids", "calls", "call_agents", "audit_events", "keys", "reveals", "audit_lines",
    "audit_blocks", "audit_code", "sealing", "holds", "erasures", "label_masks", "token_caps", "tenant_caps",
    "expiring_tokens", "imports", "key_use", "logins", "permits_unredeemed", "resolutions", "storage",
    "token_inventory", "token_inventory_estimate", "unused_tokens", "rekeyings", "webhooks",
    "webhook_events", "dialling", "dial_permissions", "clicks", "token_prefixes", "api_keys", "blocked_tokens",
    "policies", "agent_locks", "do_not_call",
)  # fmt: skip
CATALOGUE_VIEWS = ("months", "rights")  # of the schema, which has no tenant
READS = {
    "auditor": {*VIEWS, *CATALOGUE_VIEWS},
    "seeder": {"tenants", "tokens", "dids", "label_masks", "token_prefixes", "do_not_call"},
    "revealer": {"tenants", "reveals"},
    "worker": set(), "resolver": set(), "masker": set(), "scanner": set(), "canary": set(), "sealer": set(),
    "housekeeper": set(), "rekeyer": set(), "intake": set(), "reaper": set(), "dispatcher": set(),
    "dialler": {"tenants", "dialling", "dial_permissions", "clicks"}, "api": set(),
    "steward": {
        *("tenants", "holds", "erasures", "token_caps", "tenant_caps", "token_prefixes", "policies", "agent_locks"),
    },
    "eraser": {"tenants", "holds", "erasures", "token_prefixes"},
}  # fmt: skip
FUNCTIONS = {
    "authorize_call": (("worker",), 11),
    "authorize_dial": (("worker",), 12),
    "authorize_click": (("worker",), 7),
    "grant_permission": (("dialler",), 10),
    "revoke_permission": (("dialler",), 2),
    "begin_click": (("dialler",), 7),
    "end_click": (("dialler",), 4),
    "set_dialling": ((), 4),
    "next_permit": (("worker",), 5),
    "call_answered": (("worker",), 2),
    "calls_answered": (("worker",), 1),
    "finish_call": (("worker",), 9),
    "finish_calls": (("worker",), 1),
    "accept_inbound_call": (("worker",), 6),
    "inbound_answered": (("worker",), 2),
    "worker_beat": (("worker",), 0),
    "api_token": (("api",), 3),
    "api_change_token": (("api",), 4),
    "api_calls": (("api",), 11),
    "api_tenant": (("api",), 2),
    "api_grant_permission": (("api",), 10),
    "api_revoke_permission": (("api",), 2),
    "api_permission": (("api",), 2),
    "api_permissions": (("api",), 9),
    "api_begin_click": (("api",), 7),
    "api_end_click": (("api",), 4),
    "api_click": (("api",), 2),
    "api_block": (("api",), 3),
    "api_blocklist": (("api",), 3),
    "api_call": (("api",), 2),
    "api_tokenising": (("seeder",), 1),
    "api_tokenised": (("seeder",), 5),
    "api_tokenising_failed": (("seeder",), 3),
    "add_api_key": ((), 8),
    "revoke_api_key": ((), 2),
    "take_cdr": (("intake",), 10),
    "settle_cdrs": (("intake",), 1),
    "open_calls": (("reaper",), 1),
    "call_gone": (("reaper",), 5),
    "masking_tenant": (("masker",), 1),
    "mask_number": (("masker",), 6),
    "redeem_permits": (("resolver",), 6),
    "tenant_data_key": (("resolver", "rekeyer"), 2),
    "note_refusal": (("resolver",), 2),
    "missing_data_keys": (("resolver",), 2),
    "token_method": (("resolver",), 2),
    "method_key": (("resolver",), 2),
    "missing_method_keys": (("resolver",), 2),
    "computing_prefix": (("seeder",), 2),
    "kek_ids": (("resolver", "masker"), 0),
    "seeding_tenant": (("seeder", "canary", "rekeyer"), 1),
    "begin_rekeyings": (("rekeyer",), 3),
    "rekey_page": (("rekeyer",), 4),
    "reencrypt_tokens": (("rekeyer",), 4),
    "reindex_tokens": (("rekeyer",), 4),
    "finish_rekeying": (("rekeyer",), 4),
    "rotate_key": ((), 5),
    "wrapped_keys": ((), 1),
    "rewrap_key": ((), 6),
    "retire_index_key": ((), 2),
    "remove_refs": ((), 4),
    "destroy_key": ((), 4),
    "seed_tokens": (("seeder", "canary"), 4),
    "seed_batch": (("seeder", "canary"), 14),
    "find_seeded": (("seeder",), 5),
    "keep_months": (("housekeeper",), 7),
    "token_info": (("seeder",), 3),
    "set_token": (("seeder",), 4),
    "find_tokens": (("seeder",), 3),
    "replace_numbers": (("seeder",), 4),
    "hold_token": (("steward",), 5),
    "release_token": (("steward",), 5),
    "restore_token": (("steward",), 5),
    "set_token_cap": (("steward",), 3),
    "erase_tokens": (("eraser",), 5),
    "set_label_mask": ((), 3),
    "redeem_reveal": (("resolver",), 1),
    "reveal_index_key": (("resolver",), 1),
    "bind_reveal": (("resolver",), 3),
    "note_reveal": (("resolver",), 2),
    "request_reveal": (("revealer",), 6),
    "approve_reveal": (("revealer",), 2),
    "deny_reveal": (("revealer",), 1),
    "open_reveal": (("revealer",), 2),
    "add_revealer": ((), 4),
    "start_leakscan": (("scanner",), 2),
    "leakscan_filter": (("scanner",), 3),
    "find_leaks": (("scanner",), 4),
    "finish_leakscan": (("scanner",), 7),
    "start_canary": (("canary",), 3),
    "canary_calls": (("canary",), 5),
    "set_lookup_rate": ((), 2),
    "sealing_state": (("sealer",), 0),
    "unsealed_events": (("sealer",), 6),
    "sealing_lag": (("sealer",), 3),
    "append_block": (("sealer",), 6),
    "sealed_heads": (("sealer",), 2),
    "site_figures": (("sealer",), 1),
    "locked_figures": (("sealer",), 0),
    "webhook_figures": (("sealer",), 1),
    "set_policy": ((), 2),
    "share_list": ((), 2),
    "unlock_login": ((), 2),
    "explain_call": (("steward",), 4),
    "unlock_agent": (("steward",), 3),
    "list_numbers": (("seeder",), 4),
    "unlist_numbers": (("seeder",), 2),
    "do_not_call_lists": (("resolver",), 1),
    "do_not_call_key": (("resolver",), 2),
    "refuse_listed": (("resolver",), 3),
    "do_not_call_page": (("rekeyer",), 4),
    "rekey_do_not_call": (("rekeyer",), 4),
    "mint_mark": (("reaper",), 0),
    "watch_minting": (("reaper",), 5),
    "add_tenant": ((), 5),
    "set_caps": ((), 4),
    "resize_tenant": ((), 2),
    "set_did": ((), 5),
    "remove_did": ((), 2),
    "set_webhook": ((), 4),
    "change_webhook": ((), 3),
    "replay_webhook": ((), 3),
    "take_webhook_events": (("dispatcher",), 4),
    "webhook_taken": (("dispatcher",), 1),
    "webhook_failed": (("dispatcher",), 5),
    "bury_webhook_events": (("dispatcher",), 2),
    "add_key": ((), 5),
    "add_prefix": ((), 8),
    "retire_prefix": ((), 2),
    "add_login": ((), 5),
}


def _refused(connection, statement):
    """The SQLSTATE the statement is refused with; None when it was not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.Error as error:
        return error.pgcode
    return None


@pytest.fixture(params=LOGIN_ROLES)
def role(request):
    """Each role of a login."""
    return request.param


@pytest.fixture
def login(database, tenants, role):
    """A plain connection of a fresh login with the role, mapped to every tenant: nothing but rights holds it."""
    return database.connect(database.login(role))


def test_no_role_reaches_a_table(login):
    """Nobody reads, changes, empties or drops a table or partition, whatever the role."""
    for table in TABLES:
        for statement in (
            "SELECT 1 FROM shield.{}",
            "INSERT INTO shield.{} DEFAULT VALUES",
            "DELETE FROM shield.{}",
            "TRUNCATE shield.{}",
            "DROP TABLE shield.{}",
            "COPY shield.{} TO STDOUT",
            "ALTER TABLE shield.{} DISABLE ROW LEVEL SECURITY",
        ):
            assert _refused(login, statement.format(table)) == INSUFFICIENT_PRIVILEGE, statement.format(table)
    assert _refused(login, "UPDATE shield.tokens SET status = 'active'") == INSUFFICIENT_PRIVILEGE
    assert _refused(login, "SELECT nextval('shield.audit_event_ids')") == INSUFFICIENT_PRIVILEGE


def test_each_role_reads_its_views_and_writes_none(login, role):
    """Auditors read all views, seeders and revealers some, workers and resolvers none; nobody writes through one."""
    for view in (*VIEWS, *CATALOGUE_VIEWS):
        expected = None if view in READS[role] else INSUFFICIENT_PRIVILEGE
        assert _refused(login, f"SELECT * FROM dba.{view}") == expected, view
        assert _refused(login, f"DELETE FROM dba.{view}") in (INSUFFICIENT_PRIVILEGE, "55000"), view
    for write in ("INSERT INTO dba.keys (tenant) VALUES ('x')", "UPDATE dba.keys SET kek_id = 'x'"):
        assert _refused(login, write) in (INSUFFICIENT_PRIVILEGE, "55000")


def test_each_role_calls_its_functions_only(login, role):
    """Every other role's functions, and the administrator's, are refused before they start."""
    for function, (roles, arguments) in FUNCTIONS.items():
        state = _refused(login, f"SELECT * FROM shield_api.{function}({', '.join(['NULL'] * arguments)})")
        assert (state == INSUFFICIENT_PRIVILEGE) == (role not in roles), f"{function}: {state}"


def test_no_role_calls_a_helper(database, login):
    """The helpers behind the functions are nobody's to call."""
    helpers = database.query("SELECT proname, pronargs FROM pg_proc WHERE pronamespace = 'shield'::regnamespace")
    assert len(helpers) >= 5
    for name, arguments in helpers:
        assert _refused(login, f"SELECT shield.{name}({', '.join(['NULL'] * arguments)})") == INSUFFICIENT_PRIVILEGE


ATTACKS = (
    "SET ROLE shield_owner",
    "SET ROLE shield_admin",
    "SET SESSION AUTHORIZATION shield_admin",
    "SET SESSION AUTHORIZATION shield_owner",
    "RESET ROLE; SET ROLE shield_owner",
    "GRANT shield_owner TO CURRENT_USER",
    "GRANT USAGE ON SCHEMA shield TO CURRENT_USER",
    "CREATE ROLE mole",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "CREATE SCHEMA mole",
    "CREATE FUNCTION shield_api.mole() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE shield.mole ()",
    "CREATE OR REPLACE FUNCTION shield_api.note_refusal(p_call uuid, p_reason text) RETURNS void LANGUAGE sql AS ''",
    "ALTER FUNCTION shield_api.call_answered SECURITY INVOKER",
    "DROP FUNCTION shield_api.call_answered",
    "DROP POLICY own_tenants ON shield.tokens",
    "SET session_replication_role = replica",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_authid FROM pg_authid",
)


def test_no_role_becomes_more_than_it_is(login):
    """Changing role, login, schema, functions or policies is refused."""
    for statement in ATTACKS:
        assert _refused(login, statement) in (INSUFFICIENT_PRIVILEGE, "0LP01", "42704"), statement


def test_no_setting_opens_another_tenant(database, tenants):
    """Settings a login may make, row_security among them, show it nothing more."""
    auditor = database.connect(database.login("auditor", ["acme"]))
    with auditor.cursor() as cursor:
        for setting in (
            "SET ROLE shield_auditor",
            "SET search_path = shield, dba",
            "SET shield.tenant = 'brick'",
            "SET shield.login = 'shield_admin'",
            "SET application_name = 'shield_admin'",
        ):
            cursor.execute(setting)
            cursor.execute("SELECT name FROM dba.tenants")
            assert cursor.fetchall() == [("acme",)], setting
        cursor.execute("SET row_security = off")
        with pytest.raises(psycopg2.Error) as caught:
            cursor.execute("SELECT name FROM dba.tenants")
    assert caught.value.pgcode == INSUFFICIENT_PRIVILEGE


def test_a_function_of_the_reader_does_not_see_hidden_rows(database, tenants):
    """A cheap function in an auditor's WHERE, which would tell what it is shown, is shown own tenants only."""
    auditor = database.connect(database.login("auditor", ["acme"]))
    with auditor.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE seen (token text)")
        cursor.execute(
            "CREATE FUNCTION pg_temp.tell(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
            " $$ BEGIN INSERT INTO pg_temp.seen VALUES (t); RETURN true; END $$"
        )
        cursor.execute("SELECT token FROM dba.tokens WHERE pg_temp.tell(token)")
        cursor.execute("SELECT DISTINCT token FROM pg_temp.seen")
        assert cursor.fetchall() == [(TOKEN,)]


SCAN = str(uuid.uuid4())
# role -> what it asks unmapped, and the answer; "TENANT" stands for a tenant's id
UNMAPPED = {
    "worker": [],
    "resolver": [("tenant_data_key", ("TENANT", 1), [])],
    "masker": [("masking_tenant", ("+862160001111",), [])],
    "seeder": [("seeding_tenant", ("acme",), []), ("token_info", ("acme", TOKEN, None), [])],
    "revealer": [
        ("request_reveal", ("acme", "number", TOKEN, "C-1", "complaint", None), [("REFUSED", None, None)]),
    ],
    "sealer": [("unsealed_events", (False, 0, 0, "0", 0, 10), []), ("sealed_heads", (0, 10), [])],
    "scanner": [("start_leakscan", (SCAN, None), []), ("leakscan_filter", (SCAN, "TENANT", 0), [])],
    "canary": [("start_canary", ("acme", SCAN, 1), []), ("seeding_tenant", ("acme",), [])],
    "auditor": [],
    "rekeyer": [("begin_rekeyings", ("reencrypt", None, False), []), ("rekey_page", ("TENANT", "reindex", "", 10), [])],
    "housekeeper": [("keep_months", (36, 6, 12, True, True, [], False), [])],
    "intake": [("settle_cdrs", (10,), [])],
    "reaper": [("open_calls", (True,), []), ("call_gone", (SCAN, 99.0, None, 1.0, True), [("UNKNOWN",)])],
    "dispatcher": [("take_webhook_events", (9, 9, [], 9.0), []), ("bury_webhook_events", (0.0, 0.0), [(0, 0)])],
    "steward": [("set_token_cap", ("acme", TOKEN, 0), [("UNKNOWN",)])],
    "api": [("api_token", (bytes(32), TOKEN, None), [("UNKNOWN_KEY", None)])],
    "dialler": [
        (
            "grant_permission",
            ("acme", SCAN, TOKEN, None, None, None, None, 1, None, None),
            [("UNKNOWN", None, None, None)],
        ),
        ("revoke_permission", ("acme", SCAN), [("UNKNOWN",)]),
        ("begin_click", ("acme", SCAN, "1001", TOKEN, None, None, None), [("REFUSED", *[None] * 6)]),
        ("end_click", ("acme", SCAN, "VOID", None), [(False,)]),
    ],
    "eraser": [("erase_tokens", ("acme", [TOKEN], [None], "C-1", "asked"), [])],
}


def test_an_unmapped_login_gets_nothing(database, tenants):
    """A member of a role whom no administrator mapped is refused and sees no row."""
    for role in LOGIN_ROLES:
        config = database.login(role)
        name = config.url.split("//")[1].split(":")[0]
        database.query("DELETE FROM shield.logins WHERE login = %s", name)
        opened = database.open(config)
        for function, values, answer in UNMAPPED[role]:
            asked = [tenants["acme"] if value == "TENANT" else value for value in values]
            assert opened.call(function, *asked) == answer, function
        if role == "worker":
            assert Attempt().authorize(opened) == ("FORBIDDEN",)
        for view in READS[role] - set(CATALOGUE_VIEWS):
            with database.connect(config).cursor() as cursor:
                cursor.execute(f"SELECT * FROM dba.{view}")
                assert cursor.fetchall() == [], view


def test_an_unmapped_steward_or_eraser_reaches_no_token(database, tenants):
    """To a steward and an eraser whom nobody mapped every token is unknown."""
    steward, eraser = (database.open(database.login(role, [])) for role in ("steward", "eraser"))
    for function in ("hold_token", "release_token", "restore_token"):
        assert steward.call(function, "acme", TOKEN, None, "C-1", "court")[0][0] == "UNKNOWN"
    assert steward.call("set_token_cap", "acme", TOKEN, 0) == [("UNKNOWN",)]
    assert eraser.call("erase_tokens", "acme", [TOKEN], [None], "C-1", "asked") == []
    assert database.query("SELECT count(*) FROM shield.tokens WHERE token = %s", TOKEN) == [(1,)]


def test_an_unmapped_resolver_redeems_nothing(database, worker):
    """A resolver without a mapping does not see a permit."""
    attempt = Attempt()
    attempt.authorize(worker)
    config = database.login("resolver")
    database.query("DELETE FROM shield.logins WHERE role = 'resolver'")
    assert attempt.redeem(database.open(config)) == []


def test_one_tenants_worker_authorises_no_other_tenant(database, worker):
    """Acme's worker gets neither brick's domain nor brick's token, and brick hears nothing of it."""
    assert Attempt(domain="brick.example", token=BRICK_TOKEN).authorize(worker) == ("FORBIDDEN",)
    assert Attempt(token=BRICK_TOKEN).authorize(worker) == ("NOT_FOUND",)
    rows = database.query("SELECT t.name, c.token FROM shield.calls c JOIN shield.tenants t ON t.id = c.tenant_id")
    assert rows == [("acme", None)]


def test_one_tenants_seeder_seeds_no_other_tenant(database, seeder, tenants):
    """Acme's seeder can neither seed, read nor revoke in brick."""
    with pytest.raises(DatabaseRefused) as caught:
        seeder.call("seed_tokens", tenants["brick"], 1, 1, "[]")
    assert caught.value.sqlstate == "ES002"
    assert seeder.call("seeding_tenant", "brick") == []
    assert seeder.call("token_info", "brick", BRICK_TOKEN, None) == []
    assert seeder.call("set_token", "brick", BRICK_TOKEN, "revoked", None) == [(False,)]
    assert database.query("SELECT status FROM shield.tokens WHERE token = %s", BRICK_TOKEN) == [("active",)]


def test_one_tenants_auditor_sees_no_other_tenant(database, worker, tenants):
    """Acme's auditor sees acme's rows in every view, and no events without a tenant; one for all sees both."""
    bricks = database.open(database.login("worker", ["brick"]))
    Attempt().authorize(worker)
    Attempt(domain="brick.example", token=BRICK_TOKEN).authorize(bricks)
    Attempt(domain="nowhere.example").authorize(worker)
    for tenant in tenants.values():
        database.query("SELECT shield_api.add_key(%s, 'data', 1, %s, 'kek-1')", tenant, b"x" * 40)
    columns = {"tenants": "name", "tokens": "tenant", "calls": "tenant", "audit_events": "tenant", "keys": "tenant"}
    for scope, expected in ((["acme"], {"acme"}), (None, {"acme", "brick"}), ([], set())):
        with database.connect(database.login("auditor", scope)).cursor() as cursor:
            for view, column in columns.items():
                cursor.execute(f"SELECT DISTINCT {column} FROM dba.{view}")
                names = {row[0] for row in cursor.fetchall()}
                assert names == expected | ({None} if view == "audit_events" and scope is None else set()), view


def test_the_owner_itself_changes_no_audit_event(database, worker, tenants):
    """Audit events are append-only even for the role that owns the table, within its row-level security."""
    Attempt().authorize(worker)
    administrator = database.connect()
    with administrator.cursor() as cursor:
        cursor.execute("SET ROLE shield_owner")
        cursor.execute("DELETE FROM shield.audit_events")
        assert cursor.rowcount == 0
        cursor.execute("UPDATE shield.audit_events SET login = 'nobody'")
        assert cursor.rowcount == 0
        with pytest.raises(psycopg2.Error) as caught:
            cursor.execute("INSERT INTO shield.audit_events (kind, login) VALUES ('call.refused', 'somebody_else')")
    assert caught.value.pgcode == INSUFFICIENT_PRIVILEGE


def test_partitions_show_nothing_even_to_the_owner(database, worker, tenants):
    """Reached directly, past its parent's policies, a partition is empty."""
    Attempt().authorize(worker)
    partitions = database.query(
        "SELECT i.inhrelid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'shield'::regnamespace"
    )
    tables = [name for (name,) in partitions]
    assert len(tables) > 50
    with database.connect().cursor() as cursor:
        cursor.execute("SET ROLE shield_owner")
        for table in tables:
            cursor.execute(f"SELECT 1 FROM {table}")
            assert cursor.fetchall() == [], table
