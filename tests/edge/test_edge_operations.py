"""Running the edge: the shipped files, what it refuses to load, floods, registration, load."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time

import pytest
from edge_lab import COMMAND, EDGE, Edge, Resolver, registration
from ports import HOST, free_port
from sip_peer import SDP, Message, Peer, Switch, render, uri_of

from esl_shield.shipped import shipped

CALLS_PER_S, LOAD_S = 100, 60
T1_S = 0.5


def test_the_edge_is_shipped():
    """The package finds the edge's files where it is installed."""
    names = {path.name for path in shipped("edge").iterdir()}
    assert {
        "kamailio.cfg",
        "site.cfg.example",
        "carriers.list.example",
        "tls-names.cfg",
        "tls.cfg.example",
        "kamailio-edge.service",
        "edge.mtail",
        "README.md",
    } <= names


@pytest.mark.parametrize("tls", [False, True])
def test_the_example_is_a_whole_configuration(tmp_path, tls):
    """The example of site.cfg, its addresses put on loopback, is one Kamailio accepts, with TLS and without."""
    for name in ("kamailio.cfg", "tls-names.cfg"):
        (tmp_path / name).write_text((EDGE / name).read_text())
    site = (EDGE / "site.cfg.example").read_text().replace("10.0.0.5", HOST).replace("198.51.100.7", HOST)
    if tls:
        site = site.replace("# #!define WITH_TLS", "#!define WITH_TLS")
    (tmp_path / "site.cfg").write_text(site)
    done = subprocess.run(
        [*COMMAND, "-c", "-f", str(tmp_path / "kamailio.cfg")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **dict.fromkeys(("SHIELD_EDGE_SECRET", "SHIELD_EDGE_KEY", "SHIELD_EDGE_TAG_KEY"), "9f3c")},
    )
    assert done.returncode == 0, done.stderr


def _configuration():
    return "".join((EDGE / name).read_text() for name in ("kamailio.cfg", "tls-names.cfg"))


def test_no_control_socket_is_loaded():
    """Neither RPC nor any database, dialog or trace module is in the configuration."""
    loaded = set(re.findall(r'^\s*loadmodule "(\w+)\.so"', _configuration(), re.MULTILINE))
    assert not loaded & {
        "ctl",
        "jsonrpcs",
        "xhttp",
        "xhttp_rpc",
        "kemix",
        "dialog",
        "siptrace",
        "sipcapture",
        "sipdump",
        "acc",
        "exec",
    }


def test_log_lines_name_no_part_of_a_message():
    """Every line is made of fixed words, our own Call-ID, statuses, carriers' and gateways' names and addresses."""
    allowed = {"$ci", "$si", "$rm", "$avp(carrier)", "$var(code)", "$var(status)", "$var(gateway)", "$var(key)"}
    allowed |= {"$var(state)", "$var(name)", "$var(took_ms)", "$avp(call)", "$avp(caller_at)"}
    for line in re.findall(r"xlog\((.*)\);", _configuration()):
        assert set(re.findall(r"\$\w+(?:\([^)]*\))?", line)) <= allowed, line


def _invites(switch, count):
    for number in range(count):
        switch.invite(f"81{number:012d}")


def test_a_flood_of_calls_is_cut(tmp_path):
    """More new calls a second than the site allows are refused with 503 without asking the resolver."""
    resolver = Resolver()
    edge = Edge(
        tmp_path / "edge", resolver.url, ["1 sip:127.0.0.1:9 0 0 name=x"], defines="#!define EDGE_CALLS_PER_S 10"
    )
    switch = Switch(edge.inside)
    try:
        _invites(switch, 60)
        refused = 0
        for _ in range(60):
            refused += bool(switch.expect(503) if resolver.status else _final(switch) == 503)
        assert refused >= 30
        assert len(resolver.forms) <= 60 - refused
    finally:
        edge.stop()
        resolver.stop()
        switch.close()


def _final(switch):
    """The next final response to an INVITE."""
    while True:
        message = switch._receive(5)
        if message is not None and message.status >= 200:
            return message.status


