"""Calls by click on a real FreeSWITCH with the edge: the agent's phone rings first, then the customer's.

The customers' carrier is hostile; at the end of each test nothing inside holds a number, as in call control.
"""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from cast import Cast, Direct, inside, until_bridged
from lab import DOMAIN
from polling import until
from ports import HOST
from shield import TENANT
from tape import Tape

from esl_shield.config.clicks import ClicksConfig
from esl_shield.config.values import Address
from esl_shield.errors.dialling import AgentUnreachable, ClickTooMany
from esl_shield.service.clicks import Click, Clicks
from esl_shield.service.dialling import Dialling, Permission

REF = "TASK-812"
DIRECT_NUMBER = "+8613800138398"  # FreeSWITCH shows it, so no search for another finds it
_numbers = (f"+86138001383{i:02d}" for i in itertools.count())

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture
def cast(database, stage, tap, tmp_path, request):
    """A site that requires permissions and shows the business ID; at the end nothing inside holds a number."""
    name = request.node.name.removeprefix("test_").replace("_", "-")
    tapes = os.environ.get("CONTROL_TAPES")
    cast = Cast(database, stage, tap, tmp_path, tape=Path(tapes) / name if tapes else None)
    database.query("SELECT shield_api.set_dialling(%s, true, 'ref', 3)", TENANT)
    yield cast
    cast.switch.esl.api("hupall NORMAL_CLEARING")  # what a failed test left
    assert inside(cast.leaves()) == {}


@pytest.fixture
def api(cast, database):
    """The database with a dialler's login."""
    return database.open(database.login("dialler", [TENANT]))


@pytest.fixture
def clicks(cast, api):
    """What rings agents through this FreeSWITCH."""
    password = f"file:{cast.shield.folder}/esl"
    return Clicks(api, ClicksConfig(Address(HOST, cast.stage.ports.esl), password, ring_s=5))


@pytest.fixture
def number():
    """A number of the test's own."""
    return next(_numbers)


def test_the_agents_phone_rings_first_and_the_customer_is_called_when_it_answers(cast, clicks, api, number):
    """Both talk; the phone was shown the business ID, the carrier none of it; the record is found by it again."""
    agent, token = cast.agent("1001"), cast.token(number)
    Dialling(api).grant(TENANT, Permission(token, agent="1001"))
    done = clicks.click(TENANT, Click("1001", token, ref=REF, key="one"), wait_s=clicks.whole_s)
    assert done.outcome == "answered"
    again = clicks.click(TENANT, Click("1001", token, ref=REF, key="one"))
    assert (again.outcome, again.channel) == ("repeated", done.channel)
    customer = cast.customers.ringing()
    cast.until_talks(number, "1001")
    invite = agent.called()[0].invite
    assert f'"{REF}" <sip:{REF}@' in invite["from"]
    assert invite["x-shield-ref"] == REF
    recording = cast.switch.esl.api(f"uuid_getvar {done.channel} shield_recording").strip()
    cast.look()
    customer.hang_up()
    call = cast.call(number)
    assert (call["state"], call["agent"], call["ref"], call["channel"]) == ("COMPLETED", "1001", REF, str(done.channel))
    assert recording == f"{REF}_{call['id']}"
    assert cast.talkers(number) == [("1001", True)]
    assert len(agent.called()) == len(cast.customers.called()) == 1
    assert not [raw for raw in (m.raw for m in cast.customers.heard) if REF.encode() in raw]


@pytest.fixture
def direct(database, stage, tmp_path, request):
    """A site without an edge whose worker's conversations are taped; no number is in them at the end."""
    database.query("SELECT shield_api.set_dialling(%s, true, 'ref', 3)", TENANT)
    direct = Direct(database, stage, DIRECT_NUMBER, answers=request.param)
    direct.shield.worker(stand_by=True)
    tape = Tape(stage.ports.worker_a, stage.ports.worker_b, tmp_path / "tape")
    stage.callback(tape.stop)
    yield direct
    stage.switch.esl.api("hupall NORMAL_CLEARING")
    stage.switch.quiet()
    tape.stop()
    heard = "".join(path.read_text() for path in tmp_path.glob("tape-*.txt"))
    assert direct.shield.token(DIRECT_NUMBER) in heard
    assert DIRECT_NUMBER[-9:] not in heard


def _click_directly(direct, stage, agents_user="1001"):
    """Click for the agent to call the customer; returns the token and what became of the click."""
    api = direct.shield.database.open(direct.shield.database.login("dialler", [TENANT]))
    password = f"file:{direct.shield.folder}/esl"
    clicks = Clicks(api, ClicksConfig(Address(HOST, stage.ports.esl), password, ring_s=5))
    token = direct.shield.token(DIRECT_NUMBER)
    Dialling(api).grant(TENANT, Permission(token, agent=agents_user))
    return clicks.click(TENANT, Click(agents_user, token, ref=REF, key="one"), wait_s=clicks.whole_s)


