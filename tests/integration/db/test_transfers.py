"""Who talked to a customer, and which transferred leg may be connected to a token."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from shield_calls import TOKEN, Attempt, reasons

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AGENTS = "SELECT agent, from_at, until_at FROM shield.call_agents WHERE call = %s ORDER BY position"


def answered(worker, **changed):
    """A call that was answered, its customer's leg in ``sip_call_id``."""
    attempt = Attempt(sip_call_id=str(uuid.uuid4()), **changed)
    assert attempt.authorize(worker) == ("ALLOWED",)
    assert worker.call("call_answered", attempt.call, "carrier") == [(True,)]
    return attempt


def transfer(worker, leg, *, domain="acme.example", token=TOKEN, call=None):
    """Ask whether the leg may be connected to a token; the new call and the verdict."""
    attempt = Attempt(token=token, sip_call_id=str(uuid.uuid4()), call=call or uuid.uuid4())
    verdict = worker.call(
        "authorize_transfer", attempt.call, domain, token, None, None, attempt.permit, "carrier", "edge",
        attempt.sip_call_id, leg,
    )[0][0]  # fmt: skip
    return attempt, verdict


def test_the_agent_who_called_talks_from_the_answer_to_the_end(database, worker):
    """An ordinary call has one agent, without a statement of its own."""
    attempt = answered(worker)
    end = AT + timedelta(seconds=90)
    worker.call("finish_call", attempt.call, "COMPLETED", "NORMAL_CLEARING", 200, "carrier", 1, None, AT, end)
    assert database.query(AGENTS, str(attempt.call)) == [("1001", AT, end)]


def test_agents_come_and_go(database, worker):
    """Each leg that joins is a row, one that leaves gets its end, whoever is left ends with the call."""
    attempt, second, third = answered(worker), uuid.uuid4(), uuid.uuid4()
    assert worker.call("call_joined", attempt.call, "1002", second, AT + timedelta(seconds=10)) == [(True,)]
    assert worker.call("call_joined", attempt.call, "1003", third, AT + timedelta(seconds=20)) == [(True,)]
    assert worker.call("call_left", attempt.call, second, AT + timedelta(seconds=30)) == [(True,)]
    end = AT + timedelta(seconds=40)
    worker.call("finish_call", attempt.call, "COMPLETED", "NORMAL_CLEARING", 200, "carrier", 1, None, AT, end)
    assert database.query(AGENTS, str(attempt.call)) == [
        ("1001", AT, end),
        ("1002", AT + timedelta(seconds=10), AT + timedelta(seconds=30)),
        ("1003", AT + timedelta(seconds=20), end),
    ]
    assert database.query("SELECT agents FROM dba.calls") == [(["1001", "1002", "1003"],)]
    assert database.query("SELECT agent, talk_s FROM dba.call_agents WHERE position = 2") == [("1002", 20)]


@pytest.mark.parametrize("agent", [None, "", "x" * 65, "1002\n"])
def test_who_has_no_name_does_not_join(worker, agent):
    """A name is text without control characters, at most 64."""
    assert worker.call("call_joined", answered(worker).call, agent, uuid.uuid4(), AT) == [(False,)]


def test_nobody_joins_twice_or_leaves_unseen(worker):
    """A leg that talks already does not join; one that does not talk does not leave."""
    attempt, leg = answered(worker), uuid.uuid4()
    assert worker.call("call_joined", attempt.call, "1002", leg, AT) == [(True,)]
    assert worker.call("call_joined", attempt.call, "1002", leg, AT) == [(False,)]
    assert worker.call("call_left", attempt.call, uuid.uuid4(), AT) == [(False,)]


def test_only_the_calls_own_login_tells_who_talks(database, worker):
    """Another worker of the same tenant neither adds nor ends a row, nor does anybody after the call."""
    attempt, leg = answered(worker), uuid.uuid4()
    other = database.open(database.login("worker", ["acme"]))
    assert other.call("call_joined", attempt.call, "1002", leg, AT) == [(False,)]
    assert worker.call("call_joined", attempt.call, "1002", leg, AT) == [(True,)]
    assert other.call("call_left", attempt.call, leg, AT) == [(False,)]
    assert attempt.finish(worker)
    assert worker.call("call_left", attempt.call, leg, AT) == [(False,)]
    assert worker.call("call_joined", attempt.call, "1003", uuid.uuid4(), AT) == [(False,)]


