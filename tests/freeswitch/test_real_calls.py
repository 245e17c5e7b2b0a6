"""Calls by digest-authenticated agents through FreeSWITCH, our worker, resolver and PostgreSQL to SIPp carriers."""

from __future__ import annotations

import re
import signal

import pytest
import scenarios as sip
from lab import DOMAIN
from polling import until
from shield import DUMMY, Shield
from stage import CARRIER_A, CARRIER_B, EMERGENCY

from esl_shield.audit import known

USER = "1001"
NUMBER = "+8613800138042"
TALKS = sip.agent_talks(USER, DOMAIN)
EARLY_MEDIA = sip.carrier_rings(early_media=True)
REFUSED_WITHIN_S = 3.0


def _refused(code, **more):
    return sip.agent_is_refused(USER, DOMAIN, code, **more)


@pytest.fixture
def shield(database, stage):
    """A seeded tenant; start its processes as the test needs them. At the end nothing of ours holds the number."""
    shield = Shield(database, stage)
    yield shield
    assert not known.scan_bytes(shield.dump(), known.encodings(NUMBER))


@pytest.fixture
def running(shield):
    """The same with a worker and a resolver."""
    shield.resolver()
    shield.worker()
    return shield


def _calls(stage, scenario, token, **more):
    agent = stage.agent(scenario, dialled=token, **more)
    code = agent.wait()
    assert code == 0, f"the agent got {agent.statuses}"
    return agent


def _reached(carrier, number=NUMBER):
    """The carrier got one call, to the number, whose To is not the number."""
    (invite,) = {m.text for m in carrier.invites}
    assert invite.startswith(f"INVITE sip:{number}@")
    assert invite.count(number[1:]) == 1
    return invite


@pytest.mark.parametrize(
    ("agent", "carrier", "state", "cause"),
    [
        (TALKS, sip.carrier_answers(), "COMPLETED", "NORMAL_CLEARING"),
        (sip.agent_is_left(USER, DOMAIN), sip.carrier_hangs_up(), "COMPLETED", "NORMAL_CLEARING"),
        (_refused(486), sip.carrier_refuses(486, "Busy Here", ringing=True), "BUSY", "USER_BUSY"),
        (_refused(603), sip.carrier_refuses(603, "Decline"), "REJECTED", "CALL_REJECTED"),
        (_refused(480), sip.carrier_rings(), "NO_ANSWER", "NO_ANSWER"),
        (sip.agent_cancels(USER, DOMAIN), sip.carrier_rings(), "CANCELLED", "ORIGINATOR_CANCEL"),
        (TALKS, sip.carrier_early_media(then=200), "COMPLETED", "NORMAL_CLEARING"),
        (sip.agent_cancels(USER, DOMAIN, at=183), EARLY_MEDIA, "CANCELLED", "ORIGINATOR_CANCEL"),
        (_refused(480), EARLY_MEDIA, "NO_ANSWER", "ALLOTTED_TIMEOUT"),
        (_refused(486), sip.carrier_early_media(then=486, phrase="Busy Here"), "BUSY", "USER_BUSY"),
    ],
    ids=[
        "agent-hangs-up", "customer-hangs-up", "busy", "declined", "no-answer", "cancelled", "early-media-answered",
        "early-media-cancelled", "early-media-no-answer", "early-media-busy",
    ],
)  # fmt: skip
def test_a_call_ends_in_its_state_with_its_cause(stage, running, agent, carrier, state, cause):
    """The agent hears what happened, the carrier gets the number in one Request-URI, the CDR says how it ended."""
    token = running.token(NUMBER)
    first, second = stage.carrier(CARRIER_A, carrier), stage.carrier(CARRIER_B, sip.carrier_answers())
    _calls(stage, agent, token)
    call = running.call(state)
    assert (call["hangup_cause"], call["token"], call["agent"]) == (cause, token, USER)
    assert (call["gateway"], call["attempts"]) == (CARRIER_A, 1)
    _reached(first)
    assert not second.invites


def test_a_gateway_that_is_out_is_passed_over(stage, running):
    """503 from the first carrier costs the agent nothing: the second carries the call, with a permit of its own."""
    token = running.token(NUMBER)
    first = stage.carrier(CARRIER_A, sip.carrier_refuses(503, "Service Unavailable"))
    second = stage.carrier(CARRIER_B, sip.carrier_answers())
    _calls(stage, TALKS, token)
    call = running.call("COMPLETED")
    assert (call["gateway"], call["attempts"]) == (CARRIER_B, 2)
    _reached(first)
    _reached(second)


def test_a_carrier_that_redirects_is_passed_over_not_followed(stage, running):
    """302 sends the call nowhere but to the next gateway."""
    token = running.token(NUMBER)
    first = stage.carrier(CARRIER_A, sip.carrier_refuses(302, "Moved Temporarily", hostile=True))
    second = stage.carrier(CARRIER_B, sip.carrier_answers())
    _calls(stage, TALKS, token)
    assert running.call("COMPLETED")["gateway"] == CARRIER_B
    assert len(first.invites) == len(second.invites) == 1


