"""Workers die, FreeSWITCH goes on: its records of the legs end the calls, with the times of the wire."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta

import pytest
import scenarios as sip
from edge_lab import SECRET, Edge
from lab import DOMAIN, FreeSwitch, Ports
from polling import until
from ports import HOST
from shield import Shield
from stage import CARRIER_A, Stage

from esl_shield.audit import known

USER = "1001"
NUMBER = "+8613800138061"
TALKS = sip.agent_talks(USER, DOMAIN, talk_ms=2500)
CLOSE = timedelta(seconds=0.3)

needs_kamailio = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture
def shield(database, stage, request):
    """A seeded tenant with its resolver; at the end nothing of ours holds the number."""
    edge = request.node.get_closest_marker("skipif") is not None
    if edge:
        kamailio = Edge(
            stage.folder / "edge", f"http://{HOST}:{stage.ports.resolver}/redeem",
            [f"1 sip:{HOST}:{stage.port_of(CARRIER_A)} 0 9 name={CARRIER_A}"], inside=stage.ports.edge,
        )  # fmt: skip
        stage.callback(kamailio.stop)
    shield = Shield(database, stage, edge=SECRET if edge else "")
    shield.resolver()
    yield shield
    assert not known.scan_bytes(shield.dump(), known.encodings(NUMBER))


def wire(agent, first_line):
    """When a message of the agent's call was on the wire."""
    return next(m.at for m in agent.messages if first_line in m.first_line).astimezone()


def told_right(call, agent):
    """The record has the times of the wire."""
    talked = [("answered_at", "200"), ("ended_at", "BYE ")] if call["answered_at"] else [("ended_at", "SIP/2.0 ")]
    for name, line in talked[:1] if not call["answered_at"] else talked:
        at = datetime.fromisoformat(call[name])
        seen = [m.at.astimezone() for m in agent.messages if (line in m.first_line)]
        assert min(abs(at - s) for s in seen) < CLOSE, (name, at, seen)


def report(measured, name, call):
    measured.append(
        f"{name}: {call['state']} by {call['ended_by']}, cause {call['hangup_cause']}, answered {call['answered_at']}, "
        f"ended {call['ended_at']}, talked {call['talk_s']} s"
    )


@pytest.mark.parametrize("moment", ["ringing", "talking"])
def test_direct_a_killed_workers_call_ends_by_the_agents_leg(stage, shield, measured, moment):
    """The reaper finds both legs gone, the record of the calling leg says when the talk began and ended."""
    worker = shield.worker()
    shield.intake()
    shield.reaper()
    stage.carrier(CARRIER_A, sip.carrier_answers(ring_ms=1500))
    agent = stage.agent(TALKS, dialled=shield.token(NUMBER))
    if moment == "ringing":
        until(lambda: 180 in agent.statuses, "the agent hears ringing")
    else:
        shield.call("ANSWERED")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    call = shield.call("COMPLETED")
    report(measured, f"direct, killed while {moment}", call)
    assert (call["ended_by"], call["cdr"], call["agents"]) == ("cdr", "ended", [USER])
    told_right(call, agent)


def test_direct_a_failure_the_worker_did_not_live_to_see_is_told(stage, shield, measured):
    """The carrier's busy after the worker's death is the call's cause, not the 503 the dialplan gave the agent."""
    worker = shield.worker()
    shield.intake()
    stage.carrier(CARRIER_A, sip.carrier_early_media(then=486, phrase="Busy Here", early_ms=1500))
    agent = stage.agent(sip.agent_is_refused(USER, DOMAIN, 503), dialled=shield.token(NUMBER))
    until(lambda: 183 in agent.statuses, "the agent hears early media")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    call = shield.call("BUSY")
    report(measured, "direct, killed in early media, then 486", call)
    assert (call["hangup_cause"], call["ended_by"]) == ("USER_BUSY", "cdr")


