"""Customers' calls through a real Kamailio and a real FreeSWITCH to a real phone: masked, ringing, recorded.

The table is that of ``test_real_leaks``, a column for each temper of the caller; every row on our side is nought.
"""

from __future__ import annotations

import shutil

import pytest
import scenarios as sip
from census import Census, table
from edge_lab import SECRET, Edge
from lab import DOMAIN
from polling import until
from ports import HOST
from shield import Shield
from stage import CARRIER_A

from esl_shield.audit import known

DID = "+862160001111"
ROWS: dict[str, dict[str, int]] = {}
OUTSIDE = ("carrier: INVITEs", "other carriers")

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture(scope="module", autouse=True)
def printed_table(measured):
    """Add the table when all columns are known."""
    yield
    measured.append("\ncalls that come in\n" + table(ROWS))


@pytest.fixture
def edge(stage, tmp_path):
    """The edge between FreeSWITCH and the customers' carrier, for both directions."""
    lines = [
        f"1 sip:{HOST}:{stage.port_of(CARRIER_A)} 0 9 name=alpha",
        f"90 sip:{HOST}:5060 0 0 name=alpha;caller_prefix=+",
        f"91 sip:{HOST}:{stage.ports.inbound} 8 0 name=switch;sockname=inside",
    ]
    resolver = f"http://{HOST}:{stage.ports.resolver}/redeem"
    edge = Edge(tmp_path / "edge", resolver, lines, inside=stage.ports.edge, inbound=True)
    yield edge
    edge.stop()


@pytest.fixture
def shield(database, stage):
    """The tenant with one DID, its resolver and its worker."""
    shield = Shield(database, stage, edge=SECRET)
    shield.did(DID, "1001")
    shield.resolver()
    shield.worker()
    return shield


def _nothing_left(switch, tap, shield, edge, desk, number, token):
    forms = known.encodings(number, token)
    assert not known.scan_tree(switch.folder, forms)
    assert not known.scan_bytes(b"\n".join(tap.events), forms)
    assert not known.scan_bytes("\n".join(m.text for m in desk.messages).encode(), forms)
    assert not known.scan_bytes(shield.dump(), forms)
    assert not known.scan_bytes(edge.log.read_bytes(), forms)


@pytest.mark.parametrize(
    ("name", "number", "hostile", "desk_hangs_up"),
    [
        ("polite", "+8613800138090", False, True),
        ("hostile", "+8613800138091", True, True),
        ("hostile, hangs up", "+8613800138092", True, False),
    ],
)
def test_the_agent_sees_a_token_and_can_call_it_back(
    stage, switch, tap, edge, shield, name, number, hostile, desk_hangs_up
):
    """The phone shows the caller's token, nothing on our side holds the number, and the token dialled reaches it."""
    census = Census(switch, tap)
    desk = stage.desk(sip.carrier_hangs_up(hostile=hostile) if desk_hangs_up else sip.carrier_answers(hostile=hostile))
    caller = sip.customer_calls(number, hostile=hostile, hangs_up_after_ms=-1 if desk_hangs_up else 800)
    customer = stage.customer(caller, did=DID, to=edge.outside[1])
    until(lambda: switch.channels() == 2 or customer.process.poll() is not None, "both legs are listed")
    while_up = census.look()
    assert customer.wait() == 0, customer.statuses
    census.settle()
    row = ROWS[f"in, {name}"] = census.count(number, agent=desk, carrier=desk, others=[], while_up=while_up)
    assert {place: count for place, count in row.items() if count} == {}
    (record,) = shield.calls()
    call = shield.call("COMPLETED")
    assert (call["direction"], call["did"], call["agent"]) == ("inbound", DID, "1001"), record
    token = call["token"]
    (invite,) = {m.text for m in desk.invites}
    assert f'"{token}" <sip:{token}@' in invite
    _nothing_left(switch, tap, shield, edge, desk, number, token)
    back = stage.carrier(CARRIER_A, sip.carrier_answers())
    phone = stage.agent(sip.agent_talks("1001", DOMAIN), dialled=token)
    assert phone.wait() == 0, phone.statuses
    assert all(m.first_line.startswith(f"INVITE sip:{number}@") for m in back.invites)
    assert back.invites


