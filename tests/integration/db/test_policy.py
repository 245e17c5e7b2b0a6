"""A tenant's policy in SQL: hours in the customer's time zone, gaps, caps a day; explanations that cannot differ."""

from __future__ import annotations

import datetime as dt
import json
import threading

import psycopg2
import pytest
from shield_calls import TOKEN, Attempt, reasons

ROWLESS = "95000000000018"
WEEKDAYS = "{[540,1200),[1980,2640),[3420,4080),[4860,5520),[6300,6960)}"  # mon-fri 09:00-20:00
NIGHT = "{[1320,1560),[10020,10080),[0,120)}"  # mon 22:00-02:00, sun 23:00-02:00


def _set(database, **changes):
    return database.query("SELECT shield_api.set_policy('acme', %s)", json.dumps(changes))[0][0]


def _zone(database, zone):
    database.query("UPDATE shield.tokens SET time_zone = %s WHERE token = %s", zone, TOKEN)


@pytest.fixture
def explain(database, tenants):
    """What explain_call says of a moment: the first refusing rule's reason, or ALLOWED."""
    steward = database.open(database.login("steward", ["acme"]))

    def ask(at, agent="1001", token=TOKEN):
        rows = steward.call("explain_call", "acme", agent, token, at)
        return next((row[2] for row in rows if row[1] == "refuses"), "ALLOWED")

    return ask


HOURS = (
        (WEEKDAYS, "Asia/Shanghai", None, "2026-11-23T01:00:00Z", "ALLOWED"),
        (WEEKDAYS, "Asia/Shanghai", None, "2026-11-23T00:59:59Z", "outside_hours"),
        (WEEKDAYS, "Asia/Shanghai", None, "2026-11-23T11:59:59Z", "ALLOWED"),
        (WEEKDAYS, "Asia/Shanghai", None, "2026-11-23T12:00:00Z", "outside_hours"),
        (WEEKDAYS, "Asia/Shanghai", None, "2026-11-22T02:00:00Z", "outside_hours"),
        (WEEKDAYS, "America/New_York", "Asia/Shanghai", "2026-11-23T02:00:00Z", "outside_hours"),
        (WEEKDAYS, None, "Asia/Shanghai", "2026-11-23T02:00:00Z", "ALLOWED"),
        (WEEKDAYS, "", "Asia/Shanghai", "2026-11-23T02:00:00Z", "ALLOWED"),
        (WEEKDAYS, "Mars/Olympus", "Asia/Shanghai", "2026-11-23T02:00:00Z", "ALLOWED"),
        (WEEKDAYS, "XYZ3", None, "2026-11-23T02:00:00Z", "zone_unknown"),
        (WEEKDAYS, None, None, "2026-11-23T02:00:00Z", "zone_unknown"),
        # 09:00 in New York is 14:00 UTC in winter and 13:00 in summer; the clocks change on 8 March and 1 November.
        (WEEKDAYS, "America/New_York", None, "2026-03-06T13:30:00Z", "outside_hours"),
        (WEEKDAYS, "America/New_York", None, "2026-03-09T13:30:00Z", "ALLOWED"),
        (WEEKDAYS, "America/New_York", None, "2026-10-30T13:30:00Z", "ALLOWED"),
        (WEEKDAYS, "America/New_York", None, "2026-11-02T13:30:00Z", "outside_hours"),
        # The hour that comes twice (Berlin, 25 October: 02:30 CEST and CET) is judged by the clock both times.
        ("{[8790,8820)}", "Europe/Berlin", None, "2026-10-25T00:30:00Z", "ALLOWED"),
        ("{[8790,8820)}", "Europe/Berlin", None, "2026-10-25T01:30:00Z", "ALLOWED"),
        ("{[8790,8820)}", "Europe/Berlin", None, "2026-10-25T02:30:00Z", "outside_hours"),
        (NIGHT, "UTC", None, "2026-11-23T23:59:59Z", "ALLOWED"),
        (NIGHT, "UTC", None, "2026-11-24T01:59:59Z", "ALLOWED"),
        (NIGHT, "UTC", None, "2026-11-24T02:00:00Z", "outside_hours"),
        (NIGHT, "UTC", None, "2026-11-23T01:00:00Z", "ALLOWED"),
        ("{}", "UTC", None, "2026-11-23T12:00:00Z", "outside_hours"),
)  # fmt: skip


