"""What is counted of the edge: the names of its log's events, and mtail reading a real log."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

import pytest
from edge_lab import EDGE, Edge, Resolver
from edge_stage import Stage
from inbound_stage import InboundStage
from ports import HOST
from sip_peer import Peer, Switch

EVENTS = {
    "edge.call", "edge.answered", "edge.failed", "edge.failover", "edge.refused", "edge.redeemed", "edge.stranger",
    "edge.carrier", "edge.unnamed", "edge.inbound", "edge.inbound_answered", "edge.anonymous",
}  # fmt: skip


def test_events_keep_their_names():
    """What the configuration logs, what mtail counts and what the README explains are the same events."""
    configuration = "".join((EDGE / name).read_text() for name in ("kamailio.cfg", "inbound.cfg", "tls-names.cfg"))
    logged = re.findall(r'xlog\("L_(?:NOTICE|WARN|ERR)", "(edge\.\w+) ', configuration)
    assert configuration.count("xlog(") == len(logged)
    assert set(logged) == EVENTS
    assert {f"edge.{name}" for name in re.findall(r"/edge\\\.(\w+)", (EDGE / "edge.mtail").read_text())} == EVENTS
    assert set(re.findall(r"`(edge\.\w+)", (EDGE / "README.md").read_text())) >= EVENTS


def _wait_for(stage, line):
    """Until the edge has logged ``line``; it does so once at most two pings later."""
    deadline = time.monotonic() + 10
    while line not in stage.edge.log.read_text():
        assert time.monotonic() < deadline, line
        time.sleep(0.02)


@pytest.mark.skipif(
    not shutil.which("mtail") and os.environ.get("CI") != "true", reason="mtail (Debian's mtail) is not there"
)
def test_mtail_counts_what_happened(tmp_path):
    """An answered, a refused, a failed-over and an unpermitted call, and a carrier that went away, each count once."""
    stage = Stage(tmp_path / "edge", ["1 sip:{alpha} 8 20 name=alpha", "1 sip:{beta} 8 10 name=beta"])
    try:
        stage.dial().answer()
        busy = stage.dial()
        busy.carrier.reply(busy.invite, 486, tag="b")
        busy.call.ack_refusal(busy.call.expect(486))
        token, _ = stage.customer()
        call = stage.switch().invite(token)
        stage.alpha.reply(stage.alpha.expect("INVITE", where=lambda m: m["call-id"] == call.call_id), 503, tag="s")
        stage.beta.reply(stage.beta.expect("INVITE", where=lambda m: m["call-id"] == call.call_id), 404, tag="n")
        call.ack_refusal(call.expect(404))
        unknown = stage.switch().invite("81999999999999")
        unknown.ack_refusal(unknown.expect(403))
        stranger = Switch(stage.edge.inside, host="127.0.0.9")
        stage.switches.append(stranger)
        stranger.invite(token)
        _wait_for(stage, "edge.stranger from=127.0.0.9")
        _wait_for(stage, "edge.carrier state=down carrier=alpha")
        counted = _counted(stage.edge.log)
        assert stage.logged() == []
    finally:
        stage.close()
    assert counted["esl_shield_edge_calls_total"] == {"alpha": 3, "beta": 1}
    assert counted["esl_shield_edge_answered_total"] == {"alpha": 1}
    assert counted["esl_shield_edge_failed_total"] == {"alpha,486": 1, "beta,404": 1}
    assert counted["esl_shield_edge_failovers_total"] == {"alpha,503": 1}
    assert counted["esl_shield_edge_refused_total"] == {"permit": 1}
    assert counted["esl_shield_edge_redemptions_total"] == {"200": 3, "404": 1}
    assert counted["esl_shield_edge_redemption_seconds_count"] == {"": 4}
    assert counted["esl_shield_edge_strangers_total"] == {"": 1}
    assert counted["esl_shield_edge_carrier_up"]["alpha"] == 0


@pytest.mark.skipif(
    not shutil.which("mtail") and os.environ.get("CI") != "true", reason="mtail (Debian's mtail) is not there"
)
def test_mtail_counts_customers_calls(tmp_path):
    """A customer's call that was answered and one that was refused count as two that came in and one answer."""
    stage = InboundStage(tmp_path / "edge")
    try:
        answered = stage.ring()
        answered.answer()
        answered.hang_up()
        refused = stage.ring()
        refused.reply(486)
        refused.acknowledge(refused.told(486))
        counted = _counted(stage.edge.log)
    finally:
        stage.close()
    assert counted["esl_shield_edge_inbound_total"] == {"alpha": 2}
    assert counted["esl_shield_edge_inbound_answered_total"] == {"alpha": 1}
    assert "esl_shield_edge_answered_total" not in counted


def test_a_call_that_waited_too_long_for_a_redeemer_is_refused(tmp_path):
    """With one redeemer and a silent resolver the second call is refused without a redemption of its own."""
    resolver, carrier = Resolver({"81000000000001": "+441134960001", "81000000000002": "+441134960002"}), Peer()
    defines = "#!redefine EDGE_REDEEMERS 1"
    edge = Edge(tmp_path / "edge", resolver.url, [f"1 sip:{HOST}:{carrier.port} 0 0 name=x"], defines=defines)
    switch = Switch(edge.inside)
    resolver.gate.clear()
    try:
        calls = [switch.invite(token) for token in resolver.numbers]
        for call in calls:
            call.ack_refusal(call.expect(503))
        log = edge.log.read_text()
        assert len(resolver.forms) == log.count("edge.redeemed") == log.count("reason=resolver") == 1
        assert log.count("edge.refused reason=queue") == 1
        took_ms = int(re.search(r"edge\.redeemed status=\d+ ms=(\d+) ", log)[1])
        assert took_ms >= 900
    finally:
        edge.stop()
        resolver.stop()
        carrier.close()
        switch.close()


def _counted(log):
    """What mtail makes of a log: metric, then labels' values joined, then the number."""
    done = subprocess.run(
        ["mtail", "-one_shot", "-one_shot_format=prometheus", "-progs", str(EDGE / "edge.mtail"), "-logs", str(log)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    counted = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? ([\d.]+)$", done.stdout, re.MULTILINE):
        values = [found for key, found in re.findall(r'(\w+)="([^"]*)"', labels) if key != "prog"]
        counted.setdefault(name, {})[",".join(values)] = float(value)
    return counted
