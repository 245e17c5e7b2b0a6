from __future__ import annotations

import pytest
import record
import scenarios as sip
from lab import DOMAIN
from polling import until
from recorder import Attempt
from stage import CARRIER_A

TOKEN = "70001234567893"
USER = "1001"
DIRECT = [Attempt(CARRIER_A, "direct")]


@pytest.mark.parametrize("name", record.CASES)
def test_every_recorded_case_ends_as_it_should(stage, name):
    """Each conversation of the recordings can be had again, with the same outcome and no number on the socket."""
    case = record.CASES[name]
    _, worker = record.play(stage, case)
    assert worker.result == case.result
    assert record.NUMBER[1:] not in worker.recording.render()


@pytest.mark.parametrize(
    "answer",
    [
        "sip:+8613800138002@127.0.0.1:5060\n",
        "sip:+8613800138002@127.0.0.1",
        "sip:+8613800138002@127.0.0.1:5060,sip_h_X-A=b",
        "sip:+8613800138002@127.0.0.1:5060]sofia/gateway/other/1",
        "sip:+86 13800138002@127.0.0.1:5060",
        "sip:anonymous@127.0.0.1:5060",
        "+8613800138002",
        "<html>gateway time-out</html>",
        "",
    ],
)
def test_an_answer_that_is_not_exactly_a_request_uri_makes_no_call(stage, answer):
    """Whatever the resolver's place says with status 200, only a plain SIP URI is dialled; the rest counts as away."""
    stage.resolver(lambda _: answer)
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    worker = stage.worker(DIRECT)
    agent = stage.agent(sip.agent_is_refused(USER, DOMAIN, 503), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    worker.wait()
    assert worker.result[0] == "away"
    assert not carrier.invites


def test_a_resolver_that_hangs_is_away_after_two_seconds(stage, measured):
    """A resolver that takes the connection and never answers costs two seconds, not a call in silence."""
    stage.listener(stage.ports.resolver)
    worker = stage.worker(DIRECT)
    agent = stage.agent(sip.agent_is_refused(USER, DOMAIN, 503), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    worker.wait()
    measured.append(f"resolver hangs: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < 3
    assert worker.result[0] == "away"


def test_the_request_is_signed_and_names_permit_token_and_gateway(stage):
    """The resolver is asked once, with the worker's permit; the stand-in checks the signature with Python's HMAC."""
    resolver = stage.knowing("+8613800138003")
    stage.carrier(CARRIER_A, sip.carrier_answers())
    worker = stage.worker(DIRECT)
    agent = stage.agent(sip.agent_talks(USER, DOMAIN), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    worker.wait()
    (form,) = resolver.requests
    assert form["permit"] in worker.recording.render()
    assert (form["token"], form["gateway"]) == (TOKEN, CARRIER_A)


@pytest.mark.parametrize("path", ["/nonexistent/secret", "/dev/null"])
def test_without_its_secret_the_script_makes_no_call(stage, path):
    """A missing or empty secret file counts as a resolver that is away."""
    was = stage.switch.esl.api("global_getvar shield_secret_file").strip()
    stage.callback(stage.switch.esl.api, f"global_setvar shield_secret_file={was}")
    stage.switch.esl.api(f"global_setvar shield_secret_file={path}")
    resolver = stage.knowing("+8613800138004")
    worker = stage.worker(DIRECT)
    agent = stage.agent(sip.agent_is_refused(USER, DOMAIN, 503), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    worker.wait()
    assert worker.result[0] == "away"
    assert not resolver.requests


def test_a_hang_up_while_the_resolver_thinks_makes_no_call(stage):
    """An agent who gives up before the number is known has called nobody."""
    stage.listener(stage.ports.resolver)
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    worker = stage.worker(DIRECT)
    agent = stage.agent(sip.agent_cancels(USER, DOMAIN, at=100), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    worker.wait()
    assert not carrier.invites


def test_the_script_ends_soon_after_the_agent_gives_up(stage):
    """A cancel while ringing reaches the carrier and frees both legs within a second."""
    stage.knowing("+8613800138005")
    carrier = stage.carrier(CARRIER_A, sip.carrier_rings())
    worker = stage.worker(DIRECT)
    agent = stage.agent(sip.agent_cancels(USER, DOMAIN), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    until(lambda: any(m.first_line.startswith("CANCEL") for m in carrier.messages), "CANCEL arrives", within_s=1)
    worker.wait(1)
    assert worker.result == ("failed", "ORIGINATOR_CANCEL")
