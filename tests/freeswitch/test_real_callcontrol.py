"""Call control on a real FreeSWITCH with the edge: what agents do in a call, who is recorded, and that nothing leaks.

Every test ends with the census of all places inside, which must be nought; the customers' carrier is hostile
throughout.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cast import Cast, inside, until_bridged
from census import table
from lab import AGENT_PASSWORD, DOMAIN
from phones import Phone
from polling import until
from shield import TENANT, Shield
from stage import CARRIER_A
from tape import Tape

from esl_shield.audit import known

if TYPE_CHECKING:
    from lines import Line

ROWS: dict[str, dict[str, int]] = {}
PLACES = ("other customers", *(f"any form: {place}" for place in ("files", "events", "phones", "ours", "edge")))
_numbers = (f"+86138001382{i:02d}" for i in itertools.count())

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture(scope="module", autouse=True)
def printed_table(measured):
    """Add the table when all columns are known."""
    yield
    more = "\n".join(f"| {place} | " + " | ".join(str(row[place]) for row in ROWS.values()) + " |" for place in PLACES)
    measured.append("\ncall control with the edge, hostile carrier\n" + table(ROWS) + "\n" + more)


@pytest.fixture
def cast(database, stage, tap, tmp_path, request):
    """A site; at the end of each test nothing inside holds a number."""
    name = request.node.name.removeprefix("test_").replace("_", "-")
    # CONTROL_TAPES=FOLDER records what FreeSWITCH and the worker say: the files of data/control.
    tapes = os.environ.get("CONTROL_TAPES")
    cast = Cast(database, stage, tap, tmp_path, tape=Path(tapes) / name if tapes else None)
    yield cast
    cast.switch.esl.api("hupall NORMAL_CLEARING")  # what a failed test left
    row = cast.leaves()
    ROWS[request.node.name.removeprefix("test_").replace("_", " ")] = row
    assert inside(row) == {}


@pytest.fixture
def number():
    """A number of the test's own."""
    return next(_numbers)


def hears(listener, line=None):
    """Wait until sound reaches a telephone."""
    before = listener.media.loud
    until(lambda: listener.media.loud > before + 5, f"{listener.name} hears somebody")


def shows(line: Line, token: str) -> bool:
    """Whether the telephone that was called sees the customer's token as the caller."""
    assert line.invite
    return token in line.invite["from"]


def test_hold_and_unhold(cast, number):
    """Held by the agent the customer hears music, then the agent again; held by the customer the agent hears music."""
    agent = cast.agent("1001")
    line, customer = cast.connect(agent, number)
    line.hold()
    hears(cast.customers)
    line.unhold()
    agent.media.speaks = True
    hears(cast.customers)
    agent.media.speaks = False
    customer.hold()
    hears(agent)
    customer.unhold()
    cast.customers.media.speaks = True
    hears(agent)
    cast.look()
    line.hang_up()
    assert cast.talkers(number) == [("1001", True)]
    assert cast.call(number)["state"] == "COMPLETED"


def test_a_new_offer_before_the_last_ones_ack_may_come_again(cast, number):
    """FreeSWITCH refuses it as RFC 3261 14.2 says; the edge tells the customer when to ask again, and then it works."""
    line, customer = cast.connect(cast.agent("1001"), number)
    customer.acknowledges = False
    assert customer.offer("sendonly") == (200, None)
    status, retry_after_s = customer.offer("sendrecv")
    assert status == 500
    assert retry_after_s in range(11)
    customer.acknowledges = True
    until(lambda: customer.offer("sendrecv")[0] == 200, "the ACK of the next copy has arrived")
    line.hang_up()


def test_digits_by_rfc_4733_both_ways(cast, number):
    """Named events reach the other side, and so does an INFO of one side as an event of the other."""
    agent = cast.agent("1001")
    line, customer = cast.connect(agent, number)
    until(lambda: agent.media.packets and cast.customers.media.packets, "audio flows")
    for signal in "5#":
        agent.media.press(signal)
    cast.customers.media.press("7")
    until(lambda: cast.customers.media.digits == ["5", "#"] and agent.media.digits == ["7"], "events arrive")
    line.info("3")
    customer.info("4")
    until(lambda: cast.customers.media.digits[2:] == ["3"] and agent.media.digits[1:] == ["4"], "INFO arrives")
    line.hang_up()


