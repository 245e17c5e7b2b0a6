"""`leakscan --canary` through a real FreeSWITCH and edge: clean when it is, never because nothing happened."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import scenarios as sip
from canary_site import CanarySite
from edge_lab import SECRET, Edge
from shield import Shield
from sipp import HOST
from stage import CARRIER_A

from esl_shield.audit import known

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture
def edge(stage, tmp_path):
    """The edge where FreeSWITCH's gateway looks for it, in front of a carrier."""
    carriers = [f"1 sip:{HOST}:{stage.port_of(CARRIER_A)} 0 9 name={CARRIER_A}"]
    edge = Edge(tmp_path / "edge", f"http://{HOST}:{stage.ports.resolver}/redeem", carriers, inside=stage.ports.edge)
    yield edge
    edge.stop()


@pytest.fixture
def shield(database, stage, edge):
    """A site with the edge: resolver and worker run."""
    shield = Shield(database, stage, edge=SECRET)
    shield.resolver()
    shield.role = shield.worker()
    return shield


def test_a_hiding_deployment_is_proved_clean(shield, stage, switch):
    """Answered calls, all logs and CDRs searched, nothing found: clean, exit 0; the carrier saw numbers of nobody."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers(hostile=True))
    site = CanarySite(shield, stage)
    code, report, printed = site.prove("--calls", "2", str(switch.log), str(switch.db))
    assert report["reasons"] == []
    assert (code, report["verdict"]) == (0, "clean")
    assert [call["outcome"] for call in report["calls"]] == ["answered", "answered"]
    assert {place["place"]: place["sightings"] for place in report["freeswitch"]} == {
        "phone": 0, "show channels": 0, "agent's leg": 0, "carrier's leg": 0, "events": 0,
    }  # fmt: skip
    assert all(place["looks"] for place in report["freeswitch"])
    numbers = {message.text.split("sip:", 1)[1].split("@")[0] for message in carrier.invites}
    assert len(numbers) == 2
    needles = {form for number in numbers for form in known.encodings(number)}
    assert not known.scan_bytes(printed.encode(), needles)


def test_a_planted_leak_is_found(shield, stage, switch, tmp_path):
    """A log that got the dialled number, told by the site as its own, is found with exit 1; the token is named."""
    stage.carrier(CARRIER_A, sip.carrier_answers())
    number = "+442079460987"
    leaky = tmp_path / "leaky"
    leaky.mkdir()
    (leaky / "crm.log").write_text("\ncalled +44 20 7946 0987 for C-17\n")
    (leaky / "backwards.txt").write_text(number[:0:-1])
    code, report, printed = CanarySite(shield, stage).prove(
        "--own-numbers", str(switch.log), str(leaky), stdin=f"{number}\n"
    )
    assert (code, report["verdict"]) == (1, "found")
    (call,) = report["calls"]
    assert call["went_through"]
    assert [(f["file"], f["line"], f["spelling"], f["token"]) for f in report["findings"]] == [
        (f"{leaky}/crm.log", 2, "grouped", call["token"]),
        (f"{leaky}/backwards.txt", None, "reversed digits", call["token"]),
    ]
    assert not known.scan_bytes(printed.encode(), known.encodings(number, call["token"]))


def test_nothing_is_clean_while_the_worker_is_away(shield, stage, switch):
    """A call that never reached a worker is said to be none, and the verdict is unproven with exit 3."""
    shield.role.kill()
    code, report, _ = CanarySite(shield, stage).prove("--calls", "1", str(switch.log))
    assert (code, report["verdict"], report["findings"]) == (3, "unproven", [])
    (call,) = report["calls"]
    assert (call["outcome"], call["sip_status"], call["went_through"]) == ("no_record", 503, False)


def test_nothing_is_clean_while_no_carrier_answers(shield, stage, switch):
    """A number that was handed out and no carrier took proves nothing."""
    code, report, _ = CanarySite(shield, stage).prove("--calls", "1", str(switch.log))
    assert (code, report["verdict"]) == (3, "unproven")
    assert [(call["outcome"], call["redeemed"]) for call in report["calls"]] == [("not_carried", True)]


def test_a_search_in_the_wrong_place_is_not_clean(shield, stage, tmp_path):
    """Files that do not mention the calls prove nothing about them; a wrong password places none."""
    stage.carrier(CARRIER_A, sip.carrier_refuses(404, "Not Found"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.log").write_text("nothing\n")
    site = CanarySite(shield, stage)
    code, report, _ = site.prove("--calls", "1", str(elsewhere))
    assert (code, report["verdict"]) == (2, "incomplete")
    assert [call["outcome"] for call in report["calls"]] == ["refused"]
    (site.folder / "phone").unlink()
    site.write("phone", "guessed")
    code, report, _ = site.prove("--calls", "1", str(elsewhere))
    assert (code, report["calls"][0]["outcome"]) == (3, "not_let_in")


def test_the_wire_must_hold_the_number(shield, stage, switch, tmp_path):
    """With captures of the carrier's side each number must be there; one that lacks it keeps the run from clean."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers())
    captured, number = tmp_path / "wire.txt", "+442079460986"
    site = CanarySite(shield, stage)
    captured.write_text("nothing\n")
    code, report, _ = site.prove("--own-numbers", "--wire", str(captured), str(switch.log), stdin=number)
    assert (code, report["calls"][0]["on_the_wire"]) == (3, False)
    captured.write_text("".join(message.text for message in carrier.invites))
    code, report, _ = site.prove("--own-numbers", "--wire", str(captured), str(switch.log), stdin=number)
    assert (code, report["calls"][0]["on_the_wire"], report["reasons"]) == (0, True, [])