@pytest.mark.parametrize("direct", [True], indirect=True, ids=["answers"])
def test_in_direct_delivery_a_click_ends_with_its_customer(direct, stage):
    """Both talk past the alarm of the parked leg; the record has the answer, the business ID and the agent."""
    assert _click_directly(direct, stage).outcome == "answered"
    customer = direct.customers.ringing(1)
    talk = direct.record("ANSWERED")
    until(lambda: direct.shield.database.query("SELECT now() - %s > '4 s'", talk["answered_at"]) == [(True,)], "a talk")
    customer.hang_up()
    call = direct.record("COMPLETED")
    assert (call["agent"], call["ref"], call["hangup_cause"]) == ("1001", REF, "NORMAL_CLEARING")
    until(lambda: direct.agent.lines[0].ended, "the agent's leg is hung up")
    assert len(direct.customers.called()) == 1


@pytest.mark.parametrize("direct", [False], indirect=True, ids=["rings out"])
def test_in_direct_delivery_a_customer_who_does_not_answer_ends_the_click(direct, stage):
    """The record says that nobody answered, and the agent's leg, which was answered, is hung up."""
    assert _click_directly(direct, stage).outcome == "answered"
    call = direct.record("NO_ANSWER")
    assert (call["answered_at"], call["hangup_cause"], call["ref"]) == (None, "NO_ANSWER", REF)
    until(lambda: direct.agent.lines[0].ended, "the agent's leg is hung up")


def test_a_phone_that_is_not_there_or_does_not_answer_calls_nobody(cast, clicks, api, number):
    """An agent without a phone is told at once, one who lets it ring when it has rung out; no customer hears of it."""
    token = cast.token(number)
    Dialling(api).grant(TENANT, Permission(token, calls=None))
    with pytest.raises(AgentUnreachable) as caught:
        clicks.click(TENANT, Click("1002", token))
    assert caught.value.fields["cause"] in ("USER_NOT_REGISTERED", "SUBSCRIBER_ABSENT")
    agent = cast.agent("1001", answers=False)
    with pytest.raises(AgentUnreachable) as caught:
        clicks.click(TENANT, Click("1001", token), wait_s=clicks.whole_s)
    assert caught.value.fields["cause"] == "NO_ANSWER"
    assert len(agent.called()) == 1
    assert cast.customers.called() == []
    states = cast.shield.database.query("SELECT state, cause FROM dba.clicks ORDER BY asked_at")
    assert [state for state, _ in states] == ["FAILED", "FAILED"]
    cast.called.clear()  # no customer was called


def test_a_leg_of_no_click_is_hung_up_without_a_call(cast, clicks, api, number):
    """Whoever can originate but has no row in the database gets an agent's phone and nobody else's."""
    agent, token = cast.agent("1001"), cast.token(number)
    mark = f"{{shield_side=agent,shield_domain={DOMAIN}}}"
    cast.switch.esl.api(f"bgapi originate {mark}user/1001@{DOMAIN} shield_clicks XML shield_clicks")
    leg = agent.ringing()
    until(lambda: leg.ended, "the agent's leg is hung up", within_s=8)
    assert "click_unknown" in cast.shield.reasons()
    assert cast.customers.called() == []
    assert token
    cast.called.clear()


def test_clicks_of_an_agent_are_limited(cast, clicks, api, number):
    """The fourth in a minute is refused before any phone rings, where the tenant allows three."""
    token = cast.token(number)
    Dialling(api).grant(TENANT, Permission(token, calls=None))
    for _ in range(3):
        with pytest.raises(AgentUnreachable):
            clicks.click(TENANT, Click("1002", token))
    with pytest.raises(ClickTooMany):
        clicks.click(TENANT, Click("1002", token))
    cast.called.clear()


def test_an_agent_dials_an_alias_and_the_phone_hears_the_business_id(cast, api, number):
    """What is dialled is the tenant's own handle; answers name the business ID, the carrier hears neither."""
    agent = cast.agent("1001")
    cast.called[number] = cast.shield._seeder.add(number, "C-20231", None)[0]
    Dialling(api).grant(TENANT, Permission(alias="C-20231", ref=REF))
    line = agent.dial("C-20231").until_answered()
    cast.until_talks(number, "1001")
    until_bridged(cast.switch, cast.called[number])
    assert [m["x-shield-ref"] for m in line.heard if m.status == 200][-1] == REF
    line.hang_up()
    call = cast.call(number)
    assert (call["state"], call["ref"], call["alias"]) == ("COMPLETED", REF, "C-20231")
    heard = b"".join(m.raw for m in cast.customers.heard)
    assert REF.encode() not in heard
    assert b"C-20231" not in heard
