"""What the views for DBAs say of a database with calls in it, and to whom."""

from __future__ import annotations

import psycopg2.extras
import pytest
from shield_calls import TOKEN, Attempt

SPARE = "91000000000026"


@pytest.fixture
def used(database, tenants, worker, resolver):
    """One call redeemed, one permit left, one token never called, one expired, keys and an orphaned version."""
    database.tokens(tenants["acme"], SPARE, expires_at="2026-01-01T00:00:00Z")
    database.query("SELECT shield_api.add_key(%s, 'data', 1, %s, 'kek-1')", tenants["acme"], b"x" * 40)
    redeemed, left = Attempt(agent="1007"), Attempt()
    redeemed.authorize(worker)
    assert redeemed.redeem(resolver)
    left.authorize(worker)
    left_again = Attempt(token=SPARE)
    left_again.authorize(worker)
    return redeemed


@pytest.fixture
def ask(database):
    """Ask a view as an auditor of some tenants."""

    def _ask(statement, tenants=None):
        with database.connect(database.login("auditor", tenants)).cursor(
            cursor_factory=psycopg2.extras.RealDictCursor
        ) as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    return _ask


def test_the_inventory_counts_by_state_and_key(used, ask):
    """Each tenant sees its tokens by status, key version and age; an expired token is told from an active one."""
    rows = ask("SELECT tenant, status, key_version, age, tokens FROM dba.token_inventory ORDER BY status", ["acme"])
    assert [tuple(row.values()) for row in rows] == [
        ("acme", "active", 1, "under 30 days", 1),
        ("acme", "expired", 1, "under 30 days", 1),
    ]


@pytest.mark.parametrize(
    ("days", "age"),
    [(29, "under 30 days"), (31, "30 to 90 days"), (91, "90 days to 1 year"), (367, "over 1 year")],
)
def test_the_inventory_tells_ages_apart(database, tenants, ask, days, age):
    """A token counts under the age it has, revoked or not, and the oldest and newest of each are named."""
    database.tokens(tenants["acme"], SPARE)
    database.query(f"UPDATE shield.tokens SET created_at = now() - interval '{days} days', status = 'revoked'")
    (row,) = ask("SELECT status, age, tokens, oldest = newest AS alike FROM dba.token_inventory", ["acme"])
    assert row == {"status": "revoked", "age": age, "tokens": 2, "alike": True}


def test_the_estimate_sees_a_sample(database, tenants, ask):
    """The sampled inventory is a hundred times what it saw, and near the truth where there are enough pages."""
    database.query("ALTER TABLE shield.tokens DISABLE ROW LEVEL SECURITY")
    database.query(
        "INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version)"
        " SELECT %s, '91' || lpad(i::text, 12, '0'), decode(repeat('ab', 40), 'hex'), 1"
        " FROM generate_series(100000000, 100060000) i",
        tenants["acme"],
    )
    database.query("ALTER TABLE shield.tokens ENABLE ROW LEVEL SECURITY")
    seen = [row for _ in range(8) for row in ask("SELECT * FROM dba.token_inventory_estimate", ["acme"])]
    assert all(row["tokens_estimate"] == 100 * row["tokens_seen"] for row in seen)
    assert 15_000 < sum(row["tokens_estimate"] for row in seen) / 8 < 180_000


def test_a_resolution_names_caller_call_and_token(used, ask):
    """The exchanged permit shows resolver, agent, call and token; no column could hold a number."""
    (row,) = ask("SELECT * FROM dba.resolutions", ["acme"])
    assert (row["tenant"], row["agent"], row["token"], str(row["call"])) == ("acme", "1007", TOKEN, str(used.call))
    assert (row["outcome"], row["reason"], row["gateway"], row["delivery"]) == ("resolved", None, "carrier", "edge")
    assert row["login"].startswith("test_resolver")


def test_a_refused_exchange_shows_its_reason(used, resolver, ask):
    """An unknown permit shows to auditors of all tenants only."""
    assert not Attempt().redeem(resolver)
    (row,) = ask("SELECT outcome, reason, tenant FROM dba.resolutions WHERE outcome <> 'resolved'")
    assert tuple(row.values()) == ("refused", "permit_unknown", None)
    assert len(ask("SELECT * FROM dba.resolutions", ["acme"])) == 1


def test_unused_and_expiring_tokens(used, ask):
    """A token that was called is not unused; one that is over shows as expired, with the time since."""
    rows = ask("SELECT tenant, token FROM dba.unused_tokens ORDER BY 1")
    assert [row["tenant"] for row in rows if row["token"] == TOKEN] == []
    assert [row["tenant"] for row in rows] == ["brick"]
    (row,) = ask("SELECT * FROM dba.expiring_tokens")
    assert (row["token"], row["expired"], row["expires_in"].days < 0) == (SPARE, True, True)


