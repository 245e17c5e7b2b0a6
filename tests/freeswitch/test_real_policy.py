"""A tenant's wishes on a real FreeSWITCH with the edge: the longest duration and its warning, the notices."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from cast import Cast, inside
from polling import until

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")

TONE = "tone_stream://%(1500,100,640)"
NUMBER = "+8613800138290"


@pytest.fixture
def cast(database, stage, tap, tmp_path):
    """A site whose worker is started by each test; at the end nothing inside holds a number."""
    cast = Cast(database, stage, tap, tmp_path)
    cast.worker.kill()
    yield cast
    cast.switch.esl.api("hupall NORMAL_CLEARING")
    assert inside(cast.leaves()) == {}


def _work(cast, **policy):
    """Start the worker with this [policy]; returns its process."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in policy.items())
    return cast.shield.worker(max_calls=f"4000\n[policy]\n{lines}")


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
