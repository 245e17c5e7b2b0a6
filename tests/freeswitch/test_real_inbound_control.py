"""What agents do in the call of a customer who called in: the record names each of them, and nothing leaks.

Every test ends with the census of all places inside, which must be nought; the customers' carrier is hostile
throughout, and no customer sees an agent's extension.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from cast import DID, Cast, inside
from census import table
from lines import _tag
from polling import until
from shield import TENANT

ROWS: dict[str, dict[str, int]] = {}
_numbers = (f"+86138001383{i:02d}" for i in itertools.count())

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture(scope="module", autouse=True)
def printed_table(measured):
    """Add the table when all columns are known."""
    yield
    measured.append("\ncall control of calls that come in, hostile carrier\n" + table(ROWS))


@pytest.fixture
def cast(database, stage, tap, tmp_path, request):
    """A site; at the end of each test nothing inside holds a number, and no customer heard of an extension."""
    name = "inbound-" + request.node.name.removeprefix("test_").replace("_", "-")
    # CONTROL_TAPES=FOLDER records what FreeSWITCH and the worker say: the files of data/control.
    tapes = os.environ.get("CONTROL_TAPES")
    cast = Cast(database, stage, tap, tmp_path, tape=Path(tapes) / name if tapes else None)
    yield cast
    cast.switch.esl.api("hupall NORMAL_CLEARING")  # what a failed test left
    row = cast.leaves()
    ROWS[request.node.name.removeprefix("test_").replace("_", " ")] = row
    assert inside(row) == {}
    heard = b"".join(message.raw for message in cast.customers.heard)
    assert not [user for user in (b"1001", b"1002", b"1003") if b"sip:%s@" % user in heard]


@pytest.fixture
def number():
    """A number of the test's own."""
    return next(_numbers)


def hears(listener):
    """Wait until sound reaches a telephone."""
    before = listener.media.loud
    until(lambda: listener.media.loud > before + 5, f"{listener.name} hears somebody")


def test_hold_and_unhold(cast, number):
    """Held by the agent the customer hears music, then the agent again; held by the customer the agent hears music."""
    agent = cast.agent("1001")
    customer = cast.take_in(number)
    line = agent.ringing()
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
    customer.until_ended()
    assert cast.talkers(number) == [("1001", True)]
    assert cast.call(number)["state"] == "COMPLETED"


def test_blind_transfer_to_an_extension(cast, number):
    """The colleague sees the token; the record goes on to the customer's end and names both agents."""
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    customer = cast.take_in(number)
    agent.ringing().refer("1002")
    agent.ringing().until_ended()
    cast.until_talks(number, "1002")
    cast.look()
    assert cast.token(number) in colleague.ringing().invite["from"]
    assert cast.shield.calls()[0]["state"] == "ANSWERED"
    cast.customers.media.speaks = True
    hears(colleague)
    customer.hang_up()
    colleague.ringing().until_ended()
    assert cast.talkers(number) == [("1001", True), ("1002", True)]
    call = cast.call(number)
    assert (call["state"], call["hangup_cause"], call["agents"]) == ("COMPLETED", "NORMAL_CLEARING", ["1001", "1002"])
    assert (call["direction"], call["agent"]) == ("inbound", "1001")


def test_a_colleague_who_is_not_there_ends_the_call(cast, number):
    """A blind transfer to nobody ends with the customer's leg; only the first agent talked."""
    agent = cast.agent("1001")
    customer = cast.take_in(number)
    agent.ringing().refer("1003")
    customer.until_ended()
    assert cast.talkers(number) == [("1001", True)]


def test_blind_transfer_to_a_token(cast, number):
    """The customer is connected to another by the agent's right; two records, one audit event with both."""
    number_2 = next(_numbers)
    agent = cast.agent("1001")
    customer = cast.take_in(number)
    agent.ringing().refer(cast.token(number_2))
    other = cast.customers.ringing()
    agent.ringing().until_ended()
    cast.until_talks(number)
    cast.look()
    other.hang_up()
    customer.until_ended()
    first, second = cast.call(number), cast.call(number_2)
    assert (first["state"], second["state"]) == ("COMPLETED", "COMPLETED")
    assert (second["agent"], second["agents"], second["referred_by"]) == ("1001", None, first["id"])
    assert (first["direction"], second["direction"]) == ("inbound", "outbound")
    ((call, detail),) = cast.shield.database.query(
        "SELECT call, detail FROM dba.audit_events WHERE kind = 'call.transferred'"
    )
    assert (call, detail) == (first["id"], {"to_call": second["id"], "verdict": "allowed"})