def test_hours_are_those_of_the_customers_clock(database, explain):
    """A call passes within the hours of the token's own time zone, in summer and winter, past midnight too."""
    for hours, own, default, at, answer in HOURS:
        _set(database, hours=hours, time_zone=default)
        _zone(database, own)
        assert explain(at) == answer, (hours, own, default, at)


CLOSED = (
    ("Asia/Shanghai", "2026-12-31T16:00:00Z", "closed_day"),
    ("Asia/Shanghai", "2026-12-31T15:59:59Z", "ALLOWED"),
    ("America/New_York", "2026-12-31T16:00:00Z", "ALLOWED"),
    (None, "2026-12-31T16:00:00Z", "zone_unknown"),
)


def test_a_closed_day_is_one_of_the_customers_calendar(database, explain):
    """Whether it is New Year is asked where the customer lives; who lives nowhere is not called."""
    _set(database, closed_days=["2027-01-01"])
    for own, at, answer in CLOSED:
        _zone(database, own)
        assert explain(at) == answer, (own, at)


def test_a_refusal_says_rule_and_value_in_its_event(database, worker):
    """The phone is told 403; the audit event says which rule, its value and what it met."""
    _set(database, hours="{}", time_zone="Asia/Shanghai")
    assert Attempt().authorize(worker) == ("FORBIDDEN",)
    detail = database.query("SELECT detail FROM shield.audit_events WHERE kind = 'call.refused'")[0][0]
    assert (detail["reason"], detail["rule"], detail["hours"]) == ("outside_hours", "hours", "none")
    assert (detail["time_zone"], detail["of"]) == ("Asia/Shanghai", "tenant")
    assert database.query("SELECT count(*) FROM shield.permits") == [(0,)]


def test_a_gap_is_kept_between_calls_to_one_customer(database, tenants, worker):
    """The second call within the gap is refused, another customer's is not, and after the gap there is room again."""
    database.tokens(tenants["acme"], "91000000000026")
    _set(database, gap_s=3600)
    verdicts = [Attempt(token=token).authorize(worker)[0] for token in (TOKEN, TOKEN, "91000000000026")]
    assert verdicts == ["ALLOWED", "FORBIDDEN", "ALLOWED"]
    assert reasons(database, "call.refused") == ["gap"]
    database.query("UPDATE shield.policy_marks SET last_at = last_at - interval '1 hour'")
    assert Attempt().authorize(worker) == ("ALLOWED",)


def test_a_call_another_cap_refused_starts_no_gap(database, worker):
    """The customer was not called, so the gap does not begin."""
    _set(database, gap_s=3600)
    database.query("SELECT shield_api.set_caps('acme', NULL, 0, NULL)")
    assert Attempt().authorize(worker) == ("FORBIDDEN",)
    database.query("SELECT shield_api.set_caps('acme', NULL, NULL, NULL)")
    assert Attempt().authorize(worker) == ("ALLOWED",)


def test_an_agent_may_call_so_often_in_a_day(database, worker):
    """The call beyond the agent's day is refused, another agent's is not, and 24 hours later there is room again."""
    _set(database, agent_per_day=1)
    assert [Attempt(agent=agent).authorize(worker)[0] for agent in ("1", "1", "2")] == [
        "ALLOWED",
        "FORBIDDEN",
        "ALLOWED",
    ]
    assert reasons(database, "call.refused") == ["agent_day_cap"]
    database.query("UPDATE shield.policy_marks SET since = since - interval '24 hours'")
    assert [Attempt(agent="1").authorize(worker)[0] for _ in range(2)] == ["ALLOWED", "FORBIDDEN"]