def test_key_use_counts_rows_and_finds_missing_keys(used, ask):
    """Rows per version; a version whose key the database does not hold says so."""
    rows = ask("SELECT purpose, version, kek_id, rows, missing FROM dba.key_use ORDER BY 1", ["acme"])
    assert [tuple(row.values()) for row in rows] == [("data", 1, "kek-1", 2, False), ("index", 1, None, 2, True)]


def test_permits_left_are_shown_without_their_hashes(used, ask):
    """A permit nobody exchanged shows its call."""
    (row,) = ask("SELECT * FROM dba.permits_unredeemed", ["acme"])
    assert (row["agent"], row["expired"]) == ("1001", False)
    assert not any(isinstance(value, memoryview) for value in row.values())


def test_storage_shows_dead_rows_to_auditors_of_all_tenants(database, used, ask):
    """Sizes, dead rows and vacuums of every table and partition; an auditor of one tenant sees none."""
    database.query("VACUUM ANALYZE shield.tokens")
    rows = {row["name"]: row for row in ask("SELECT * FROM dba.storage")}
    assert {"tokens_00", "permits", "calls_default", "tenants"} <= rows.keys()
    assert rows["permits"]["unlogged"]
    assert rows["tokens_00"]["partition_of"] == "tokens"
    assert rows["tokens_00"]["last_vacuum"] is not None
    assert rows["tokens_00"]["bytes"] >= rows["tokens_00"]["index_bytes"] > 0
    assert sum(rows[f"tokens_{i:02}"]["rows_estimate"] for i in range(16)) == 3
    assert ask("SELECT * FROM dba.storage", ["acme"]) == []


def test_months_are_made_ahead(database, used, ask):
    """Each monthly table has twelve months ahead; one that is dropped is missed."""
    rows = ask("SELECT name, months_ahead, stray_rows, detached FROM dba.months ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [
        (name, 12, 0, 0) for name in ("audit_events", "call_agents", "calls")
    ]
    (last,) = ask("SELECT to_char(last_month, 'YYYY_MM') AS month FROM dba.months WHERE name = 'calls'")
    database.query(f"DROP TABLE shield.calls_{last['month']}")
    assert ask("SELECT months_ahead FROM dba.months WHERE name = 'calls'") == [{"months_ahead": 11}]


def test_logins_show_to_auditors_of_their_tenants(database, used, tenants, ask):
    """An auditor sees logins that share a tenant with it, whatever function it sneaks into the condition."""
    database.login("worker", ["brick"])
    database.login("seeder", None)
    shown = ask("SELECT role, tenants, all_tenants, may_log_in FROM dba.logins ORDER BY role", ["acme"])
    assert [(row["role"], row["all_tenants"]) for row in shown] == [
        ("auditor", False), ("resolver", False), ("seeder", True), ("worker", False)
    ]  # fmt: skip
    assert all(row["tenants"] == ["acme"] for row in shown)
    assert all(row["may_log_in"] for row in shown)
    auditor = database.connect(database.login("auditor", ["acme"]))
    with auditor.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE seen (login text, role text);"
            " CREATE FUNCTION pg_temp.tell(a text, b text) RETURNS boolean LANGUAGE plpgsql COST 0.0001"
            " AS $$ BEGIN INSERT INTO pg_temp.seen VALUES (a, b); RETURN true; END $$"
        )
        cursor.execute("SELECT 1 FROM dba.logins WHERE pg_temp.tell(login, role)")
        cursor.execute("SELECT count(*) FROM pg_temp.seen s WHERE s.login NOT IN (SELECT login FROM dba.logins)")
        assert cursor.fetchone() == (0,)


def test_rights_show_what_was_granted_by_hand(database, used, ask):
    """The shipped rights, and one that somebody gave to everybody."""
    workers = ask("SELECT name FROM dba.rights WHERE role = 'shield_worker' AND kind <> 'function'")
    assert [row["name"] for row in workers] == ["shield_api"]
    assert ask("SELECT * FROM dba.rights WHERE kind = 'table' OR role IS NULL") == []
    database.query("GRANT SELECT ON shield.tokens TO PUBLIC")
    (row,) = ask("SELECT * FROM dba.rights WHERE kind = 'table' OR role IS NULL")
    assert tuple(row.values()) == (None, "SELECT", "table", "shield.tokens")


def test_imports_show_who_brought_how_many(used, seeder, ask):
    """A seeder's batch counts its new tokens."""
    rows = ask("SELECT tenant, created, existing FROM dba.imports ORDER BY id", ["acme"])
    assert [tuple(row.values()) for row in rows] == [("acme", 1, 0), ("acme", 1, 0)]