def test_a_carrier_cannot_transfer_the_agent(stage, running):
    """A REFER from the carrier's side is refused and the conversation goes on."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_refers())
    _calls(stage, sip.agent_talks(USER, DOMAIN, talk_ms=1000), running.token(NUMBER))
    until(lambda: 405 in carrier.statuses, "the REFER is refused")
    assert running.call("COMPLETED")["talk_s"] > 0.9


def test_the_customer_sees_the_callers_id_we_chose(stage, running):
    """The carrier's From holds the gateway's caller ID, not the agent's extension."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    _calls(stage, TALKS, running.token(NUMBER))
    sender = re.search(r"(?m)^From: (.*)", _reached(carrier))[1]
    assert "862100000000" in sender
    assert USER not in sender


@pytest.mark.parametrize(
    "dialled", ["70001234567894", "13800138042", "abc", "0"], ids=["token", "number", "letters", "zero"]
)
def test_what_is_no_token_of_the_tenant_is_answered_404(stage, running, dialled):
    """Unknown tokens, telephone numbers and other strings get the same answer in the same time and reach no carrier."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    agent = _calls(stage, _refused(404), dialled)
    running.call("REFUSED")
    assert not carrier.invites
    assert agent.seconds_to_final < 1


def test_a_leg_without_a_digest_is_answered_403(stage, running):
    """A leg FreeSWITCH placed itself and sent into the agents' context reaches no worker, so it calls nobody."""
    token = running.token(NUMBER)
    caller, carrier = stage.carrier(CARRIER_B, sip.carrier_hangs_up()), stage.carrier(CARRIER_A, sip.carrier_answers())
    stage.switch.esl.api(f"bgapi originate sofia/gateway/{CARRIER_B}/caller {token} XML agents")
    until(lambda: caller.invites, "the leg was placed")
    stage.switch.quiet()
    assert not carrier.invites
    assert "agent_unauthenticated" not in running.reasons()


def test_a_customer_transferred_on_keeps_talking(stage, running):
    """An agent's blind transfer takes the customer's leg from the script; the call's record ends with the customer."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_hangs_up(talk_ms=2500))
    colleague = stage.carrier(EMERGENCY, sip.carrier_answers())
    _calls(stage, sip.agent_transfers(USER, DOMAIN, "110"), running.token(NUMBER))
    until(lambda: colleague.invites, "the customer is sent on")
    assert not [m for m in carrier.messages if m.received and m.first_line.startswith("BYE")]
    _reached(carrier)
    call = running.call("COMPLETED")
    assert call["talk_s"] > 2


def test_a_customer_transferred_to_a_token_is_refused(stage, running):
    """The customer's leg has no digest: sent to a token it reaches no worker, calls nobody and is released."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    token = running.token(NUMBER)
    _calls(stage, sip.agent_transfers(USER, DOMAIN, token), token)
    stage.switch.quiet()
    assert len(carrier.invites) == 1
    assert "agent_unauthenticated" not in running.reasons()


def test_headers_forged_in_the_invite_change_nothing(stage, running):
    """A header with percent-encoded newlines names a supervisor; the CDR names the agent who authenticated."""
    stage.carrier(CARRIER_A, sip.carrier_answers())
    forged = "X-Note: a%0Avariable_sip_auth_username: supervisor%0AUnique-ID: deadbeef\n"
    _calls(stage, sip.agent_talks(USER, DOMAIN, extra=forged), running.token(NUMBER))
    assert running.call("COMPLETED")["agent"] == USER


def test_forged_identity_headers_do_not_change_the_agent(stage, running):
    """From, P-Asserted-Identity and Remote-Party-ID are the phone's to choose; the digest's user is not."""
    stage.carrier(CARRIER_A, sip.carrier_answers())
    forged = f'P-Asserted-Identity: <sip:1002@{DOMAIN}>\nRemote-Party-ID: "boss" <sip:1002@{DOMAIN}>;party=calling\n'
    _calls(stage, sip.agent_talks(USER, DOMAIN, extra=forged), running.token(NUMBER))
    assert running.call("COMPLETED")["agent"] == USER


def test_a_token_in_a_header_behind_the_dummy_number(stage, running):
    """The fixed dummy number with X-Shield-Token calls the token's number, and the header goes no further."""
    token = running.token(NUMBER)
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    _calls(stage, sip.agent_talks(USER, DOMAIN, extra=f"X-Shield-Token: {token}\n"), DUMMY)
    assert running.call("COMPLETED")["token"] == token
    assert "X-Shield" not in _reached(carrier)


