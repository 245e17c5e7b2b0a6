"""SECURITY DEFINER functions against a caller who shadows what they use."""

from __future__ import annotations

import pytest
from shield_calls import Attempt

# What a login may make in its own temporary schema, and would like our functions to find there first.
SHADOWS = [
    "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::timestamptz $$",
    "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''2999-1-1''::timestamptz'",
    "CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'brick.example' $$",
    "CREATE FUNCTION pg_temp.pg_has_role(name, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE FUNCTION pg_temp.texteq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.texteq)",
    "CREATE TYPE pg_temp.int4multirange AS (a int)",
]
TABLES = [
    "CREATE TEMP TABLE tenants (id int, name text, domain text, token_per_day int, agent_per_hour int, tenant_per_day int)",  # noqa: E501
    "INSERT INTO pg_temp.tenants VALUES (1, 'brick', 'acme.example', NULL, NULL, NULL)",
    "CREATE TEMP TABLE logins (login text, scope int4multirange, mint_per_s int)",
    "INSERT INTO pg_temp.logins VALUES (session_user, '{(,)}', NULL)",
    "CREATE TEMP TABLE pg_roles (rolname name)",
]
PATHS = ["pg_temp", "pg_temp, pg_catalog", "pg_temp, shield, shield_api, pg_catalog"]


@pytest.mark.parametrize("path", PATHS)
def test_a_callers_temporary_objects_are_not_found(database, tenants, path):
    """Shadowing functions, operators, types and tables on any search_path changes no answer."""
    worker = database.connect(database.login("worker", ["acme"]))
    bricks = Attempt(domain="brick.example", token="92000000000014")
    unknown = Attempt(token="91000000000026")
    honest = Attempt()
    with worker.cursor() as cursor:
        for statement in (*TABLES, *SHADOWS, f"SET search_path = {path}"):
            cursor.execute(statement)
        answers = []
        for attempt in (bricks, unknown, honest):
            cursor.execute(
                "SELECT * FROM shield_api.authorize_call(%s, %s, %s, %s, NULL, NULL, %s, 'gw', 'edge', NULL, NULL)",
                (str(attempt.call), attempt.domain, attempt.agent, attempt.token, attempt.permit),
            )
            answers.append(cursor.fetchone())
        cursor.execute("SELECT * FROM pg_temp.tenants")
        assert len(cursor.fetchall()) == 1
    assert answers == [("FORBIDDEN",), ("NOT_FOUND",), ("ALLOWED",)]
    assert database.query("SELECT started_at > now() - interval '1 hour' FROM shield.calls") == [(True,), (True,)]


def test_an_auditors_temporary_objects_do_not_change_what_views_show(database, tenants):
    """Policies are bound to our tables when they are made, not to names when they are used."""
    auditor = database.connect(database.login("auditor", ["acme"]))
    with auditor.cursor() as cursor:
        for statement in (*TABLES, *SHADOWS, "SET search_path = pg_temp, dba"):
            cursor.execute(statement)
        cursor.execute("SELECT name FROM dba.tenants")
        assert cursor.fetchall() == [("acme",)]