def test_a_transfer_has_the_right_of_the_agent_who_talked_last(database, worker):
    """The new call is that agent's and names the call it comes from; both are in one audit event."""
    first = answered(worker)
    worker.call("call_joined", first.call, "1002", uuid.uuid4(), AT)
    second, verdict = transfer(worker, first.sip_call_id)
    assert verdict == "ALLOWED"
    row = "SELECT agent, referred_by, channel, customer_channel FROM shield.calls WHERE id = %s"
    assert database.query(row, str(second.call)) == [("1002", str(first.call), first.sip_call_id, second.sip_call_id)]
    event = "SELECT call, agent, token, detail FROM shield.audit_events WHERE kind = 'call.transferred'"
    detail = {"to_call": str(second.call), "verdict": "allowed"}
    assert database.query(event) == [(str(first.call), "1002", TOKEN, detail)]


def test_the_referring_agent_did_not_talk(database, worker):
    """A call between two customers lists no agent."""
    second, _ = transfer(worker, answered(worker).sip_call_id)
    worker.call("call_answered", second.call, "carrier")
    assert second.finish(worker)
    assert database.query(AGENTS, str(second.call)) == []


def forged(database, worker, first):
    return str(uuid.uuid4())


def not_answered(database, worker, first):
    attempt = Attempt(sip_call_id=str(uuid.uuid4()))
    attempt.authorize(worker)
    return attempt.sip_call_id


def ended(database, worker, first):
    first.finish(worker)
    return first.sip_call_id


def agents_leg(database, worker, first):
    return database.query("SELECT channel FROM shield.calls WHERE id = %s", str(first.call))[0][0]


def of_direct_delivery(database, worker, first):
    attempt = Attempt(delivery="direct")
    attempt.authorize(worker)
    worker.call("call_answered", attempt.call, "carrier")
    return database.query("SELECT customer_channel FROM shield.calls WHERE id = %s", str(attempt.call))[0][0]


@pytest.mark.parametrize("leg", [forged, not_answered, ended, agents_leg, of_direct_delivery])
def test_a_leg_of_no_live_call_is_no_token(database, worker, leg):
    """404 as for an unknown token; no call, no permit, an audit event with the reason."""
    first = answered(worker)
    second, verdict = transfer(worker, leg(database, worker, first))
    assert verdict == "NOT_FOUND"
    assert database.query("SELECT FROM shield.calls WHERE id = %s", str(second.call)) == []
    assert database.query("SELECT FROM shield.permits WHERE call = %s", str(second.call)) == []
    assert reasons(database, "call.refused") == ["transfer_unknown"]


@pytest.mark.parametrize(("domain", "token"), [("brick.example", TOKEN), ("acme.example", "92000000000014")])
def test_a_transfer_stays_within_its_tenant(database, tenants, domain, token):
    """Neither another tenant's domain nor its token is reached, even by a login that sees both."""
    worker = database.open(database.login("worker"))
    _, verdict = transfer(worker, answered(worker).sip_call_id, domain=domain, token=token)
    assert verdict == "NOT_FOUND"


def test_another_tenants_worker_transfers_nothing(database, worker):
    """A login that does not see the call cannot use its leg."""
    first = answered(worker)
    stranger = database.open(database.login("worker", ["brick"]))
    assert transfer(stranger, first.sip_call_id)[1] == "NOT_FOUND"


def test_caps_of_the_referring_agent_hold(database, worker):
    """A transfer counts like a call that agent dials; the refusal is recorded with the call it comes from."""
    first = answered(worker)
    database.query("UPDATE shield.tenants SET agent_per_hour = 1")
    _, verdict = transfer(worker, first.sip_call_id)
    assert verdict == "ALLOWED"
    refused, verdict = transfer(worker, first.sip_call_id)
    assert verdict == "FORBIDDEN"
    row = database.query("SELECT state, referred_by FROM shield.calls WHERE id = %s", str(refused.call))
    assert row == [("REFUSED", str(first.call))]


def test_a_repeated_call_id_changes_nothing(database, worker):
    """An id in use is refused, and the call it belongs to keeps its own story."""
    first, other = answered(worker), answered(worker)
    assert transfer(worker, first.sip_call_id, call=other.call)[1] == "FORBIDDEN"
    assert database.query("SELECT referred_by FROM shield.calls WHERE id = %s", str(other.call)) == [(None,)]


def test_a_second_gateway_moves_the_customers_leg(database, worker):
    """Of a call that failed over, only the leg that was answered can be transferred."""
    attempt = Attempt(sip_call_id=str(uuid.uuid4()))
    attempt.authorize(worker)
    before, attempt.sip_call_id = attempt.sip_call_id, str(uuid.uuid4())
    assert attempt.next_permit(worker) == "ALLOWED"
    worker.call("call_answered", attempt.call, "carrier")
    assert transfer(worker, before)[1] == "NOT_FOUND"
    assert transfer(worker, attempt.sip_call_id)[1] == "ALLOWED"
