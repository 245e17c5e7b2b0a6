"""Rows the server makes up, for what is measured in big vaults: tokens, and the calls and events of days.

The call path and the auditors' views read them as they read real ones. Ciphertext has the right size and opens to
nothing; calls and events are copies of those of one real call, spread over tokens, agents and time.
"""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from typing import TYPE_CHECKING

from vault_bench import DOMAIN, LENGTH, PREFIX

from esl_shield.db.engine import Database

if TYPE_CHECKING:
    from vault_bench import Bench


def _token_sql(g: str) -> str:
    """Spell in SQL what ``token`` does."""
    return f"'{PREFIX}' || lpad((({g} * 7919::numeric + 104729) %% 10000000019)::text, {LENGTH - len(PREFIX)}, '0')"


TOKENS = f"""
WITH drawn AS MATERIALIZED (
    SELECT g, {_token_sql("g")} AS token
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS g
), made AS (
    INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version, country, region, time_zone, line_type)
        SELECT 1, token, '\\x010100000001'::bytea || sha256(token::bytea) || substr(sha256(token::bytea), 1, 12), 1,
            'CN', 'Beijing', 'Asia/Shanghai', 'mobile' FROM drawn
), referred AS (
    INSERT INTO shield.number_refs SELECT 1, sha256(('n' || g)::bytea), 1, token FROM drawn
)
INSERT INTO shield.aliases (tenant_id, alias, token) SELECT 1, 'C-' || g, token FROM drawn
"""
TOKENS_AT_ONCE = 250_000

# Calls number first to last of all: each so long before now, the first the longest, to a token the multiplier scatters.
_DRAWN = f"""
SELECT h.n, md5('call' || h.n)::uuid AS id, 'agent' || h.n %% 20000 AS agent,
    now() - (%(days)s::float8 * (1 - h.n / %(calls)s::float8)) * interval '1 day' AS at,
    {_token_sql("((h.n * 48271) %% %(tokens)s)")} AS token
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS h (n)
"""
CALLS = f"""
INSERT INTO shield.calls (id, tenant_id, agent, token, alias, channel, gateway, delivery, state, hangup_cause, sip_code,
        attempts, permits, started_at, answered_at, ended_at, login)
    SELECT d.id, c.tenant_id, d.agent, d.token, c.alias, md5('leg' || d.n)::uuid, c.gateway, c.delivery, c.state,
        c.hangup_cause, c.sip_code, c.attempts, c.permits, d.at, d.at + interval '9 s', d.at + interval '99 s', c.login
    FROM model_call c, ({_DRAWN}) d
"""
EVENTS = f"""
INSERT INTO shield.audit_events (at, tenant_id, kind, login, agent, token, call, detail)
    SELECT d.at, e.tenant_id, e.kind, e.login, d.agent, d.token, d.id, e.detail
    FROM model_events e, ({_DRAWN}) d ORDER BY d.n, e.id
"""
MODELS = (
    "CREATE TEMPORARY TABLE model_call AS SELECT * FROM shield.calls WHERE id = %(model)s",
    "CREATE TEMPORARY TABLE model_events AS SELECT * FROM shield.audit_events WHERE call = %(model)s",
)
CALLS_AT_ONCE = 100_000


def token(g: int) -> str:
    """Return the token number ``g``."""
    return PREFIX + str((g * 7919 + 104729) % 10000000019).zfill(LENGTH - len(PREFIX))


def fill_tokens(made: Bench, rows: int) -> float:
    """Make tokens up, with aliases and number references; returns how long it took, in seconds."""
    started = time.perf_counter()
    with contextlib.closing(made.connect()) as connection, connection.cursor() as cursor:
        for first in range(0, rows, TOKENS_AT_ONCE):
            cursor.execute(TOKENS, {"first": first, "last": min(first + TOKENS_AT_ONCE, rows) - 1})
        cursor.execute("UPDATE shield.token_space SET tokens = %s", (rows,))
        cursor.execute("VACUUM (ANALYZE) shield.tokens, shield.number_refs, shield.aliases")
        cursor.execute("CHECKPOINT")
    return time.perf_counter() - started


def fill_calls(made: Bench, calls: int, days: float, tokens: int) -> float:
    """Make up completed calls of the last days, with their events, in the order of time; returns how long it took, in seconds."""
    model = str(_call(made))
    started = time.perf_counter()
    with contextlib.closing(made.connect()) as connection, connection.cursor() as cursor:
        for statement in MODELS:
            cursor.execute(statement, {"model": model})
        for first in range(0, calls, CALLS_AT_ONCE):
            drawn = {"first": first, "last": min(first + CALLS_AT_ONCE, calls) - 1}
            for statement in (CALLS, EVENTS):
                cursor.execute(statement, {**drawn, "calls": calls, "days": days, "tokens": tokens})
        cursor.execute("VACUUM (ANALYZE) shield.calls, shield.audit_events")
        cursor.execute("CHECKPOINT")
    return time.perf_counter() - started


def _call(made: Bench) -> uuid.UUID:
    """Make one call from its authorisation to its end; returns its id."""
    call, permit = uuid.uuid4(), secrets.token_bytes(32)
    steps: tuple[tuple[str, str, tuple[object, ...]], ...] = (
        (
            "worker",
            "authorize_call",
            (call, DOMAIN, "agent", token(0), None, None, permit, "carrier", "edge", None, None),
        ),
        ("resolver", "redeem_permits", ([permit], [token(0)], ["carrier"], ["edge"], [None], False)),
        ("worker", "call_answered", (call, "carrier")),
        ("worker", "finish_call", (call, "COMPLETED", "NORMAL_CLEARING", 200, "carrier", 1, None, None, None)),
    )
    for role, function, arguments in steps:
        with contextlib.closing(Database(made.login(role), application_name="bench")) as database:
            if not database.call(function, *arguments):
                raise SystemExit(f"{function} answered nothing")
    return call