def test_of_two_calls_at_once_one_keeps_the_gap(database, tenants):
    """Two workers ask for the same customer at the same moment: the second waits for the first and is refused."""
    _set(database, gap_s=3600)
    first = database.connect(database.login("worker", ["acme"]))
    first.autocommit = False
    held = first.cursor()
    ask = (
        "SELECT * FROM shield_api.authorize_call(gen_random_uuid(), 'acme.example', '1', %s, NULL, NULL, %s, 'g',"
        " 'edge', NULL, NULL)"
    )
    held.execute(ask, (TOKEN, psycopg2.Binary(b"1" * 32)))
    assert held.fetchall() == [("ALLOWED",)]
    second = database.connect(database.login("worker", ["acme"]))
    answers = []

    def call():
        with second.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute(ask, (TOKEN, psycopg2.Binary(b"2" * 32)))
            answers.extend(cursor.fetchall())

    thread = threading.Thread(target=call)
    thread.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    while database.query(waiting, second.get_backend_pid()) == [(0,)]:
        assert thread.is_alive()
    first.commit()
    thread.join()
    assert answers == [("FORBIDDEN",)]


def test_what_is_explained_is_what_happens(database, worker, explain):
    """Rule by rule, an explanation of now names the reason the call's event then has, or ALLOWED."""
    for changes, caps in (
        ({"hours": "{}", "time_zone": "UTC"}, (None, None, None)),
        ({"hours": None, "closed_days": None, "gap_s": 60}, (None, None, None)),
        ({"gap_s": None, "agent_per_day": 1}, (None, None, None)),
        ({"agent_per_day": None}, (0, None, None)),
        ({}, (None, 0, None)),
        ({}, (None, None, 0)),
        ({"hours": "{[0,10080)}", "time_zone": None}, (None, None, None)),
    ):
        _set(database, **changes)
        database.query("SELECT shield_api.set_caps('acme', %s, %s, %s)", *caps)
        for _ in range(2):
            said = explain(None)
            (verdict,) = Attempt().authorize(worker)
            met = "ALLOWED" if verdict == "ALLOWED" else reasons(database, "call.refused")[-1]
            assert said == met, changes
    assert set(reasons(database, "call.refused")) == {
        "outside_hours", "gap", "agent_day_cap", "token_cap", "agent_cap", "tenant_cap", "zone_unknown",
    }  # fmt: skip


PERMISSIONS = (
    (TOKEN, None, "permission_missing"),
    (TOKEN, {"agent": "1002"}, "permission_of_another"),
    (TOKEN, {"valid_until": "-1 minute"}, "permission_expired"),
    (TOKEN, {"valid_from": "1 minute"}, "permission_early"),
    (TOKEN, {"revoked_at": "now"}, "permission_revoked"),
    (TOKEN, {"used": 1}, "permission_used_up"),
    (TOKEN, {}, "ALLOWED"),
    ("91000000000026", {}, "token_unknown"),
    (ROWLESS, None, "permission_missing"),
    (ROWLESS, {}, "ALLOWED"),
    (ROWLESS, {"rowless": "revoked"}, "token_revoked"),
)


def test_a_permission_that_is_missing_is_explained(database, tenants, worker, explain):
    """Where dial permissions are required an explanation names what the call's event then has, without a row too."""
    database.query("SELECT shield_api.set_dialling('acme', true, NULL, NULL)")
    database.query(
        "INSERT INTO shield.token_prefixes (tenant_id, prefix, length, method, countries, ranges, line_types)"
        " VALUES (%s, '95', 14, 'crm', '{}', '{}', '{}')", tenants["acme"],
    )  # fmt: skip
    database.query("UPDATE shield.tenants SET rowless = true WHERE name = 'acme'")
    for token, changes, answer in PERMISSIONS:
        database.query("TRUNCATE shield.dial_permissions, shield.rowless_tokens")
        if changes is not None:
            _grant(database, tenants["acme"], token, **changes)
        assert explain(None, token=token) == answer, (token, changes)
        (verdict,) = Attempt(token=token).authorize(worker)
        assert verdict == ("ALLOWED" if answer == "ALLOWED" else "NOT_FOUND")
        assert answer == "ALLOWED" or reasons(database, "call.refused")[-1] == answer


