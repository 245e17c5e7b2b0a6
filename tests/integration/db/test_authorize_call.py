"""What the worker's one call answers and stores."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from shield_calls import TOKEN, Attempt, reasons

from esl_shield.errors.database import DatabaseRefused

CALL = "SELECT state, agent, token, alias, dialled_class, dialled_length, gateway, delivery, permits FROM shield.calls"


def test_an_allowed_call_stores_call_event_and_permit(database, worker):
    """An authenticated agent and a live token of the tenant make a call, an audit event and a permit."""
    attempt = Attempt()
    assert attempt.authorize(worker) == ("ALLOWED",)
    assert database.query(CALL) == [("AUTHORIZED", "1001", TOKEN, "customer-1", None, None, "carrier", "edge", 1)]
    permits = database.query("SELECT encode(permit_hash, 'hex'), call FROM shield.permits")
    assert permits == [(attempt.permit.hex(), str(attempt.call))]
    assert database.query("SELECT kind, token FROM shield.audit_events WHERE call = %s", str(attempt.call)) == [
        ("call.authorized", TOKEN)
    ]


def test_the_domain_is_compared_in_lower_case(worker):
    """SIP domains are the same in any case."""
    assert Attempt(domain="ACME.Example").authorize(worker)[0] == "ALLOWED"


@pytest.mark.parametrize(
    ("changed", "prepare", "verdict", "reason"),
    [
        ({"agent": None}, None, "FORBIDDEN", "agent_unauthenticated"),
        ({"agent": "1001\n"}, None, "FORBIDDEN", "agent_unauthenticated"),
        ({"agent": "x" * 65}, None, "FORBIDDEN", "agent_unauthenticated"),
        ({"token": None, "dialled_class": "telephone", "dialled_length": 11}, None, "NOT_FOUND", "token_malformed"),
        ({"token": "911"}, None, "NOT_FOUND", "token_malformed"),
        ({"token": "91000000000026"}, None, "NOT_FOUND", "token_unknown"),
        ({"token": "92000000000014"}, None, "NOT_FOUND", "token_unknown"),
        ({}, "UPDATE shield.tokens SET status = 'revoked'", "NOT_FOUND", "token_revoked"),
        ({}, "UPDATE shield.tokens SET expires_at = now()", "NOT_FOUND", "token_expired"),
        ({}, "UPDATE shield.tenants SET token_per_day = 0", "FORBIDDEN", "token_cap"),
        ({}, "UPDATE shield.tenants SET agent_per_hour = 0", "FORBIDDEN", "agent_cap"),
        ({}, "UPDATE shield.tenants SET tenant_per_day = 0", "FORBIDDEN", "tenant_cap"),
        ({}, "UPDATE shield.logins SET mint_per_s = 0", "FORBIDDEN", "mint_rate"),
    ],
)
def test_a_refusal_is_an_answer_with_its_reason_in_the_audit_event_only(
    database, worker, changed, prepare, verdict, reason
):
    """A refused call leaves a call record and an event with the reason, and no permit."""
    if prepare:
        database.query(prepare)
    assert Attempt(**changed).authorize(worker) == (verdict,)
    assert reasons(database, "call.refused") == [reason]
    assert database.query("SELECT state, permits, gateway, ended_at IS NOT NULL, talk_s FROM dba.calls") == [
        ("REFUSED", 0, None, True, None)
    ]
    assert database.query("SELECT 1 FROM shield.permits") == []


@pytest.mark.parametrize("domain", ["nowhere.example", "brick.example", "", None])
def test_an_unknown_domain_leaves_an_event_only(database, worker, domain):
    """A domain that is no tenant's, or another login's tenant's, is forbidden and makes no call record."""
    assert Attempt(domain=domain).authorize(worker) == ("FORBIDDEN",)
    assert reasons(database, "call.refused") == ["tenant_unknown"]
    assert database.query("SELECT 1 FROM shield.calls") == []


def test_what_fails_the_grammar_is_stored_as_class_and_length(database, worker):
    """Digits that are no token leave only their class and length."""
    Attempt(token=None, dialled_class="telephone", dialled_length=11).authorize(worker)
    Attempt(token=None, dialled_class="13800138000", dialled_length=99999).authorize(worker)
    assert database.query("SELECT dialled_class, dialled_length, token FROM shield.calls ORDER BY started_at") == [
        ("telephone", 11, None),
        ("other", 10000, None),
    ]