def test_digits_by_info_both_ways(cast, number):
    """Where nobody offers events, an INFO passes FreeSWITCH and the edge as an INFO."""
    cast.customers.events = False
    agent = cast.agent("1001", events=False)
    line, customer = cast.connect(agent, number)
    line.info("3")
    customer.info("4")
    for phone, signal in ((customer, "3"), (line, "4")):
        until(lambda: [m.body[:8] for m in phone.requests("INFO")] == [f"Signal={signal}"], "INFO")  # noqa: B023
    line.hang_up()


def test_session_timers(cast, number):
    """FreeSWITCH refreshes towards both sides; a side that promised to refresh and does not loses its call."""
    number_2 = next(_numbers)
    refreshed = cast.agent("1001", session_expires="90;refresher=uas")
    silent = cast.agent("1002", session_expires="90;refresher=uac")
    cast.customers.answer_with = (("Session-Expires", "90;refresher=uac"), ("Require", "timer"))
    line, customer = cast.connect(refreshed, number)
    cast.customers.answer_with = ()
    lost, its_customer = cast.connect(silent, number_2)
    assert "90" in line.session_expires
    line.refresh(("Session-Expires", "90;refresher=uas"), ("Supported", "timer"))
    its_customer.refresh(("Session-Expires", "1800;refresher=uac"), ("Supported", "timer"))
    for side, invites in ((line, 0), (customer, 1)):
        until(lambda: len(side.requests("UPDATE") + side.requests("INVITE")) > invites, "a refresh", within_s=60)  # noqa: B023
    lost.until_ended(within_s=90)
    its_customer.until_ended()
    assert not line.ended
    assert cast.call(number_2)["state"] == "COMPLETED"
    line.hang_up()


def test_blind_transfer_to_an_extension(cast, number):
    """The colleague sees the token; the record goes on to the customer's end and names both agents."""
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    line, customer = cast.connect(agent, number)
    line.refer("1002")
    line.until_ended()
    cast.until_talks(number, "1002")
    cast.look()
    assert shows(colleague.ringing(), cast.token(number))
    assert "SIP/2.0 200 OK" in line.notified()
    assert cast.shield.calls()[0]["state"] == "ANSWERED"
    customer.hang_up()
    colleague.ringing().until_ended()
    assert cast.talkers(number) == [("1001", True), ("1002", True)]
    call = cast.call(number)
    assert (call["state"], call["hangup_cause"], call["agents"]) == ("COMPLETED", "NORMAL_CLEARING", ["1001", "1002"])


def test_a_colleague_who_is_busy_ends_the_call(cast, number):
    """A blind transfer to nobody ends with the customer's leg; only the first agent talked."""
    line, customer = cast.connect(cast.agent("1001"), number)
    line.refer("1003")
    customer.until_ended()
    assert cast.talkers(number) == [("1001", True)]


def test_a_colleague_who_forwards_reaches_nobody(cast, number):
    """A 302 of a colleague's phone is not followed, wherever it points."""
    cast.agent("1002", forwards_to=f"13800138000@127.0.0.1:{cast.nobody.port}")
    line, customer = cast.connect(cast.agent("1001"), number)
    line.refer("1002")
    customer.until_ended()
    assert not cast.nobody.heard
    assert cast.talkers(number) == [("1001", True)]


def test_attended_transfer(cast, number):
    """The agent asks a colleague, then connects them: the colleague's phone gets no number on Replaces or NOTIFY."""
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    line, customer = cast.connect(agent, number)
    line.hold()
    asked = agent.dial("1002").until_answered()
    line.refer("1002", replaces=asked)
    line.until_ended()
    asked.until_ended()
    cast.until_talks(number, "1002")
    cast.look()
    cast.customers.media.speaks = True
    hears(colleague)
    colleague.ringing().hang_up()
    customer.until_ended()
    assert cast.talkers(number) == [("1001", True), ("1002", True)]


