"""A tenant's wishes on a real FreeSWITCH with the edge: the longest duration and its warning, the notices."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from cast import Cast, Direct, inside
from polling import until

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")

TONE = "tone_stream://%(1500,100,640)"
NUMBER = "+8613800138290"
DIRECT_NUMBER = "+8613800138291"  # FreeSWITCH shows it, so no search for another finds it
NOWHERE = "/nonexistent/notice.wav"


@pytest.fixture
def cast(database, stage, tap, tmp_path):
    """A site whose worker is started by each test; at the end nothing inside holds a number."""
    cast = Behind(database, stage, tap, tmp_path)
    cast.worker.kill()
    yield cast
    cast.switch.esl.api("hupall NORMAL_CLEARING")
    if cast.customers.called():
        assert inside(cast.leaves()) == {}


class Behind(Cast):
    """A site with an edge, one agent and one customer."""

    def agents_line(self):
        """Have the agent call the customer; returns the agent's line."""
        return self.agent("1001").dial(self.token(NUMBER))

    def dial(self):
        """The same; returns both lines once the customer rings."""
        return self.agents_line(), self.customers.ringing(1)

    def record(self, state):
        """The call's record, once it is in this state."""
        return self.shield.call(state)


@pytest.fixture
def direct(database, stage):
    """Such a site; its worker is started by each test."""
    direct = Direct(database, stage, DIRECT_NUMBER)
    yield direct
    stage.switch.esl.api("hupall NORMAL_CLEARING")


def _work(site, **policy):
    """Start the worker with this [policy]; returns its process."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in policy.items())
    return site.shield.worker(max_calls=f"4000\n[policy]\n{lines}")


def _heard(phone):
    return phone.media.loud


def test_a_call_ends_after_its_longest_duration_and_the_agent_is_warned(cast):
    """Nobody speaks: what the agent hears is the warning, the customer hears none, and FreeSWITCH ends the call."""
    _work(cast, max_talk_s=5, warning_s=3, warning=TONE)
    agent = cast.agent("1001")
    started = time.monotonic()
    line, customer = cast.connect(agent, NUMBER)
    before = _heard(agent), _heard(cast.customers)
    until(lambda: _heard(agent) > before[0] + 20, "the agent is warned", within_s=8)
    assert time.monotonic() - started < 5.5
    assert _heard(cast.customers) == before[1]
    until(lambda: line.requests("BYE") and customer.requests("BYE"), "both are hung up", within_s=8)
    assert 3.5 < time.monotonic() - started < 8
    call = cast.call(NUMBER)
    assert (call["state"], call["sip_code"], call["hangup_cause"]) == ("COMPLETED", 200, "ALLOTTED_TIMEOUT")


def test_the_longest_duration_holds_when_the_worker_has_died(cast):
    """FreeSWITCH was told at the start: a killed worker's call ends all the same."""
    worker = _work(cast, max_talk_s=4, warning_s=0)
    line, customer = cast.connect(cast.agent("1001"), NUMBER)
    worker.kill()
    until(lambda: line.requests("BYE") and customer.requests("BYE"), "both are hung up", within_s=8)


def test_the_customer_hears_the_notice_before_anybody_talks(cast):
    """Nobody speaks: what the customer hears is the notice, while the agent's telephone still rings."""
    _work(cast, customer_notice=TONE)
    agent = cast.agent("1001")
    line = agent.dial(cast.token(NUMBER))
    customer = cast.customers.ringing(1)
    until(lambda: _heard(cast.customers) > 20, "the customer hears the notice", within_s=8)
    assert not line.answered
    line.until_answered()
    assert _heard(agent) == 0
    line.hang_up()
    until(lambda: customer.requests("BYE"), "the customer is let go", within_s=8)
    assert cast.call(NUMBER)["state"] == "COMPLETED"


def test_the_agent_hears_a_notice_at_the_answer(cast):
    """Nobody speaks: what the agent hears is the notice, the customer hears nothing."""
    _work(cast, agent_notice=TONE)
    agent = cast.agent("1001")
    line, _ = cast.connect(agent, NUMBER)
    until(lambda: _heard(agent) > 20, "the agent hears the notice", within_s=8)
    assert _heard(cast.customers) == 0
    line.hang_up()
    assert cast.call(NUMBER)["state"] == "COMPLETED"


@pytest.fixture(params=["edge", "direct"])
def site(request):
    """A site of either delivery, with its worker to be started."""
    return request.getfixturevalue("cast" if request.param == "edge" else "direct")