def test_a_token_that_does_not_exist_is_stored_nowhere(database, worker):
    """Fourteen digits that are no token of the tenant could be anything, so they are not kept."""
    Attempt(token="91000000000026").authorize(worker)
    assert database.query("SELECT token FROM shield.calls") == [(None,)]
    assert database.query("SELECT token FROM shield.audit_events WHERE kind = 'call.refused'") == [(None,)]


def test_a_call_id_is_taken_once(database, worker):
    """The same call id again is forbidden, makes no second record and no second permit."""
    attempt = Attempt()
    attempt.authorize(worker)
    again = Attempt(call=attempt.call)
    assert again.authorize(worker) == ("FORBIDDEN",)
    assert reasons(database, "call.refused") == ["call_repeated"]
    assert database.query("SELECT permits FROM shield.calls") == [(1,)]
    assert len(database.query("SELECT 1 FROM shield.permits")) == 1


@pytest.mark.parametrize(
    "broken",
    [{"permit": b"short"}, {"delivery": "carrier pigeon"}, {"gateway": "a b"}, {"call": None}, {"permit": None}],
)
def test_a_call_that_makes_no_sense_stores_nothing(database, worker, broken):
    """A worker that sends nonsense is told so by an error; no call, no event, no permit."""
    with pytest.raises(DatabaseRefused):
        Attempt(**broken).authorize(worker)
    assert database.query("SELECT 1 FROM shield.calls") == []
    assert database.query("SELECT 1 FROM shield.permits") == []


def test_without_an_audit_event_there_is_no_permit(database, worker):
    """When the audit event cannot be written the call is refused with an error and nothing of it stays."""
    database.query("ALTER TABLE shield.audit_events ADD CONSTRAINT broken CHECK (kind <> 'call.authorized') NOT VALID")
    with pytest.raises(DatabaseRefused) as caught:
        Attempt().authorize(worker)
    assert caught.value.sqlstate == "23514"
    assert database.query("SELECT 1 FROM shield.permits") == []
    assert database.query("SELECT 1 FROM shield.calls") == []


def test_the_worker_follows_its_call_to_the_end(database, worker):
    """Answered, then finished: the record has state, cause, code and times, and can be finished once."""
    attempt = Attempt()
    attempt.authorize(worker)
    assert worker.call("call_answered", attempt.call, "second") == [(True,)]
    assert worker.call("call_answered", attempt.call, "second") == [(False,)]
    assert worker.call(
        "finish_call", attempt.call, "COMPLETED", "NORMAL_CLEARING", 200, "second", 2,
        "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:12.5Z",
    ) == [(True,)]  # fmt: skip
    assert not attempt.finish(worker)
    row = database.query("SELECT state, hangup_cause, sip_code, gateway, attempts, talk_s::float FROM dba.calls")
    assert row == [("COMPLETED", "NORMAL_CLEARING", 200, "second", 2, 10.5)]


def test_a_finished_call_has_no_permits(database, worker, resolver):
    """The end of a call ends its permits."""
    attempt = Attempt()
    attempt.authorize(worker)
    assert attempt.finish(worker, "CANCELLED", "ORIGINATOR_CANCEL")
    assert attempt.redeem(resolver) == []


def test_what_is_no_cause_or_code_is_left_out(database, worker):
    """A cause that is no FreeSWITCH cause and a code that is no SIP code do not keep the record from being written."""
    attempt = Attempt()
    attempt.authorize(worker)
    values = ("FAILED", "+8613800138000", 42, None, -1, None, None, None)
    assert worker.call("finish_call", attempt.call, *values) == [(True,)]
    assert database.query("SELECT state, hangup_cause, sip_code, gateway, attempts FROM shield.calls") == [
        ("FAILED", None, None, "carrier", 0)
    ]


@pytest.mark.parametrize("state", ["AUTHORIZED", "ANSWERED", "DONE", None])
def test_a_call_ends_in_a_final_state(worker, state):
    """A state that is none, or not final, is an error."""
    attempt = Attempt()
    attempt.authorize(worker)
    with pytest.raises(DatabaseRefused):
        attempt.finish(worker, state)


def test_only_its_own_login_follows_a_call(database, worker, tenants):
    """Another worker's login, even of the same tenant, can neither answer, renew nor finish the call."""
    other = database.open(database.login("worker", ["acme"]))
    attempt = Attempt()
    attempt.authorize(worker)
    assert other.call("call_answered", attempt.call, "carrier") == [(False,)]
    assert attempt.finish(other) is False
    assert attempt.next_permit(other) == "FORBIDDEN"
    assert database.query("SELECT state, permits FROM shield.calls") == [("AUTHORIZED", 1)]