def test_a_permission_is_explained_at_the_moment_asked_for(database, tenants, explain):
    """One that begins later passes then and not now; a tenant that requires none has no such rule."""
    steward = database.open(database.login("steward", ["acme"]))
    states = {row[0]: row[1] for row in steward.call("explain_call", "acme", "1001", TOKEN, None)}
    assert states["permission"] == "off"
    database.query("SELECT shield_api.set_dialling('acme', true, NULL, NULL)")
    _grant(database, tenants["acme"], TOKEN, valid_from="1 hour")
    assert explain(None) == "permission_early"
    assert explain(dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)) == "ALLOWED"


def _grant(database, tenant_id, token, **changes):
    """Grant one call to a token; ``rowless`` is the status of a token without a row."""
    values = {"valid_from": "-1 hour", "valid_until": "1 day", "used": 0, "revoked_at": None, "agent": None} | changes
    valid_from, valid_until = values["valid_from"], values["valid_until"]
    if "rowless" in values:
        rowless = "INSERT INTO shield.rowless_tokens (tenant_id, token, status) VALUES (%s, %s, %s)"
        database.query(rowless, tenant_id, token, values["rowless"])
    database.query(
        "INSERT INTO shield.dial_permissions (id, tenant_id, token, valid_from, valid_until, calls,"
        " used, revoked_at, agent) VALUES (gen_random_uuid(), %s, %s,"
        " now() + least(%s::interval, %s::interval - interval '1 hour'),"
        " now() + %s::interval, 1, %s, %s, %s)",
        tenant_id, token, valid_from, valid_until, valid_until, values["used"], values["revoked_at"],
        values["agent"],
    )  # fmt: skip


def test_an_explanation_changes_nothing_but_the_trail(database, explain):
    """No call, permit or count comes of it, only an event that somebody asked."""
    _set(database, gap_s=60, agent_per_day=5)
    explain(None)
    for table in ("calls", "permits", "token_usage", "agent_usage", "policy_marks", "mint_buckets", "wrong_dials"):
        assert database.query(f"SELECT count(*) FROM shield.{table}") == [(0,)], table
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'policy.explained'") == [(1,)]


def test_a_tenant_without_a_policy_is_not_guarded(database, tenants):
    """The flag that makes calls ask more stands only while there is a rule."""
    guarded = "SELECT guarded FROM shield.tenants WHERE name = 'acme'"
    assert database.query(guarded) == [(False,)]
    assert (_set(database, gap_s=60), _set(database, gap_s=60)) == ("set", "unchanged")
    assert database.query(guarded) == [(True,)]
    assert _set(database, gap_s=None) == "set"
    assert database.query(guarded) == [(False,)]
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'policy.set'") == [(2,)]


REFUSED = (
    ({"hours": "{[0,10081)}"}, psycopg2.errors.CheckViolation),
    ({"time_zone": "Mars/Olympus"}, psycopg2.errors.InvalidParameterValue),
    ({"time_zone": "XYZ3"}, psycopg2.errors.InvalidParameterValue),
    ({"gap_s": 0}, psycopg2.errors.CheckViolation),
    ({"agent_per_day": -1}, psycopg2.errors.CheckViolation),
    ({"wrong_dials": 1}, psycopg2.errors.CheckViolation),
    ({"closed_days": ["soon"]}, psycopg2.errors.InvalidDatetimeFormat),
)


def test_what_is_no_rule_is_refused_by_the_database_too(database, tenants):
    """Whoever sets a policy past the command line is held by the same forms."""
    for changes, error in REFUSED:
        with pytest.raises(error):
            _set(database, **changes)


def test_a_worker_sees_and_sets_no_policy(database, worker):
    """What holds a worker is not the worker's to change."""
    with database.connect(database.login("worker", ["acme"])).cursor() as cursor:
        for statement in (
            "SELECT shield_api.set_policy('acme', '{}')",
            "SELECT * FROM shield_api.explain_call('acme', '1', '1', NULL)",
            "SELECT shield_api.unlock_agent('acme', '1', 'x')",
            "SELECT * FROM shield.policies",
            "DELETE FROM shield.agent_locks",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