def test_a_forbidden_destination_is_answered_403(stage, running):
    """A premium-rate number is refused by the resolver after decryption; no carrier hears of it."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    agent = _calls(stage, _refused(403), running.token("+19002345777"))
    running.call("REFUSED")
    assert not carrier.invites
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_resolver_away(stage, shield):
    """Without a resolver the agent hears 503 in time and the CDR says why."""
    shield.worker()
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    agent = _calls(stage, _refused(503), shield.token(NUMBER))
    assert shield.call("FAILED")["hangup_cause"] == "RESOLVER_AWAY"
    assert not carrier.invites
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_resolver_hangs(stage, shield, measured):
    """A resolver that is stopped, not gone, costs two seconds and ends the same way."""
    shield.worker()
    shield.resolver().signal(signal.SIGSTOP)
    agent = _calls(stage, _refused(503), shield.token(NUMBER))
    shield.call("FAILED")
    measured.append(f"resolver stopped: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_database_away(stage, shield, measured):
    """A worker that cannot reach its database refuses with 503 in time."""
    shield.worker(database_url="postgresql+psycopg2://nobody@127.0.0.1:9/none")
    agent = _calls(stage, _refused(503), shield.token(NUMBER))
    measured.append(f"database away: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_worker_full(stage, shield):
    """With room for one call the second is refused at once, and the first is not disturbed."""
    shield.resolver()
    shield.worker(max_calls=1, reserve=1)
    token = shield.token(NUMBER)
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    first = stage.agent(sip.agent_talks(USER, DOMAIN, talk_ms=1500), dialled=token)
    until(lambda: carrier.invites, "the first call is out")
    second = _calls(stage, sip.agent_is_refused("1002", DOMAIN, 503), token, user="1002")
    assert second.seconds_to_final < 1
    assert first.wait() == 0, first.statuses
    assert len(shield.calls()) == 1


def test_worker_killed_before_it_said_connect(stage, shield, measured):
    """The connection breaks before `connect`: the call would be parked for ever, were it not for `sched_hangup`."""
    worker = shield.worker()
    worker.signal(signal.SIGSTOP)
    agent = stage.agent(_refused(503), dialled=shield.token(NUMBER))
    until(lambda: 100 in agent.statuses, "FreeSWITCH took the call")
    until(lambda: _socket_waits(stage), "FreeSWITCH is connected to the worker")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    measured.append(f"worker killed before connect: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_worker_silent(stage, shield, measured):
    """A stopped worker, whose kernel still takes connections, costs the agent what `sched_hangup` allows."""
    shield.worker().signal(signal.SIGSTOP)
    agent = _calls(stage, _refused(503), shield.token(NUMBER))
    measured.append(f"worker stopped: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_worker_killed_while_ringing_does_not_stop_the_call(stage, shield):
    """The call is answered and ends as usual; only its record stays open."""
    shield.resolver()
    worker = shield.worker()
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers(ring_ms=1500))
    agent = stage.agent(TALKS, dialled=shield.token(NUMBER))
    until(lambda: 180 in agent.statuses, "the agent hears ringing")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    _reached(carrier)
    shield.call("AUTHORIZED")


def test_worker_killed_while_ringing_leaves_no_agent_in_silence(stage, shield):
    """Nobody is there to try another gateway or to say busy: the dialplan goes on to its 503."""
    shield.resolver()
    worker = shield.worker()
    stage.carrier(CARRIER_A, sip.carrier_early_media(then=486, phrase="Busy Here", early_ms=1500))
    agent = stage.agent(_refused(503), dialled=shield.token(NUMBER))
    until(lambda: 183 in agent.statuses, "the agent hears early media")
    worker.kill()
    assert agent.wait() == 0, agent.statuses


def test_worker_killed_while_talking_does_not_stop_the_call(stage, shield):
    """The conversation goes on to the agent's own BYE."""
    shield.resolver()
    worker = shield.worker()
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    agent = stage.agent(sip.agent_talks(USER, DOMAIN, talk_ms=2500), dialled=shield.token(NUMBER))
    shield.call("ANSWERED")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    heard = lambda: [m.first_line.split()[0] for m in carrier.messages if m.received]  # noqa: E731
    until(lambda: heard() == ["INVITE", "ACK", "BYE"], "the carrier hears the agent's BYE")


def test_the_stand_by_takes_over_when_the_worker_is_gone(stage, shield):
    """The first worker's closed port sends the next call to the second."""
    shield.resolver()
    worker = shield.worker()
    shield.worker(stand_by=True)
    worker.kill()
    stage.carrier(CARRIER_A, sip.carrier_answers())
    _calls(stage, TALKS, shield.token(NUMBER))
    shield.call("COMPLETED")


def _socket_waits(stage):
    """Whether FreeSWITCH's connection to the worker's port is established."""
    port = f":{stage.ports.worker_a:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123 - not a file
        return any(line.split()[2].endswith(port) and line.split()[3] == "01" for line in list(table)[1:])