def test_attended_transfer_to_a_token(cast, number):
    """The agent calls two customers and connects them: each hears the other and neither learns the other's number."""
    number_2 = next(_numbers)
    agent = cast.agent("1001")
    line, customer = cast.connect(agent, number)
    line.hold()
    asked, other = cast.connect(agent, number_2)
    line.refer(cast.token(number_2), replaces=asked)
    line.until_ended()
    asked.until_ended()
    cast.until_talks(number)
    cast.until_talks(number_2)
    cast.look()
    assert not customer.ended
    assert not other.ended
    customer.hang_up()
    other.until_ended()
    assert cast.talkers(number) == cast.talkers(number_2) == [("1001", True)]


def test_blind_transfer_to_a_token(cast, number):
    """A customer is connected to another by the agent's right; two records, one audit event with both, both masked."""
    number_2 = next(_numbers)
    line, customer = cast.connect(cast.agent("1001"), number)
    line.refer(cast.token(number_2))
    other = cast.customers.ringing(2)
    line.until_ended()
    cast.until_talks(number)
    cast.look()
    hung_up_by = other
    hung_up_by.hang_up()
    customer.until_ended()
    first, second = cast.call(number), cast.call(number_2)
    assert (first["state"], second["state"]) == ("COMPLETED", "COMPLETED")
    assert (second["agent"], second["agents"], second["referred_by"]) == ("1001", None, first["id"])
    assert second["talk_s"] > 0
    ((call, detail),) = cast.shield.database.query(
        "SELECT call, detail FROM dba.audit_events WHERE kind = 'call.transferred'"
    )
    assert (call, detail) == (first["id"], {"to_call": second["id"], "verdict": "allowed"})


@pytest.mark.parametrize(
    "target", ["70001234567894", "9613800138000", "86", "*91002"], ids=["token", "number", "short", "feature code"]
)
def test_a_transfer_to_nothing_ends_the_customers_call(cast, number, target):
    """An unknown token, a number, a feature code not for transfers: the customer is released, nobody is called."""
    line, customer = cast.connect(cast.agent("1001"), number)
    line.refer(target)
    customer.until_ended()
    assert len(cast.customers.called()) == 1
    assert cast.call(number)["state"] == "COMPLETED"


def test_a_second_transfer_to_a_token_is_the_second_agents(cast, number):
    """The right is that of the agent who talked last, and counts against that agent's cap."""
    number_2 = next(_numbers)
    colleague = cast.agent("1002")
    line, customer = cast.connect(cast.agent("1001"), number)
    line.refer("1002")
    cast.until_talks(number, "1002")
    colleague.ringing().refer(cast.token(number_2))
    cast.customers.ringing(2)
    cast.until_talks(number)
    customer.hang_up()
    assert cast.call(number_2)["agent"] == "1002"


def test_a_cap_refuses_a_transfer_to_a_token(cast, number):
    """The referring agent's caps count as if that agent had dialled."""
    number_2 = next(_numbers)
    line, customer = cast.connect(cast.agent("1001"), number)
    cast.shield.database.query("SELECT shield_api.set_caps(%s, NULL, 0, NULL)", TENANT)
    line.refer(cast.token(number_2))
    customer.until_ended()
    assert len(cast.customers.called()) == 1
    del cast.called[number_2]  # never called, so nowhere on the wire


def test_three_way_conference(cast, number):
    """A transfer to *3 and the agent's extension, where both agents join: all are listed, and leave one by one."""
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    line, customer = cast.connect(agent, number)
    line.refer("*31001")
    line.until_ended()
    back = agent.dial("*31001").until_answered()
    third = colleague.dial("*31001").until_answered()
    cast.until_talks(number, "1001", "1002")
    cast.look()
    cast.customers.media.speaks = True
    hears(agent)
    hears(colleague)
    back.hang_up()
    cast.until_talks(number, "1002")
    third.hang_up()
    customer.until_ended()
    names = [agent for agent, ended in cast.talkers(number) if ended]
    assert sorted(names) == ["1001", "1001", "1002"]