def _doctor(site, *more):
    """The findings of area call, and of who is connected, by check."""
    done = site.run("doctor", "--role", "scanner", "--only", "call", "--only", "freeswitch", "--format", "json", *more)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found, done.stderr
    return {f["check"]: (f["severity"], f["sentence"]) for f in found}, done


def test_doctors_test_call_finds_the_edge_hiding(shield, stage):
    """With a hostile carrier every check of the call is well, CDRs included; another listener is named."""
    stage.carrier(CARRIER_A, sip.carrier_answers(hostile=True))
    found, done = _doctor(CanarySite(shield, stage), "--test-call")
    calls = {check: severity for check, (severity, _) in found.items() if check.startswith("call.")}
    assert set(calls.values()) == {"ok"}, done.stdout
    assert len(calls) == 7
    severity, sentence = found["freeswitch.connected"]
    assert severity == "warning"  # without [[gateways]] doctor cannot know that there is no direct delivery
    assert f"process {os.getpid()} ({HOST[:4]}" in sentence


def test_doctors_test_call_finds_what_direct_delivery_shows(database, stage):
    """Direct delivery's number is found on the carrier's leg and in its events, as a warning, and nowhere else."""
    shield = Shield(database, stage)
    shield.resolver()
    shield.worker()
    stage.carrier(CARRIER_A, sip.carrier_answers())
    found, _ = _doctor(CanarySite(shield, stage), "--test-call")
    calls = {check: severity for check, (severity, _) in found.items() if check.startswith("call.")}
    assert calls == {
        "call.went_through": "ok", "call.phone": "ok", "call.channels": "ok", "call.agents_leg": "ok",
        "call.carriers_leg": "warning", "call.events": "warning", "call.cdrs": "ok",
    }  # fmt: skip
    assert "variable_sip_invite_req_uri" in found["call.carriers_leg"][1]


def test_doctors_test_call_says_when_nobody_took_it(shield, stage):
    """Without a worker the call went nowhere, and no place is said to be well because of it."""
    shield.role.kill()
    found, done = _doctor(CanarySite(shield, stage), "--test-call")
    calls = {check: severity for check, (severity, _) in found.items() if check.startswith("call.")}
    assert calls.pop("call.went_through") == "critical"
    assert set(calls.values()) <= {"unknown", "info"}, done.stdout
    assert done.returncode == 1
