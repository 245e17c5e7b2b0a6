from __future__ import annotations

import re
import socket
import threading

import pytest
import scenarios as sip
from lab import DOMAIN, EventSocket
from ports import HOST
from recorder import Attempt
from sipp import Sipp
from stage import CARRIER_A, EMERGENCY

TOKEN = "70001234567893"
USER = "1001"
# `sched_hangup +2` counts whole seconds of the clock: it fires 1 to 2 s later, plus the scheduler's own round.
REFUSED_WITHIN_S = 3.0


def _refused(code, **more):
    return sip.agent_is_refused(USER, DOMAIN, code, **more)


def test_no_worker_is_refused_at_once(stage):
    """With no worker's port open the agent hears 503 within half a second."""
    agent = stage.agent(_refused(503), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    assert agent.seconds_to_final < 0.5


def test_silent_worker_is_refused_in_time(stage, measured):
    """A worker that accepts the connection and says nothing costs the agent two to three seconds, then 503."""
    stage.listener(stage.ports.worker_a)
    agent = stage.agent(_refused(503), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    measured.append(f"silent worker: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_worker_that_closes_at_once_is_refused_in_time(stage, measured):
    """A worker that closes the accepted connection before `connect` leaves no call parked for ever."""
    listener = stage.listener(stage.ports.worker_a)

    def serve():
        try:
            listener.accept()[0].close()
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    agent = stage.agent(_refused(503), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    measured.append(f"worker closed before connect: refused after {agent.seconds_to_final:.2f} s")
    assert agent.seconds_to_final < REFUSED_WITHIN_S


def test_stand_by_worker_takes_the_call_when_the_first_refuses_tcp(stage):
    """The second worker is tried when nobody listens at the first."""
    stage.knowing("+8613800138001")
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    worker = stage.worker([Attempt(CARRIER_A, "direct")], port=stage.ports.worker_b)
    agent = stage.agent(sip.agent_talks(USER, DOMAIN), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    worker.wait()
    assert len(carrier.invites) == 1


@pytest.mark.parametrize("number", ["110", "112", "120"])
def test_emergency_calls_pass_by_the_shield(stage, number):
    """Emergency numbers reach their gateway although no worker, resolver or database is there."""
    carrier = stage.carrier(EMERGENCY, sip.carrier_answers())
    agent = stage.agent(sip.agent_talks(USER, DOMAIN), dialled=number)
    assert agent.wait() == 0, agent.statuses
    assert carrier.invites[0].first_line.startswith(f"INVITE sip:{number}@")


def test_colleagues_are_not_the_workers_business(stage):
    """A four-digit extension is answered without the worker: here by 480, its phone being away."""
    listener = stage.listener(stage.ports.worker_a)
    listener.setblocking(False)
    agent = stage.agent(_refused(480), dialled="1002")
    assert agent.wait() == 0, agent.statuses
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_call_without_digest_never_reaches_the_worker(stage):
    """The profile challenges every INVITE; one that does not answer the challenge ends there."""
    listener = stage.listener(stage.ports.worker_a)
    listener.setblocking(False)
    agent = stage.agent(_refused(407, authenticated=False), dialled=TOKEN)
    assert agent.wait() == 0, agent.statuses
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    ("user", "password"), [(USER, "wrong"), ("wallboard", ""), ("wallboard", "CHANGE-ME-WALLBOARD")]
)
def test_wrong_passwords_and_event_socket_logins_make_no_calls(stage, user, password):
    """A wrong password is refused, and a login without a SIP password is not let in without one."""
    agent = stage.agent(sip.agent_is_refused(user, DOMAIN, 403), dialled=TOKEN, user=user, password=password)
    agent.wait()
    assert agent.final_status == 403


def test_carriers_have_nowhere_to_call(stage):
    """A call from the carriers' side is answered 404."""
    scenario = sip.agent_is_refused("carrier", DOMAIN, 404, authenticated=False)
    carrier = Sipp(stage.folder, "inbound", scenario, f"{HOST}:{stage.ports.carriers}", "-m", "1", "-s", TOKEN)
    stage.callback(carrier.stop)
    assert carrier.wait() == 0, carrier.statuses


def test_wallboard_sees_no_channel_events_and_runs_no_other_commands(stage):
    """The restricted login is refused events of channels, and every command but the one it was given."""
    connection = EventSocket(stage.ports.esl, login=f"userauth wallboard@{DOMAIN}:CHANGE-ME-WALLBOARD")
    stage.callback(connection.close)
    assert "+OK" in connection.command("event plain HEARTBEAT")
    assert "-ERR" in connection.command("event plain CHANNEL_CREATE")
    assert "-ERR" in connection.command("api show channels") or "denied" in connection.command("api show channels")
    assert "ready" in connection.api("status")
    assert "-ERR" in connection.command("log debug")


def test_no_shell_from_the_event_socket(stage):
    """`system` is not a command of this FreeSWITCH."""
    assert "-ERR" in stage.switch.esl.api("system id")


def test_event_socket_listens_on_loopback_only(stage):
    """The event socket is bound to 127.0.0.1."""
    with socket.socket() as probe, pytest.raises(OSError, match="refused"):
        probe.connect(("127.0.0.2", stage.ports.esl))


def test_profiles_run_with_the_settings_we_ship(stage):
    """Sofia says of the agents' profile that it authenticates and that blind authentication is off."""
    status = stage.switch.esl.api("sofia xmlstatus profile internal")
    assert re.search(r"<context>agents</context>", status)
    assert stage.switch.esl.api("global_getvar disable_system_api_commands").strip() == "true"
