"""Transferred calls through a real worker and PostgreSQL: what a real FreeSWITCH said is played to it again."""

from __future__ import annotations

import threading

import pytest
from esl_replay import Replay
from fix_site import SHOP, eventually

DID = "+442079460950"
TALKERS = "SELECT agent, until_at >= from_at AS ended FROM dba.call_agents WHERE call = %s ORDER BY position"


@pytest.fixture(scope="module")
def did(call_centre):
    """A DID of the shop's, which rings at 1001, as a recording writes it."""
    call_centre.site.run("admin", "did", "add", DID, "--tenant", "shop", "--to", "1001")
    return DID.replace("+", "%2B")


def record(call_centre, replay):
    """The CDR of a played conversation."""

    def final():
        rows = call_centre.query("SELECT * FROM dba.calls WHERE channel = %s", replay.channel)
        return rows[0] if rows and rows[0]["state"] not in ("AUTHORIZED", "ANSWERED") else None

    return eventually(final)


def talkers(call_centre, call):
    """Agents in order; each must have an end."""
    rows = call_centre.query(TALKERS, call["id"])
    assert all(row["ended"] for row in rows)
    return [row["agent"] for row in rows]


@pytest.mark.parametrize(
    ("name", "agents"),
    [
        ("blind-transfer", ["1001", "1002"]),
        ("attended-transfer", ["1001", "1002"]),
        ("attended-transfer-to-token", ["1001"]),
        ("conference", ["1001", "1001", "1002"]),
        ("pickup", ["1001", "1003"]),
    ],
)
def test_the_record_ends_with_the_customer_and_names_every_agent(call_centre, name, agents):
    """The agent's leg ends long before the customer's; the CDR says COMPLETED and who talked."""
    replay = Replay(name, dialled=call_centre.token(SHOP, 40), domain=SHOP.domain)
    replay.play(call_centre.worker)
    call = record(call_centre, replay)
    assert (call["state"], call["hangup_cause"]) == ("COMPLETED", "NORMAL_CLEARING")
    assert sorted(talkers(call_centre, call)) == agents
    assert str(call["customer_channel"]) == replay.customer


def test_a_transferred_customer_reaches_a_token_while_the_call_lives(call_centre):
    """The second call is authorised by the first, names it, and lists nobody; the first ends with its own customer."""
    first = Replay("transfer-to-token-first", dialled=call_centre.token(SHOP, 41), domain=SHOP.domain)
    first.goes_on.clear()
    thread = threading.Thread(target=first.play, args=(call_centre.worker,), daemon=True)
    thread.start()
    live = "SELECT 1 FROM dba.calls WHERE channel = %s AND state = 'ANSWERED'"
    eventually(lambda: call_centre.query(live, first.channel))
    token = call_centre.token(SHOP, 42)
    second = Replay("transfer-to-token-second", dialled=token, domain=SHOP.domain, channel=first.customer)
    second.play(call_centre.worker)
    to = record(call_centre, second)
    first.goes_on.set()
    thread.join(10)
    call = record(call_centre, first)
    assert (to["state"], to["agent"], to["token"], to["referred_by"]) == ("COMPLETED", "1001", token, call["id"])
    assert talkers(call_centre, to) == []
    assert call["state"] == "COMPLETED"
    assert talkers(call_centre, call) == ["1001"]
    kinds = [row["kind"] for row in call_centre.query("SELECT kind FROM dba.audit_events WHERE call = %s", call["id"])]
    assert "call.transferred" in kinds


def test_a_transferred_leg_of_no_live_call_gets_404(call_centre):
    """A leg the database knows nothing of is answered like an unknown token, and no call is recorded."""
    forged = Replay("transfer-to-token-second", dialled=call_centre.token(SHOP, 43), domain=SHOP.domain)
    with pytest.raises(AssertionError, match="respond"):
        forged.play(call_centre.worker)
    assert call_centre.query("SELECT 1 FROM dba.calls WHERE channel = %s", forged.channel) == []


@pytest.mark.parametrize(
    ("name", "agents", "agent"),
    [
        ("inbound-blind-transfer", ["1001", "1002"], "1001"),
        ("inbound-attended-transfer", ["1001", "1002"], "1001"),
        ("inbound-conference", ["1001", "1001", "1002"], "1001"),
        ("inbound-pickup", ["1003"], "1003"),
    ],
)
def test_a_customer_who_called_in_is_followed_to_the_end(call_centre, did, name, agents, agent):
    """The parked leg is the customer's: its record names whoever talked, and ends when it does."""
    caller = call_centre.token(SHOP, 44)
    replay = Replay(name, dialled=did, domain=SHOP.domain, caller=caller)
    replay.play(call_centre.worker)
    call = record(call_centre, replay)
    assert (call["state"], call["hangup_cause"], call["token"]) == ("COMPLETED", "NORMAL_CLEARING", caller)
    assert (call["direction"], call["agent"], call["did"]) == ("inbound", agent, DID)
    assert sorted(talkers(call_centre, call)) == agents


def test_a_customer_who_called_in_reaches_a_token_while_the_call_lives(call_centre, did):
    """The second call is the outbound one of the agent who answered, and names the first."""
    caller, token = call_centre.token(SHOP, 45), call_centre.token(SHOP, 46)
    first = Replay("inbound-transfer-to-token-first", dialled=did, domain=SHOP.domain, caller=caller)
    first.goes_on.clear()
    thread = threading.Thread(target=first.play, args=(call_centre.worker,), daemon=True)
    thread.start()
    live = "SELECT 1 FROM dba.calls WHERE channel = %s AND state = 'ANSWERED' AND agents = '{1001}'"
    eventually(lambda: call_centre.query(live, first.channel))
    second = Replay(
        "inbound-transfer-to-token-second", dialled=token, domain=SHOP.domain, caller=caller, channel=first.channel
    )  # fmt: skip
    second.play(call_centre.worker)
    first.goes_on.set()
    thread.join(10)
    both = "SELECT * FROM dba.calls WHERE channel = %s ORDER BY started_at"
    eventually(lambda: all(row["state"] == "COMPLETED" for row in call_centre.query(both, first.channel)))
    call, to = call_centre.query(both, first.channel)
    assert (call["direction"], call["agent"]) == ("inbound", "1001")
    assert (to["direction"], to["agent"], to["token"], to["referred_by"]) == ("outbound", "1001", token, call["id"])
    assert talkers(call_centre, call) == ["1001"]
    assert talkers(call_centre, to) == []


@pytest.mark.parametrize("name", ["blind-transfer", "inbound-blind-transfer"])
def test_a_caller_who_is_gone_at_once_has_cancelled(call_centre, did, name):
    """The leg was hung up before the worker could dress it: nobody failed."""
    caller = call_centre.token(SHOP, 47)
    incoming = {"dialled": did, "caller": caller} if "inbound" in name else {"dialled": caller}
    replay = Replay(name, domain=SHOP.domain, **incoming)
    replay.hang_up_at_once(call_centre.worker)
    call = record(call_centre, replay)
    assert (call["state"], call["hangup_cause"], call["sip_code"]) == ("CANCELLED", "ORIGINATOR_CANCEL", 487)
