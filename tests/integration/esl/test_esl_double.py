"""The stand-in for FreeSWITCH held against every recording: same messages, same order, same values.

Two things are races in the real thing and therefore choices of ``Call``: where the linger notice falls among the
events (``linger_notice``), and whether events from before the subscription still arrive (``lagging``). Every other
difference in order fails. Values are compared for all headers but those named in VARIES (their value differs from call
to call: identity, clock, media figures) and RACES (their presence depends on when the phone's ACK arrives).
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

import esl_transcripts
import gevent
import pytest
from gevent import socket

from esl_shield.esl.double import Agent, Call, Carrier, Gateway, play
from esl_shield.esl.double.redeem import AWAY

NUMBER = "+8613800138042"

# The first laboratory: early negotiation, a From URI with a port, a carrier that repeats the number in X- headers.
OLD_AGENT = Agent(domain="127.0.0.1", uri_port=5099)
CALLED = {"X-Carrier-Called": "{called}"}
ANSWERS = Carrier(progress_headers=CALLED, final_headers=CALLED)
RINGS = Carrier(progress_headers=CALLED, after_s=None)


def refuses(status, phrase, q850):
    reason = f'Q.850;cause={q850};text="{{called}} {phrase}"'
    return Carrier(status=status, phrase=phrase, final_headers=CALLED, reason=reason)


def old(carrier=None, **options):
    gateways = {"carrier": Gateway(carrier)} if carrier else {}
    options = {"agent": OLD_AGENT, "late_negotiation": False, "hangs_up_after_s": 0.05, "timeout_scale": 0.01} | options
    return Call("70001234567", gateways=gateways, **options)


# The second: the shipped dialplan and profile, late negotiation, polite carriers.
NEW_AGENT = Agent(domain="agents.example.com")
ACCEPTS, REFUSES_503 = Carrier(), Carrier(status=503, phrase="Service Unavailable", rings=False)
BUSY, SILENT = Carrier(status=486, phrase="Busy Here"), Carrier(after_s=None)
EARLY = Carrier(rings=False, early_media=True)


def new(*carriers, **options):
    gateways = {f"carrier-{name}": Gateway(carrier) for name, carrier in zip("ab", carriers, strict=False)}
    return Call("70001234567893", **{"agent": NEW_AGENT, "gateways": gateways, "hangs_up_after_s": 0.05} | options)


BOTH = {
    "no-such-gateway": new(),
    "no-answer": new(SILENT, timeout_scale=0.01),
    "agent-cancels": new(SILENT, cancels_after_s=0.05),
    "early-media-then-answer": new(EARLY),
    "early-media-then-failure": new(replace(EARLY, status=486, phrase="Busy Here")),
}
BY_DELIVERY = {
    "direct": {
        **BOTH,
        "answered-agent-hangs-up": new(ACCEPTS),
        "answered-customer-hangs-up": new(Carrier(hangs_up_after_s=0.05), hangs_up_after_s=None),
        "customer-busy": new(BUSY),
        "alarm-ends-ringing": new(SILENT, timeout_scale=0.01),
        "gateway-503-then-second-gateway": new(REFUSES_503, ACCEPTS),
        **dict.fromkeys(("resolver-away", "resolver-refuses", "destination-refused"), new(ACCEPTS)),
    },
    "bridge": {
        **BOTH,
        "answered": new(ACCEPTS),
        "answered-outlives-alarm": new(ACCEPTS, timeout_scale=0.1),
        "busy-continue-on-fail": new(BUSY),
        "503-then-second-gateway": new(REFUSES_503, ACCEPTS),
    },
}
# Where the race went another way than most of its delivery's.
LINGER_NOTICE = {
    "direct-agent-cancels": "hangup",
    "direct-alarm-ends-ringing": "hangup",
    "direct-no-answer": "state",
    "bridge-no-such-gateway": "state",
    "bridge-answered-outlives-alarm": "end",
    "bridge-busy-continue-on-fail": "end",
    "bridge-early-media-then-failure": "end",
}
FORGES = replace(OLD_AGENT, headers={"X-Note": "a%0Avariable_user_name: supervisor%0AUnique-ID: deadbeef"})
CALLS = {
    "answered-agent-hangs-up": old(ANSWERS, lagging=True),
    # Named after the carrier's BYE, but its events say recv_bye on the agent's leg: the agent was first.
    "answered-customer-hangs-up": old(ANSWERS, linger_notice="end"),
    "answered-filtered-events": old(ANSWERS),
    "agent-injects-headers": old(ANSWERS, agent=FORGES),
    "agent-cancels": old(RINGS, cancels_after_s=0.05),
    "customer-busy": old(refuses(486, "Busy Here {called}", 17), linger_notice="end"),
    "customer-unallocated": old(refuses(404, "Not Found", 1), lagging=True, linger_notice="at once"),
    "gateway-503": old(refuses(503, "Service Unavailable", 41), linger_notice="end"),
    "no-such-gateway": old(linger_notice="state"),
    "worker-refuses": old(linger_notice="state"),
    "worker-hangs-up": old(linger_notice="state"),
    **{
        f"{delivery}-{name}": replace(call, linger_notice=LINGER_NOTICE.get(f"{delivery}-{name}", usual))
        for delivery, usual in (("direct", "end"), ("bridge", "hangup"))
        for name, call in BY_DELIVERY[delivery].items()
    },
}
REDEEMED = {
    "direct-resolver-away": AWAY,
    "direct-resolver-refuses": (404, "refused"),
    "direct-destination-refused": (403, "destination"),
}

VARIES = re.compile(
    r"(variable_)?(Core-UUID|FreeSWITCH-.*|Event-Date-.*|Event-Sequence)|.*-Time|.*_u?epoch|.*_stamp"
    r"|variable_(.*sec|[mu]?duration|session_id|socket_host|sip_call_id|sip_from_tag|sip_full_(via|from|to)"
    r"|sip_(network|received|contact|via)_(port|uri)|sofia_profile_url|.*sdp(_str)?|(remote|local)_media_port"
    r"|rtp_use_ssrc|rtp_audio_in_skip_packet_count)|Content-Length"
)
RACES = re.compile(r"variable_(sip_to_tag|sip_cseq)")
WORKERS = re.compile(r"127\.0\.0\.1:[0-9]+(\|127\.0\.0\.1:[0-9]+)? async full")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_every_recording_has_its_call():
    """No recording is left out."""
    assert CALLS.keys() == set(esl_transcripts.NAMES)


@pytest.mark.parametrize("name", esl_transcripts.NAMES)
def test_the_double_says_what_freeswitch_said(name):
    """Driven by the recorded commands, the double sends the recorded messages with the recorded values."""
    conversation = esl_transcripts.load(name)
    with gevent.Timeout(60):
        said = drive(conversation, CALLS[name], REDEEMED.get(name))
    recorded = [readable(message.data) for message in conversation if not message.from_worker]
    played = [readable(data) for data in said]
    assert [title(message) for message in played] == [title(message) for message in recorded]
    for ours, theirs in zip(named(played), named(recorded), strict=True):
        assert ours == theirs


def drive(conversation, call, redeemed):
    """Take the worker's part of a recording against the double; returns FreeSWITCH's."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def redeem(redemption):
        host = call.gateways[redemption.gateway].host if redemption.gateway in call.gateways else "127.0.0.1:9"
        return redeemed or (200, NUMBER if redemption.delivery == "edge" else f"sip:{NUMBER}@{host}")

    playing = gevent.spawn(play, call, listener.getsockname(), redeem=redeem)
    sock, _ = listener.accept()
    uuids = [re.search(rb"Unique-ID: (.*)", m.data)[1] for m in conversation if b"CHANNEL_DATA" in m.data]
    said, buffer, actual = [], b"", None
    for message in conversation:
        if message.from_worker:
            sock.sendall(message.data.replace(uuids[0], actual or b"") + b"\n\n")
            continue
        frame, buffer = take(sock, buffer)
        said.append(frame)
        actual = actual or re.search(rb"Unique-ID: (.*)", frame)[1]
    assert take(sock, buffer) == (b"", b"")
    sock.close()
    listener.close()
    playing.get()
    return said