def test_a_flood_from_the_carriers_side_is_dropped(tmp_path):
    """An address that sends more than the site allows gets no more answers, while FreeSWITCH's side is served."""
    resolver = Resolver({"81000000000001": "+441134960001"})
    carrier, flooder = Peer(), Peer(host="127.0.0.77")
    edge = Edge(
        tmp_path / "edge",
        resolver.url,
        [f"1 sip:{HOST}:{carrier.port} 0 0 name=x"],
        defines="#!redefine EDGE_PIKE_DENSITY 20",
    )
    switch = Switch(edge.inside)
    try:
        for number in range(200):
            flooder.send(
                render(
                    f"OPTIONS sip:{HOST} SIP/2.0",
                    [
                        ("Via", flooder.via()),
                        ("From", "<sip:a@b>;tag=1"),
                        ("To", "<sip:a@b>"),
                        ("Call-ID", f"flood-{number}"),
                        ("CSeq", "1 OPTIONS"),
                        ("Max-Forwards", "1"),
                    ],
                ),
                edge.outside,
            )
        call = switch.invite("81000000000001")
        carrier.reply(carrier.expect("INVITE"), 486, tag="t")
        call.ack_refusal(call.expect(486))
        flooder.drain()
        assert 0 < len(flooder.heard) < 100
    finally:
        edge.stop()
        resolver.stop()
        for peer in (switch, carrier, flooder):
            peer.close()


def test_the_edge_registers_where_a_carrier_wants_it(tmp_path):
    """With the registration part of the example switched on, the edge registers and answers the digest challenge."""
    carrier, resolver = Peer(), Resolver()
    outside = free_port()
    extra = registration(tmp_path / "registrations", f"sip:{HOST}:{carrier.port}", outside)
    edge = Edge(tmp_path / "edge", resolver.url, ["1 sip:127.0.0.1:9 0 0 name=x"], extra=extra, outside=outside)
    try:
        first = carrier.expect("REGISTER", within_s=10)
        assert uri_of(first["to"]) == "sip:acct@carrier.example"
        carrier.reply(first, 401, tag="r", headers=[("WWW-Authenticate", 'Digest realm="carrier.example", nonce="n1"')])
        again = carrier.expect("REGISTER", within_s=10)
        assert 'username="acct"' in again["authorization"]
        carrier.reply(again, 200, tag="r", headers=[("Contact", f"{again['contact']};expires=300")])
    finally:
        edge.stop()
        resolver.stop()
        carrier.close()


# --- load --------------------------------------------------------------------------------------------------------


class Repeats:
    """What was sent and not yet confirmed, said again after T1, 2 T1, 4 T1 (RFC 3261 17.1.1.2)."""

    def __init__(self):
        self._pending = {}
        self._looked = 0.0

    def add(self, call_id, say):
        self._pending[call_id] = (time.monotonic() + T1_S, T1_S, say)

    def confirm(self, call_id):
        self._pending.pop(call_id, None)

    def due(self):
        """Say again what is due; looks ten times a second at most."""
        now = time.monotonic()
        if now - self._looked < 0.1:
            return
        self._looked = now
        for call_id, (at, wait, say) in list(self._pending.items()):
            if at <= now:
                self._pending[call_id] = (now + 2 * wait, 2 * wait, say)
                say()