def test_in_direct_delivery_the_longest_duration_the_warning_and_both_notices_hold(direct):
    """The customer hears the notice before the agent is connected, the agent notice and warning; the call is ended."""
    _work(direct, max_talk_s=6, warning_s=3, warning=TONE, customer_notice=TONE, agent_notice=TONE)
    line, customer = direct.dial()
    until(lambda: _heard(direct.customers) > 20, "the customer hears the notice", within_s=8)
    assert not line.answered
    line.until_answered()
    started, notice = time.monotonic(), _heard(direct.customers)
    until(lambda: line.requests("BYE") and customer.requests("BYE"), "both are hung up", within_s=9)
    assert 4.5 < time.monotonic() - started < 9
    assert _heard(direct.customers) == notice
    assert _heard(direct.agent) > 1.5 * notice
    call = direct.shield.call("COMPLETED")
    assert (call["sip_code"], call["hangup_cause"]) == (200, "ALLOTTED_TIMEOUT")


def test_early_media_is_neither_an_answer_nor_time_that_counts(site):
    """After 183 the agent hears the carrier; the longest duration begins with the 200, not before."""
    _work(site, max_talk_s=2, warning_s=0)
    site.customers.answers, site.customers.media.speaks = False, True
    line, customer = site.dial()
    customer.play_early()
    until(lambda: _heard(line.phone) > 100, "the agent hears two seconds of early media")
    assert not line.answered
    customer.answer()
    line.until_answered()
    started = time.monotonic()
    until(lambda: line.requests("BYE") and customer.requests("BYE"), "both are hung up", within_s=6)
    assert time.monotonic() - started > 0.9
    call = site.record("COMPLETED")
    assert (call["sip_code"], call["hangup_cause"]) == (200, "ALLOTTED_TIMEOUT")
    assert call["talk_s"] < 4


def test_with_a_notice_early_media_is_not_heard_and_counts_as_nobody(site):
    """After 183 neither hears anything; the notice comes after the 200, whole, however late that is."""
    _work(site, customer_notice=TONE)
    site.customers.answers, site.customers.media.speaks = False, True
    line, customer = site.dial()
    customer.play_early()
    sent = customer.phone.media
    before = sent.sequence
    until(lambda: sent.sequence > before + 60, "a second of early media is sent")
    assert (_heard(line.phone), _heard(site.customers), line.answered) == (0, 0, False)
    customer.answer()
    until(lambda: _heard(site.customers) > 20, "the customer hears the notice", within_s=8)
    assert not line.answered
    line.until_answered()
    line.hang_up()
    assert site.record("COMPLETED")["sip_code"] == 200


def test_a_customer_nobody_answers_for_rings_no_longer_with_a_notice(site):
    """The time a notice may take comes after the answer, not to the ringing: the agent is told 480 in time."""
    _work(site, customer_notice=TONE)
    site.customers.answers = False
    started = time.monotonic()
    line, customer = site.dial()
    line.until_ended()
    assert time.monotonic() - started < 7
    assert line.statuses[-1] == 480
    until(lambda: customer.requests("CANCEL"), "the carrier is told")
    assert site.record("NO_ANSWER")["answered_at"] is None


def test_without_the_customers_notice_there_is_no_call(site):
    """A file FreeSWITCH has not: the agent is refused, no customer rings, the log says which file is missing."""
    worker = _work(site, customer_notice=NOWHERE)
    line = site.agents_line()
    line.until_ended()
    assert line.statuses[-1] == 503
    assert site.customers.called() == []
    call = site.record("FAILED")
    assert (call["attempts"], call["answered_at"]) == (0, None)
    assert "error_id=esl.sound_missing" in worker.output.read_text()


def test_without_the_agents_notice_and_the_warning_the_call_goes_on(site):
    """A file FreeSWITCH has not is skipped where nothing but comfort depends on it; the call ends in its time."""
    _work(site, max_talk_s=3, warning_s=2, warning=NOWHERE, agent_notice=NOWHERE)
    line, customer = site.dial()
    line.until_answered()
    site.customers.media.speaks = True
    until(lambda: _heard(line.phone) > 20, "they talk")
    until(lambda: line.requests("BYE") and customer.requests("BYE"), "both are hung up", within_s=8)
    assert site.record("COMPLETED")["hangup_cause"] == "ALLOTTED_TIMEOUT"