@pytest.mark.parametrize(
    "target",
    ["70001234567894", "9613800138000", "86", "*91002", DID, "sofia%2Fgateway%2Fedge%2F70001234567894", "1%2C1002"],
)
def test_a_transfer_to_nothing_ends_the_call(cast, number, target):
    """An unknown token, a number, a feature code not for transfers, a DID, a gateway: the customer is released."""
    agent = cast.agent("1001")
    customer = cast.take_in(number)
    agent.ringing().refer(target)
    customer.until_ended()
    assert not cast.customers.called()
    assert cast.call(number)["state"] == "COMPLETED"


def test_a_cap_refuses_a_transfer_to_a_token(cast, number):
    """The referring agent's caps count as if that agent had dialled."""
    number_2 = next(_numbers)
    agent = cast.agent("1001")
    customer = cast.take_in(number)
    cast.shield.database.query("SELECT shield_api.set_caps(%s, NULL, 0, NULL)", TENANT)
    agent.ringing().refer(cast.token(number_2))
    customer.until_ended()
    assert not cast.customers.called()
    del cast.called[number_2]  # never called, so nowhere on the wire


def test_attended_transfer(cast, number):
    """The agent asks a colleague, then connects them; the record names both."""
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    customer = cast.take_in(number)
    line = agent.ringing()
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
    """The agent calls another customer and connects them: neither learns the other's number."""
    number_2 = next(_numbers)
    agent = cast.agent("1001")
    customer = cast.take_in(number)
    line = agent.ringing()
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


def test_a_second_transfer_is_the_second_agents(cast, number):
    """The right to connect to a token is that of the agent who talked last."""
    number_2 = next(_numbers)
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    customer = cast.take_in(number)
    agent.ringing().refer("1002")
    cast.until_talks(number, "1002")
    colleague.ringing().refer(cast.token(number_2))
    cast.customers.ringing()
    cast.until_talks(number)
    customer.hang_up()
    assert cast.call(number_2)["agent"] == "1002"
    assert cast.talkers(number) == [("1001", True), ("1002", True)]


def test_three_way_conference(cast, number):
    """A transfer to *3 and the agent's extension, where both agents join: all are listed, and leave one by one."""
    agent, colleague = cast.agent("1001"), cast.agent("1002")
    customer = cast.take_in(number)
    agent.ringing().refer("*31001")
    agent.ringing().until_ended()
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
    assert sorted(name for name, ended in cast.talkers(number) if ended) == ["1001", "1001", "1002"]


def test_a_supervisor_listens(cast, number):
    """*9 lets a supervisor hear both sides; the record does not change."""
    agent, supervisor = cast.agent("1001"), cast.agent("1009")
    customer = cast.take_in(number)
    listening = supervisor.dial("*91001").until_answered()
    cast.customers.media.speaks = True
    hears(supervisor)
    cast.customers.media.speaks, agent.media.speaks = False, True
    hears(supervisor)
    cast.look()
    listening.hang_up()
    customer.hang_up()
    assert cast.talkers(number) == [("1001", True)]


def test_whoever_takes_a_call_by_replaces_is_recorded(cast, number):
    """A colleague who knows the dialog may take the customer over; the record names both, and nothing leaks."""
    agent, third = cast.agent("1001"), cast.agent("1003")
    customer = cast.take_in(number)
    line = agent.ringing()
    quoted = f"{line.call_id};to-tag={_tag(line.local)};from-tag={_tag(line.remote)}"
    taken = third.dial("1001", ("Replaces", quoted))
    taken.until_answered()
    line.until_ended()
    cast.until_talks(number, "1003")
    cast.look()
    taken.hang_up()
    customer.until_ended()
    assert cast.talkers(number) == [("1001", True), ("1003", True)]


def test_pickup(cast, number):
    """*8 takes a customer who rings at a colleague's phone; the record names who picked up, and nobody else."""
    away, third = cast.agent("1001", answers=False), cast.agent("1003")
    cast.token(number)
    customer = cast.customers.call_in(DID, number)
    rings = away.ringing()
    picked = third.dial("*81001").until_answered()
    rings.until_ended()
    customer.until_answered()
    cast.until_talks(number, "1003")
    cast.look()
    cast.customers.media.speaks = True
    hears(third)
    picked.hang_up()
    customer.until_ended()
    assert cast.talkers(number) == [("1003", True)]
    assert cast.call(number)["agent"] == "1003"