class Answering(threading.Thread):
    """A carrier that answers every call at once and confirms its end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peer, self.invites, self._ended, self._repeats = Peer(), set(), False, Repeats()

    def run(self):
        while not self._ended:
            message = self.peer._receive(0.1)
            self._repeats.due()
            if message is not None and not message.status:
                self._take(message)

    def _take(self, message):
        if message.method == "INVITE":
            self.invites.add(message["call-id"])
            self.peer.reply(message, 180, tag="t")
            self._answer(message)
            self._repeats.add(message["call-id"], lambda: self._answer(message))
            return
        self._repeats.confirm(message["call-id"])
        if message.method == "BYE":
            self.peer.reply(message, 200)

    def _answer(self, invite):
        contact = [("Contact", f"<sip:c@{HOST}:{self.peer.port}>")]
        self.peer.reply(invite, 200, tag="t", headers=contact, body=SDP)

    def stop(self):
        self._ended = True
        self.join(5)
        self.peer.close()


class Calls(threading.Thread):
    """FreeSWITCH's side under load: acknowledges and ends what is answered, and keeps what it heard."""

    def __init__(self, switch):
        super().__init__(daemon=True)
        self.switch, self.live, self.began, self.answered_ms, self.done, self.refused = switch, {}, {}, [], 0, []
        self._ended, self._repeats = False, Repeats()
        self.heard = []

    def dial(self, token):
        call = self.switch.invite(token)
        self.began[call.call_id] = time.monotonic()
        self.live[call.call_id] = call
        self._repeats.add(call.call_id, call.again)

    def run(self):
        while not self._ended:
            message = self.switch._receive(0.1)
            self._repeats.due()
            if message is not None:
                self.heard.append(message.raw)
                self._repeats.confirm(message["call-id"])
                self._take(message)

    def _take(self, message: Message):
        call = self.live.get(message["call-id"])
        if call is None or message.status < 200:
            return
        if message.method == "INVITE" and message.status == 200:
            if call.call_id in self.began:
                self.answered_ms.append(1000 * (time.monotonic() - self.began.pop(call.call_id)))
            call.dialog.refresh(message)
            call.ack()
            bye = call.dialog.request("BYE", cseq=2)
            self._repeats.add(call.call_id, lambda: self.switch.send(bye, self.switch.edge))
        elif message.method == "BYE":
            self.done += 1
            del self.live[call.call_id]
        else:
            self.refused.append(message.status)
            call.ack_refusal(message)
            del self.live[call.call_id]

    def stop(self):
        self._ended = True
        self.join(5)


@pytest.mark.load
@pytest.mark.timeout(180)
def test_a_hundred_calls_a_second_for_a_minute_lose_nothing(tmp_path):
    """6,000 calls at 100 a second are all answered and ended, each permit spent once, and no number came back."""
    resolver = Resolver()
    carrier = Answering()
    edge = Edge(
        tmp_path / "edge",
        resolver.url,
        [f"1 sip:{HOST}:{carrier.peer.port} 0 0 name=alpha"],
        defines="#!define EDGE_CALLS_PER_S 1000",  # what a stalled caller catches up with is not a flood
    )
    calls = Calls(Switch(edge.inside))
    carrier.start()
    calls.start()
    tokens = [f"81{number:012d}" for number in range(CALLS_PER_S * LOAD_S)]
    resolver.numbers.update({token: f"+4411349{number:05d}" for number, token in enumerate(tokens)})
    try:
        start = time.monotonic()
        pace = threading.Event()
        for position, token in enumerate(tokens):
            pace.wait(max(0.0, start + position / CALLS_PER_S - time.monotonic()))
            calls.dial(token)
        lasted = time.monotonic() - start
        deadline = time.monotonic() + 20
        while calls.live and time.monotonic() < deadline:
            pace.wait(0.1)
    finally:
        calls.stop()
        carrier.stop()
        edge.stop()
        resolver.stop()
        calls.switch.close()
    waits = sorted(calls.answered_ms)
    print(  # noqa: T201 - the figures are what the test is run for
        f"\n{len(tokens)} calls in {lasted:.1f} s; answered after p50 {waits[len(waits) // 2]:.1f} ms, "
        f"p99 {waits[len(waits) * 99 // 100]:.1f} ms; refused {calls.refused}, left {len(calls.live)}"
    )
    assert (calls.done, calls.refused, len(calls.live)) == (len(tokens), [], 0)
    assert len(carrier.invites) == len(resolver.used) == len(resolver.forms) == len(tokens)
    assert lasted < LOAD_S * 1.05
    assert b"+4411349" not in b"".join(calls.heard)
    assert b"4411349" not in edge.log.read_bytes()
