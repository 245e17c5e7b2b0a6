"""Record outbound-socket conversations from a real FreeSWITCH: ``record.py BINARY FOLDER [NAME]...``.

Each is one call by a digest-authenticated SIPp agent to a SIPp carrier, taken through by the recording worker. The
files go to FOLDER; their outcome is printed.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import scenarios as sip
from lab import DOMAIN, FreeSwitch, Ports
from ports import HOST
from recorder import ALARM_S, Attempt
from stage import CARRIER_A, CARRIER_B, Stage

if TYPE_CHECKING:
    from recorder import RecordingWorker
    from sipp import Agent

TOKEN = "70001234567893"
NUMBER = "+8613800138042"
USER = "1001"
TALKS, LEFT = sip.agent_talks(USER, DOMAIN), sip.agent_is_left(USER, DOMAIN)


def _refused(code: int) -> str:
    return sip.agent_is_refused(USER, DOMAIN, code)


@dataclass
class Case:
    """One call: what the agent does, what each carrier does, what the resolver answers, what the script says of it."""

    agent: str
    attempts: list[Attempt]
    carriers: dict[str, str] = field(default_factory=dict)
    resolver: tuple[int, str] | None = (200, "")
    timeout_s: int = 60
    alarm_s: int = ALARM_S
    result: tuple[str, str] = ("", "")


def _direct(*gateways: str) -> list[Attempt]:
    return [Attempt(gateway, "direct") for gateway in gateways]


def _bridge(*gateways: str) -> list[Attempt]:
    return [Attempt(gateway, "edge") for gateway in gateways]


_A, _B = CARRIER_A, CARRIER_B
_503 = sip.carrier_refuses(503, "Service Unavailable")
_BUSY = sip.carrier_refuses(486, "Busy Here", ringing=True)
CASES = {
    "direct-answered-agent-hangs-up": Case(
        TALKS, _direct(_A), {_A: sip.carrier_answers()}, result=("bridged", "NORMAL_CLEARING")
    ),
    "direct-answered-customer-hangs-up": Case(
        LEFT, _direct(_A), {_A: sip.carrier_hangs_up()}, result=("bridged", "NORMAL_CLEARING")
    ),
    "direct-customer-busy": Case(_refused(486), _direct(_A), {_A: _BUSY}, result=("failed", "USER_BUSY")),
    "direct-no-answer": Case(
        _refused(480), _direct(_A), {_A: sip.carrier_rings()}, timeout_s=2, result=("failed", "NO_ANSWER")
    ),
    "direct-agent-cancels": Case(
        sip.agent_cancels(USER, DOMAIN), _direct(_A), {_A: sip.carrier_rings()}, result=("failed", "ORIGINATOR_CANCEL")
    ),
    "direct-gateway-503-then-second-gateway": Case(
        TALKS, _direct(_A, _B), {_A: _503, _B: sip.carrier_answers()}, result=("bridged", "NORMAL_CLEARING")
    ),
    "direct-no-such-gateway": Case(_refused(503), _direct("nosuch"), result=("failed", "INVALID_GATEWAY")),
    "direct-resolver-away": Case(
        _refused(503), _direct(_A), resolver=None, result=("away", "NORMAL_TEMPORARY_FAILURE")
    ),
    "direct-resolver-refuses": Case(
        _refused(503), _direct(_A), resolver=(404, "refused"), result=("refused", "CALL_REJECTED")
    ),
    "direct-destination-refused": Case(
        _refused(403), _direct(_A), resolver=(403, "destination"), result=("destination", "CALL_REJECTED")
    ),
    "direct-early-media-then-answer": Case(
        TALKS, _direct(_A), {_A: sip.carrier_early_media(then=200)}, result=("bridged", "NORMAL_CLEARING")
    ),
    "direct-early-media-then-failure": Case(
        _refused(486),
        _direct(_A),
        {_A: sip.carrier_early_media(then=486, phrase="Busy Here")},
        result=("failed", "USER_BUSY"),
    ),
    "direct-alarm-ends-ringing": Case(
        _refused(503), _direct(_A), {_A: sip.carrier_rings()}, alarm_s=1, result=("failed", "ORIGINATOR_CANCEL")
    ),
    "bridge-answered-outlives-alarm": Case(
        sip.agent_talks(USER, DOMAIN, talk_ms=3000), _bridge(_A), {_A: sip.carrier_answers()}, alarm_s=1
    ),
    "bridge-no-such-gateway": Case(_refused(503), _bridge("nosuch")),
    "bridge-answered": Case(TALKS, _bridge(_A), {_A: sip.carrier_answers()}),
    "bridge-busy-continue-on-fail": Case(_refused(486), _bridge(_A), {_A: _BUSY}),
    "bridge-503-then-second-gateway": Case(TALKS, _bridge(_A, _B), {_A: _503, _B: sip.carrier_answers()}),
    "bridge-no-answer": Case(_refused(480), _bridge(_A), {_A: sip.carrier_rings()}, timeout_s=2),
    "bridge-early-media-then-answer": Case(TALKS, _bridge(_A), {_A: sip.carrier_early_media(then=200)}),
    "bridge-early-media-then-failure": Case(
        _refused(486), _bridge(_A), {_A: sip.carrier_early_media(then=486, phrase="Busy Here")}
    ),
    "bridge-agent-cancels": Case(sip.agent_cancels(USER, DOMAIN), _bridge(_A), {_A: sip.carrier_rings()}),
}


def play(stage: Stage, case: Case) -> tuple[Agent, RecordingWorker]:
    """Make one call and wait for its end."""
    if case.resolver:
        status, text = case.resolver
        stage.resolver(lambda gateway: f"sip:{NUMBER}@{HOST}:{stage.port_of(gateway)}", status=status, text=text)
    for gateway, scenario in case.carriers.items():
        stage.carrier(gateway, scenario)
    worker = stage.worker(case.attempts, timeout_s=case.timeout_s, alarm_s=case.alarm_s)
    agent = stage.agent(case.agent, dialled=TOKEN)
    if agent.wait(40):
        message = f"the agent got {agent.statuses}"
        raise RuntimeError(message)
    worker.wait()
    stage.switch.quiet()
    return agent, worker


def main() -> None:
    """Record all cases, or those named."""
    binary, out, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="esl-shield-record-") as folder_name:
        folder = Path(folder_name)
        switch = FreeSwitch(binary, folder, Ports())
        try:
            for name in names or CASES:
                place = folder / name
                place.mkdir()
                with Stage(switch, place) as stage:
                    agent, worker = play(stage, CASES[name])
                Path(out, f"{name}.txt").write_text(worker.recording.render())
                sys.stdout.write(f"{name}: {agent.statuses} {worker.result}\n")
        finally:
            switch.stop()


if __name__ == "__main__":
    main()