def test_a_call_its_worker_finished_agrees_with_the_record(stage, shield, measured):
    """An ordinary call is compared with FreeSWITCH's record of it and stays as the worker wrote it."""
    shield.worker()
    shield.intake()
    stage.carrier(CARRIER_A, sip.carrier_answers())
    assert stage.agent(sip.agent_talks(USER, DOMAIN), dialled=shield.token(NUMBER)).wait() == 0
    shield.call("COMPLETED")
    until(lambda: shield.calls()[0]["cdr"], "the record came", within_s=10)
    call = shield.calls()[0]
    report(measured, f"worker lives, record {call['cdr']}", call)
    assert (call["cdr"], call["ended_by"]) == ("agrees", "worker")


@needs_kamailio
def test_edge_both_legs_records_end_the_call_without_a_reaper(stage, shield, switch, measured):
    """Behind an edge the customer's leg has a record of its own."""
    worker = shield.worker()
    shield.intake()
    stage.carrier(CARRIER_A, sip.carrier_answers())
    agent = stage.agent(TALKS, dialled=shield.token(NUMBER))
    shield.call("ANSWERED")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    call = shield.call("COMPLETED")
    report(measured, "edge, killed while talking, no reaper", call)
    assert call["ended_by"] == "cdr"
    told_right(call, agent)


@needs_kamailio
def test_edge_while_the_intake_is_away_records_are_spooled_and_taken_later(stage, shield, switch, measured):
    """FreeSWITCH writes to its folder what it cannot post; the intake takes it up, and no file holds the number."""
    spool = switch.log / "json_cdr"
    before = set(spool.glob("*.json"))
    worker = shield.worker()
    stage.carrier(CARRIER_A, sip.carrier_answers())
    agent = stage.agent(TALKS, dialled=shield.token(NUMBER))
    shield.call("ANSWERED")
    worker.kill()
    assert agent.wait() == 0, agent.statuses
    spooled = lambda: set(spool.glob("*.json")) - before  # noqa: E731
    until(lambda: len(spooled()) == 2, "both legs' records are on the disk")
    files = spooled()
    for path in files:
        assert not known.scan_bytes(path.read_bytes(), known.encodings(NUMBER))
    assert shield.call("ANSWERED")["ended_by"] is None
    shield.intake(spool=spool)
    call = shield.call("COMPLETED")
    report(measured, f"edge, intake away: {len(files)} files spooled, then taken", call)
    until(lambda: not [path for path in files if path.exists()], "the files are gone")
    told_right(call, agent)


def test_a_freeswitch_that_died_loses_its_calls(database, tmp_path, tmp_path_factory, measured):
    """While it is away nothing changes; once it runs again its old calls are lost, with the restart as reason."""
    binary, ports = os.environ["FREESWITCH"], Ports()
    first = FreeSwitch(binary, tmp_path_factory.mktemp("first"), ports)
    with Stage(first, tmp_path) as stage:
        stage.callback(first.stop)
        shield = Shield(database, stage)
        shield.resolver()
        worker, reaper = shield.worker(), shield.reaper()
        stage.carrier(CARRIER_A, sip.carrier_answers())
        stage.agent(sip.agent_talks(USER, DOMAIN, talk_ms=60_000), dialled=shield.token(NUMBER))
        shield.call("ANSWERED")
        worker.kill()
        first.process.kill()
        first.process.wait()
        until(lambda: "esl.away" in reaper.output.read_text(), "the reaper finds FreeSWITCH away")
        assert shield.call("ANSWERED")["ended_by"] is None
        second = FreeSwitch(binary, tmp_path_factory.mktemp("second"), ports)
        stage.callback(second.stop)
        call = shield.call("LOST")
        report(measured, f"FreeSWITCH killed and started again, over before {call['ended_before']}", call)
        assert (call["ended_by"], call["ended_at"]) == ("reaper", None)
        assert shield.reasons() == ["switch_restarted"]