def take(sock, buffer):
    """Return the next frame and what follows; empty at the end."""
    while True:
        head, end, rest = buffer.partition(b"\n\n")
        length = re.search(rb"^Content-Length: (\d+)$", head, re.MULTILINE)
        size = int(length[1]) if length and end else 0
        if end and len(rest) >= size:
            return head + end + rest[:size], rest[size:]
        data = sock.recv(65536)
        if not data:
            return buffer, b""
        buffer += data


def readable(data):
    """Return a frame's headers, an event's own included; bodies of other frames under ``body``."""
    head, _, body = data.decode().partition("\n\n")
    headers = {}
    block = body if "text/event-plain" in head else head
    for line in block.strip().split("\n"):
        name, _, value = line.partition(": ")
        headers.setdefault(name, unquote(value))
    return headers | ({"body": body} if block == head else {"Content-Type": "text/event-plain"})


def title(message):
    """Return what kind of message it is."""
    return tuple(message.get(name) for name in ("Content-Type", "Event-Name", "Application", "Content-Disposition"))


def named(messages):
    """Return messages as they compare: uuids by order of appearance, varying values only by whether they are set."""
    seen: dict[str, str] = {}
    for message in messages:
        plain = {}
        for name in sorted(message):
            if RACES.fullmatch(name):
                continue
            value = WORKERS.sub("WORKERS async full", message[name])
            if VARIES.fullmatch(name):
                plain[name] = value == "0" if name.endswith(("-Time", "epoch")) else "..."
            else:
                plain[name] = UUID.sub(lambda found: seen.setdefault(found[0], f"uuid-{len(seen)}"), value)
        yield plain
