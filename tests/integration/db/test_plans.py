"""At scale the statements of a call find their rows by index, in one partition."""

import hashlib
import re

import pytest
from shield_calls import Attempt
from sqlalchemy.engine import make_url

ROWS = 20_000
# Filled by the server; what a call's statements read of them is what they read of real ones.
FILL = """
INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version)
    SELECT 1, '91' || lpad(g::text, 12, '0'), sha256('a') || sha256(g::text::bytea), 1 FROM generate_series(1, {0}) g;
INSERT INTO shield.aliases (tenant_id, alias, token)
    SELECT 1, 'C-' || g, '91' || lpad(g::text, 12, '0') FROM generate_series(1, {0}) g;
INSERT INTO shield.calls (id, tenant_id, state) SELECT gen_random_uuid(), 1, 'LOST' FROM generate_series(1, {0});
INSERT INTO shield.audit_events (kind) SELECT 'tokens.seeded' FROM generate_series(1, {0});
INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, from_at)
    SELECT gen_random_uuid(), now(), 1, 1, 'a', now() FROM generate_series(1, {0});
INSERT INTO shield.permits (permit_hash, call, tenant_id, agent, token, gateway, delivery, expires_at)
    SELECT sha256(g::text::bytea), gen_random_uuid(), 1, 'a', '9100000000001', 'g', 'edge', now() + interval '1 h'
    FROM generate_series(1, {0}) g;
INSERT INTO shield.token_usage SELECT 1, g::text, now(), 1 FROM generate_series(1, {0}) g;
INSERT INTO shield.agent_usage SELECT 1, g::text, now(), 1 FROM generate_series(1, {0}) g;
ANALYZE;
"""
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off; SET auto_explain.log_buffers = on; SET client_min_messages = log;
"""
MOST_PAGES = 60  # of a table or index by one node; a whole index of ROWS has twice as many
SCANS = r"( Scan using .*)(?:\n(?! *->).*?)*?\n *Buffers: shared(?: hit=([0-9]+))?(?: read=([0-9]+))?"
GROWING = r"(tokens|number_refs|aliases|calls|call_agents|audit_events|permits|token_usage|agent_usage)"
TOKEN = "91000000000018"


@pytest.fixture
def explained(database):
    """Runs a function as a login of a role; returns the plans of all statements in it."""
    database.tenant()
    database.query(FILL.format(ROWS))
    database.query("SELECT shield_api.set_caps('acme', 10, 300, 100000)")

    logins = {}

    def explain(role, function, *arguments):
        login = logins.get(role) or logins.setdefault(role, make_url(database.login(role).url).username)
        connection = database.connect()
        with connection.cursor() as cursor:
            cursor.execute(EXPLAIN)
            cursor.execute(f"SET SESSION AUTHORIZATION {login}")
            places = ", ".join(["%s"] * len(arguments))
            cursor.execute(f"SELECT * FROM shield_api.{function}({places})", arguments)
            rows = cursor.fetchall()
        plans = [notice.split("plan:\n", 1)[1] for notice in connection.notices if "plan:\n" in notice]
        return rows, plans

    return explain


def _ran(plan):
    return [line for line in plan.splitlines() if "(actual" in line and "loops=0" not in line]


def _problems(plans):
    """Scans of a whole table that grows, and statements that opened more than one partition of one."""
    for plan in plans:
        opened = {}
        for scan, hit, read in re.findall(SCANS, plan):
            if int(hit or 0) + int(read or 0) > MOST_PAGES:
                yield f"{hit} and {read} pages: {scan}"
        for line in _ran(plan):
            if re.search(rf"Seq Scan on {GROWING}", line):
                yield line
            found = re.search(r" on (tokens|number_refs)_([0-9]{2}) ", line)
            if found:
                opened.setdefault(found[1], set()).add(found[2])
            found = re.search(r" on (calls|call_agents|audit_events)_([0-9_]{7}|default) ", line)
            if found:
                opened.setdefault(found[1], set()).add(found[2])
        for table, parts in opened.items():
            # A call can be of the month its window began or ends in.
            if len(parts) > (2 if table.startswith("call") else 1) or "default" in parts:
                yield f"{table}: {sorted(parts)}"


def test_call_path(explained):
    """From authorising to the record no statement reads more than the call's own rows."""
    attempt = Attempt(token=TOKEN)
    digest = hashlib.sha256(b"permit").digest()
    call = str(attempt.call)
    seen = []
    for role, function, *arguments in (
        ("worker", "authorize_call", call, "acme.example", "1001", TOKEN, None, None, digest, "g", "edge", None, None),
        ("resolver", "redeem_permits", [digest], [TOKEN], ["g"], ["edge"], [None], False),
        ("worker", "next_permit", call, hashlib.sha256(b"other").digest(), "g", "edge", None),
        ("worker", "call_answered", call, "g"),
        ("worker", "finish_call", call, "COMPLETED", "NORMAL_CLEARING", 200, "g", 1, None, None, None),
    ):
        rows, plans = explained(role, function, *arguments)
        assert rows, function
        assert rows[0][0] not in {False, "FORBIDDEN"}, function
        assert list(_problems(plans)) == [], function
        seen += plans
    assert sum(" on tokens_" in plan for plan in seen) >= 2
    assert any(" on permits" in plan for plan in seen)


@pytest.mark.parametrize("lot", [None, 7])
def test_a_tokens_aliases(explained, database, lot):
    """Whoever looks for a token's aliases finds them by the index, whether the token has a lot or not."""
    database.query("UPDATE shield.token_space SET tokens = %s", ROWS)
    database.query("UPDATE shield.tokens SET lot = %s", lot)
    database.query("UPDATE shield.aliases SET lot = %s", -1 if lot is None else lot)
    database.query("VACUUM (FULL, ANALYZE) shield.tokens, shield.aliases")
    for role, function, *arguments in (
        ("seeder", "token_info", "acme", TOKEN, None),
        ("eraser", "erase_tokens", "acme", [TOKEN], [None], "A-1", "asked"),
    ):
        rows, plans = explained(role, function, *arguments)
        assert rows, function
        assert [problem for problem in _problems(plans) if "aliases" in problem] == [], function
        assert any(" using aliases_of_token on aliases" in plan for plan in plans), function
    assert database.query("SELECT count(*) FROM shield.aliases WHERE token = %s", TOKEN) == [(0,)]


def test_known_rows(explained, database):
    """A row that is there is found by its number and its alias, each in one index of one partition."""
    database.query(
        "INSERT INTO shield.number_refs (tenant_id, number_index, index_version, token)"
        " SELECT 1, sha256(g::text::bytea), 1, '91' || lpad(g::text, 12, '0') FROM generate_series(1, %s) g",
        ROWS,
    )
    database.query("ANALYZE shield.number_refs")
    rows, plans = explained("seeder", "find_seeded", 1, 1, 1, hashlib.sha256(b"18").digest(), "C-18")
    assert rows == [(TOKEN,)]
    assert list(_problems(plans)) == []
    assert any(re.search(r" using number_refs_\d\d_pkey on number_refs", plan) for plan in plans)
    assert any(" using aliases_pkey on aliases" in plan for plan in plans)
    assert not any("JIT:" in plan for plan in plans)


def test_problems_are_seen(explained, database):
    """The test above would see a scan of every partition."""
    database.query("DROP INDEX shield.aliases_of_token")
    attempt = Attempt(token=TOKEN)
    _, plans = explained(
        "worker", "authorize_call", str(attempt.call), "acme.example", "1001", TOKEN, None, None, b"x" * 32, "g",
        "edge", None, None,
    )  # fmt: skip
    assert list(_problems(plans))