def test_a_queue_takes_the_call(stage, switch, tap, edge, shield):
    """queue:NAME: mod_callcenter answers and finds an agent, whose name and whose answer the record has."""
    if not switch.esl.api("module_exists mod_callcenter").startswith("true"):
        pytest.skip("this FreeSWITCH has no mod_callcenter")
    shield.did(DID, "1009", f"queue:sales@{DOMAIN}")
    number = "+8613800138093"
    desk = stage.desk(sip.carrier_answers(), user="1002")
    customer = stage.customer(sip.customer_calls(number, hangs_up_after_ms=4000), did=DID, to=edge.outside[1])
    until(lambda: [call["state"] for call in shield.calls()] == ["ANSWERED"], "an agent has answered", within_s=8)
    assert customer.wait() == 0, customer.statuses
    call = shield.call("COMPLETED")
    assert (call["agent"], call["attempts"], call["answered_at"] > call["started_at"]) == ("1002", 2, True)
    token = call["token"]
    assert any(f'"{token}" <sip:{token}@' in m.text for m in desk.invites)
    switch.quiet()
    _nothing_left(switch, tap, shield, edge, desk, number, token)


def test_a_caller_who_withholds_the_number_is_anonymous(stage, switch, tap, edge, shield):
    """The phone rings showing anonymous, the call is recorded without a token, and the number is nowhere."""
    number = "+8613800138094"
    desk = stage.desk(sip.carrier_hangs_up())
    customer = stage.customer(sip.customer_calls(number, withheld=True), did=DID, to=edge.outside[1])
    assert customer.wait() == 0, customer.statuses
    call = shield.call("COMPLETED")
    assert (call["token"], call["agent"], call["direction"]) == (None, "1001", "inbound")
    assert any('"anonymous" <sip:anonymous@' in m.text for m in desk.invites)
    switch.quiet()
    _nothing_left(switch, tap, shield, edge, desk, number, "70000000000000")


def test_the_agent_who_called_last_is_rung_first(stage, switch, edge, shield):
    """A customer who was called by 1002 reaches 1002, whatever the DID says; after that the DID's own agent."""
    number = "+8613800138095"
    token = shield.token(number)
    stage.carrier(CARRIER_A, sip.carrier_answers())
    phone = stage.agent(sip.agent_talks("1002", DOMAIN), dialled=token, user="1002")
    assert phone.wait() == 0, phone.statuses
    switch.quiet()
    desk = stage.desk(sip.carrier_hangs_up(), user="1002")
    customer = stage.customer(sip.customer_calls(number), did=DID, to=edge.outside[1])
    assert customer.wait() == 0, customer.statuses
    assert desk.invites
    until(lambda: [call["state"] for call in shield.calls()] == ["COMPLETED"] * 2, "both calls are recorded")
    assert [(call["direction"], call["agent"], call["token"]) for call in shield.calls()] == [
        ("outbound", "1002", token), ("inbound", "1002", token),
    ]  # fmt: skip
    desk.stop()
    other = stage.desk(sip.carrier_hangs_up())
    customer = stage.customer(sip.customer_calls(number), did=DID, to=edge.outside[1])
    assert customer.wait(30) == 0, customer.statuses
    assert other.invites
    until(lambda: shield.calls()[-1]["state"] == "COMPLETED", "the third call is recorded")
    assert (shield.calls()[-1]["agent"], shield.calls()[-1]["attempts"]) == ("1001", 2)


def test_without_a_worker_a_customer_hears_503(database, stage, edge):
    """Nobody takes the call over: FreeSWITCH refuses at once, and so does the edge."""
    shield = Shield(database, stage, edge=SECRET)
    shield.did(DID, "1001")
    shield.resolver()
    customer = stage.customer(sip.customer_calls("+8613800138096"), did=DID, to=edge.outside[1])
    until(lambda: 503 in customer.statuses, "the customer hears 503", within_s=8)


def test_an_agent_who_dials_a_did_is_no_customer(stage, switch, shield):
    """A DID dialled on an agent's phone is refused as any digits that are no token."""
    phone = stage.agent(sip.agent_is_refused("1001", DOMAIN, 404), dialled=DID)
    assert phone.wait() == 0, phone.statuses
    assert [call["direction"] for call in shield.calls()] == ["outbound"]