def test_a_supervisor_listens(cast, number):
    """*9 lets a supervisor hear both sides and be heard by nobody; nobody else may, and the record does not change."""
    agent, supervisor, colleague = cast.agent("1001"), cast.agent("1009"), cast.agent("1002")
    line, _ = cast.connect(agent, number)
    listening = supervisor.dial("*91001").until_answered()
    cast.customers.media.speaks = True
    hears(supervisor)
    cast.customers.media.speaks = False
    agent.media.speaks = True
    hears(supervisor)
    agent.media.speaks, supervisor.media.speaks = False, True
    quiet = cast.customers.media.packets + 50
    loud = agent.media.loud
    until(lambda: cast.customers.media.packets > quiet, "a second passes")
    assert agent.media.loud - loud < 5
    cast.look()
    refused = colleague.dial("*91001")
    refused.until_ended()
    assert refused.statuses[-1] == 404
    listening.hang_up()
    line.hang_up()
    assert cast.talkers(number) == [("1001", True)]


def test_pickup_of_a_transferred_call(cast, number):
    """*8 takes a transferred customer who rings at a colleague's phone, once; who picked up is recorded."""
    agent, away, third = cast.agent("1001"), cast.agent("1002", answers=False), cast.agent("1003")
    line, customer = cast.connect(agent, number)
    line.refer("1002")
    rings = away.ringing()
    picked = third.dial("*81002").until_answered()
    rings.until_ended()
    cast.until_talks(number, "1003")
    cast.look()
    cast.customers.media.speaks = True
    hears(third)
    late = cast.agent("1009").dial("*81002")
    late.until_ended()
    assert late.statuses[-1] == 404
    hears(third)
    picked.hang_up()
    customer.until_ended()
    assert cast.talkers(number) == [("1001", True), ("1003", True)]


def test_a_worker_that_dies_leaves_a_transferred_call_alone(cast, number):
    """The call goes on; its record stays open for whoever completes those of a dead worker."""
    colleague = cast.agent("1002")
    line, customer = cast.connect(cast.agent("1001"), number)
    line.refer("1002")
    cast.until_talks(number, "1002")
    cast.worker.kill()
    cast.customers.media.speaks = True
    hears(colleague)
    customer.hang_up()
    colleague.ringing().until_ended()


def test_the_worker_of_a_direct_delivery_hears_no_number(database, stage, tmp_path, number):
    """Nothing on the worker's socket holds it, though a transferred customer's leg is followed to its end."""
    shield = Shield(database, stage)
    shield.resolver()
    shield.worker(stand_by=True)
    tape = Tape(stage.ports.worker_a, stage.ports.worker_b, tmp_path / "tape")
    stage.callback(tape.stop)
    customers = Phone("customers", to=stage.ports.carriers, port=stage.port_of(CARRIER_A), hostile=True)
    agent, colleague = (
        Phone(user, to=stage.ports.agents, domain=DOMAIN, user=user, password=AGENT_PASSWORD.format(user=user))
        for user in ("1001", "1002")
    )
    for phone in (customers, agent, colleague):
        stage.callback(phone.stop)
    token = shield.token(number)
    line = agent.dial(token).until_answered()
    customer = customers.ringing()
    until_bridged(stage.switch, token)
    line.refer("1002")
    line.until_ended()
    talks = "SELECT 1 FROM dba.call_agents WHERE agent = '1002' AND until_at IS NULL"
    until(lambda: database.query(talks), "the colleague talks to the customer")
    colleague.ringing().hang_up()
    customer.until_ended()
    assert shield.call("COMPLETED")["agents"] == ["1001", "1002"]
    stage.switch.quiet()
    tape.stop()
    said = (tmp_path / "tape-1.txt").read_bytes()
    heard_of = said.count(b"Event-Name: CHANNEL_STATE")
    assert heard_of
    assert said.count(b"variable_shield_side") == said.count(b"filter variable_shield_side") + said.count(
        b"[variable_shield_side]"
    )
    assert not known.scan_bytes(said, known.encodings(number, token))
    assert any(number in message.text for message in customers.invites)