def test_an_unknown_call_is_not_followed(worker):
    """What was never authorised cannot be answered or finished."""
    assert worker.call("call_answered", uuid.uuid4(), "carrier") == [(False,)]
    assert Attempt().finish(worker) is False


def test_several_calls_are_told_in_one_statement(database, worker):
    """Each is judged by itself: one told twice, of nobody or already over changes nothing and is not counted."""
    attempts = [Attempt(agent=f"10{n:02d}") for n in range(3)]
    for attempt in attempts:
        attempt.authorize(worker)
    calls = [str(attempt.call) for attempt in attempts]
    rows = [{"call": call, "gateway": "second"} for call in (*calls[:2], str(uuid.uuid4()))]
    assert worker.call("calls_answered", rows) == [(2,)]
    assert worker.call("calls_answered", rows) == [(0,)]
    ends = [{"call": call, "state": "COMPLETED", "cause": "NORMAL_CLEARING"} for call in calls]
    assert worker.call("finish_calls", ends[:1]) == [(1,)]
    assert worker.call("finish_calls", ends) == [(2,)]
    assert database.query("SELECT agent, until_at IS NULL FROM shield.call_agents ORDER BY agent") == [
        ("1000", False), ("1001", False),
    ]  # fmt: skip
    assert database.query("SELECT count(*) FROM shield.permits") == [(0,)]


def test_a_row_that_cannot_be_ends_none_of_its_statement(database, worker):
    """A state no call ends in is refused with all that came with it, which the worker then tells one by one."""
    attempt = Attempt()
    attempt.authorize(worker)
    rows = [{"call": str(attempt.call), "state": "COMPLETED"}, {"call": str(uuid.uuid4()), "state": "ANSWERED"}]
    with pytest.raises(DatabaseRefused):
        worker.call("finish_calls", rows)
    assert database.query("SELECT state FROM shield.calls") == [("AUTHORIZED",)]


FACTS = {"country": "CN", "region": "Beijing", "time_zone": "Asia/Shanghai"}


def _dial(worker, token, alias=None, call=None):
    permit = hashlib.sha256(uuid.uuid4().bytes).digest()
    what = (
        call or uuid.uuid4(),
        "acme.example",
        "1001",
        token,
        None,
        None,
        permit,
        "carrier",
        "edge",
        None,
        uuid.uuid4(),
    )
    return worker.call("authorize_dial", *what, alias)[0]


def test_an_allowed_call_is_told_what_to_show_and_to_route_by(database, worker, tenants):
    """Business ID, what the tenant shows (a token where there is no other), alias, place, token; a refusal is bare."""
    token, bare, rowless = "91000000000026", "91000000000034", "95000000000018"
    database.tokens(tenants["acme"], token, alias="customer-2", **FACTS)
    database.tokens(tenants["acme"], bare)
    database.query("UPDATE shield.tenants SET requires_permission = true, rowless = true WHERE name = 'acme'")
    database.query(
        "INSERT INTO shield.token_prefixes (tenant_id, prefix, length, method, countries, ranges, line_types)"
        " VALUES (%s, '95', 14, 'crm', '{}', '{}', '{}')", tenants["acme"],
    )  # fmt: skip
    for each, ref in ((token, "T-1"), (bare, None), (rowless, "T-2")):
        database.query(
            "INSERT INTO shield.dial_permissions (id, tenant_id, token, ref, valid_from, valid_until)"
            " VALUES (gen_random_uuid(), %s, %s, %s, now() - interval '1 hour', now() + interval '1 hour')",
            tenants["acme"], each, ref,
        )  # fmt: skip
    for shows, shown in {
        "token": (token, bare, rowless),
        "alias": ("customer-2", bare, rowless),
        "ref": ("T-1", bare, "T-2"),
        "123456": ("123456", "123456", "123456"),
    }.items():
        database.query("UPDATE shield.tenants SET shows = %s WHERE name = 'acme'", shows)
        place = tuple(FACTS.values())
        expected = ("ALLOWED", "T-1", shown[0], "customer-2", *place, token)
        assert _dial(worker, token) == _dial(worker, None, "customer-2") == expected, shows
        assert _dial(worker, bare) == ("ALLOWED", None, shown[1], None, None, None, None, bare), shows
        assert _dial(worker, rowless) == ("ALLOWED", "T-2", shown[2], None, None, None, None, rowless), shows
    call = uuid.uuid4()
    assert _dial(worker, token, call=call)[0] == "ALLOWED"
    assert _dial(worker, token, call=call) == ("FORBIDDEN", *[None] * 7)
    database.query("UPDATE shield.tokens SET status = 'revoked'")
    assert _dial(worker, token) == ("NOT_FOUND", *[None] * 7)
