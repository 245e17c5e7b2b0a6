"""Attacks on the edge: a carrier that bends the protocol, and a FreeSWITCH that was taken over and wants the number.

The stage's own check after each test counts: nothing FreeSWITCH's side received and no line logged holds a number.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
from edge_lab import Edge
from edge_stage import Stage
from ports import HOST
from sip_peer import SDP, Silence, StreamPeer, Switch, render

NUL = "\x00"


def _answered(ringing, within_s=0.5, **reply):
    """Let the carrier answer so; what FreeSWITCH was told, or nothing if the edge dropped it."""
    headers = [("Contact", ringing.contact), *reply.pop("headers", [])]
    ringing.carrier.reply(ringing.invite, reply.pop("code", 200), "OK", tag=ringing.tag, headers=headers, **reply)
    try:
        return ringing.switch.expect(
            200, within_s=within_s, where=lambda m: m["call-id"] == ringing.call.call_id and m.method == "INVITE"
        )
    except Silence:
        return None


# --- a carrier ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["a=sendrecv", "a=ptime:20", "b=AS:64", "c=IN IP4 127.0.0.1", "a=rtpmap:8 PCMA/8000", "a=fmtp:101 0-16"]
)
def test_nothing_behind_a_nul_in_a_description_gets_through(stage, line):
    """A zero byte ends a line for the pattern that admits it, and so for what is passed on."""
    ringing = stage.dial()
    _answered(ringing, body=SDP + f"{line}{NUL}{ringing.number}\r\n")


@pytest.mark.parametrize(("name", "value"), [("Session-Expires", "1800"), ("Min-SE", "90"), ("RSeq", "1")])
def test_nothing_behind_a_nul_in_a_header_gets_through(stage, name, value):
    """A zero byte ends a header's value for the pattern that admits it, and so for what is passed on."""
    ringing = stage.dial()
    _answered(ringing, headers=[(name, f"{value}{NUL}{ringing.number}")])


def test_nothing_behind_a_nul_in_an_info_gets_through(stage):
    """A zero byte in an INFO's body hides nothing from the check of that body."""
    ringing = stage.dial()
    ringing.answer()
    body = f"Signal=1\r\nDuration=100\r\n{NUL}{ringing.number}"
    ringing.remote.request("INFO", body=body, content_type="application/dtmf-relay")
    ringing.switch.hears_nothing("INFO", within_s=0.5)


def test_nothing_behind_a_nul_in_a_refusal_gets_through(stage):
    """A zero byte in the Min-SE of a refused offer hides nothing."""
    ringing = stage.dial()
    ringing.answer()
    ringing.call.dialog.request("INVITE", body=SDP)
    ringing.carrier.reply(ringing.expect("INVITE"), 422, "No", headers=[("Min-SE", f"90{NUL}{ringing.number}")])
    ringing.switch.hears_nothing(422, within_s=0.3)


@pytest.mark.parametrize("code", [183, 200])
def test_a_response_too_large_to_compose_is_not_passed_on_as_it_came(stage, code):
    """A description that passes line by line but is too large as a whole does not pass as it came."""
    ringing = stage.dial()
    value = "mode-change-neighbor=1,1,1,1,1,1,1,1;" * 12
    body = SDP + f"a=fmtp:101 {value}\r\n" * 100
    _answered(ringing, within_s=1.5, code=code, body=body, headers=[("X-Called", ringing.number)])
    ringing.switch.drain()


def test_a_request_too_large_to_compose_is_not_passed_on_as_it_came(stage):
    """The same for a carrier's request."""
    ringing = stage.dial()
    ringing.answer()
    value = "mode-change-neighbor=1,1,1,1,1,1,1,1;" * 12
    ringing.remote.request("UPDATE", body=SDP + f"a=fmtp:101 {value}\r\n" * 100, headers=[("X-Called", ringing.number)])
    ringing.switch.hears_nothing("UPDATE", within_s=0.3)


def test_a_reason_on_a_carriers_cancel_does_not_get_through(stage):
    """A carrier that withdraws an offer of its own says nothing to FreeSWITCH but that."""
    ringing = stage.dial()
    ringing.answer()
    via = ringing.carrier.via()
    ringing.remote.request("INVITE", body=SDP, via=via)
    offer = ringing.hears("INVITE")
    ringing.switch.reply(offer, 180, "Ringing")
    ringing.carrier.expect(180, where=lambda m: m["call-id"] == ringing.call.call_id)
    reason = f'SIP;cause=487;text="{ringing.number}"'
    ringing.remote.request("CANCEL", via=via, headers=[("Reason", reason)])
    cancel = ringing.hears("CANCEL")
    assert cancel["reason"] == ""


def test_a_reason_on_freeswitchs_cancel_does_not_get_through(stage):
    """What FreeSWITCH writes into a CANCEL ends at the edge, as in its INVITE."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 180, "Ringing", tag=ringing.tag)
    ringing.call.expect(180)
    d = ringing.call.dialog
    uri = ringing.call.sent.split(b" ", 2)[1].decode()
    lines = [
        ("Via", ringing.call.via),
        ("From", d.local),
        ("To", f"<{uri}>"),
        ("Call-ID", d.call_id),
        ("CSeq", f"{d.cseq} CANCEL"),
        ("Max-Forwards", "70"),
        ("Reason", f'SIP;cause=487;text="{ringing.token}"'),
    ]
    ringing.switch.send(render(f"CANCEL {uri} SIP/2.0", lines), d.edge)
    cancel = ringing.expect("CANCEL")
    assert ringing.token.encode() not in cancel.raw


@pytest.mark.parametrize("broken", ["X-Broken\r\n", "Broken header: 1\r\n", ": 1\r\n"])
def test_an_acknowledgement_that_does_not_parse_tells_a_carrier_nothing(stage, broken):
    """A header of FreeSWITCH's ACK that stops the parser does not bring what follows it to the carrier."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 200, "OK", tag=ringing.tag, headers=[("Contact", ringing.contact)], body=SDP)
    ringing.call.expect(200)
    ringing.call.dialog.request("ACK", headers=[("X-Note", f"1\r\n{broken}X-Note: {ringing.token}")])
    ringing.call.ack()
    ringing.expect("ACK")
    ringing.carrier.drain()
    assert not [m for m in ringing.carrier.heard if ringing.token.encode() in m.raw]


def test_a_response_under_another_call_id_is_filtered_all_the_same(stage):
    """A carrier cannot switch off the recognition of the number by answering under a Call-ID of its own."""
    ringing = stage.dial()
    rseq = [("Require", "100rel"), ("RSeq", ringing.number[3:])]
    ringing.carrier.reply(
        ringing.invite, 183, tag="t", headers=[("Contact", ringing.contact), *rseq], replace={"call-id": "another"}
    )
    ringing.switch.hears_nothing(183, within_s=0.3)


@pytest.mark.parametrize("rack", ["{n} 1 INVITE", "1 {n} INVITE", "1 1 {b}"])
def test_a_carriers_rack_does_not_get_through_with_the_number(stage, rack):
    """RAck of a carrier's PRACK names a response and a request, not the customer."""
    ringing = stage.dial()
    ringing.answer()
    n = ringing.number[3:]
    letters = "".join(chr(ord("A") + int(digit)) for digit in n)
    ringing.remote.request("PRACK", headers=[("RAck", rack.format(n=n, b=letters))])
    ringing.switch.hears_nothing("PRACK", within_s=0.3)
    assert letters.encode() not in b"".join(m.raw for m in ringing.switch.heard)


BAD_TARGETS = [
    "sip:{n}@",
    "sip:{n}:x@:y",
    "sip:{n}@h:99999999",
    "sip:{n}@[::",
    "sip:{n}",
    "sip:@{n}",
    "sip::{n}@x@y",
    "sip:{n}@x;transport=sctp",
    "sip:{n}@x;transport=ws",
    "sip:{n}@x;transport=bogus",
    "sips:{n}@127.0.0.1",
    "sip:{n}@127.0.0.1:0",
    "sip:a@127.0.0.1:9;maddr={n}",
    "sip:{n}%zz@%",
    "sip:{n}@x?y",
    "sip:a@{n}.invalid",
    "sip:a@b;x={n};;=",
    "sip:{n}@a_b.invalid:5060",
    "sip:{n}@255.255.255.255",
    "sip:{n}@0.0.0.0",
]


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_a_target_nobody_can_reach_is_not_logged(stage, target):
    """A carrier's Contact that cannot be used makes the edge say nothing of it, in any request FreeSWITCH sends."""
    ringing = stage.dial()
    ringing.contact = f"<{target.format(n=ringing.number[1:])}>"
    if _answered(ringing, body=SDP) is None:
        return
    ringing.call.dialog.refresh(ringing.switch.heard[-1])
    ringing.call.ack()
    ringing.call.dialog.request("INVITE", body=SDP)
    ringing.call.dialog.request("BYE")
    ringing.switch.hears_nothing(200, within_s=0.3)


@pytest.mark.parametrize("route", ["<{t}>", "{t}", "<{t};lr>", "{n} <{t};lr>", "<{t};lr", '"{n}', "{n}"])
@pytest.mark.parametrize("target", BAD_TARGETS[:3])
def test_a_route_nobody_can_follow_is_not_logged(stage, target, route):
    """A carrier's Record-Route that cannot be used makes the edge say nothing of it."""
    ringing = stage.dial()
    n = ringing.number[1:]
    route = route.format(t=target.format(n=n), n=n)
    if (answer := _answered(ringing, body=SDP, headers=[("Record-Route", route)])) is None:
        return
    ringing.call.dialog.refresh(answer)
    ringing.call.dialog.routes = answer.all("record-route")
    ringing.call.ack()
    ringing.call.dialog.request("BYE")
    ringing.switch.hears_nothing(200, within_s=0.3)


@pytest.fixture
def apart(stage, tmp_path):
    """An edge whose FreeSWITCH has an address of its own, and that FreeSWITCH."""
    edge = Edge(
        tmp_path / "edge",
        stage.resolver.url,
        [f"1 sip:{HOST}:{stage.alpha.port} 0 0 name=alpha"],
        freeswitch="127.0.0.9",
        apart=True,
    )
    switch = Switch(edge.inside, host="127.0.0.9")
    stage.switches.append(switch)
    yield edge, switch
    edge.stop()


@pytest.mark.parametrize("by", ["contact", "maddr", "route"])
def test_a_carrier_cannot_send_freeswitch_its_own_view_of_the_call(stage, apart, by):
    """A remote target or route at FreeSWITCH's own address gets nothing: those messages hold the number."""
    _edge, switch = apart
    token, _ = stage.customer()
    call = switch.invite(token)
    invite = stage.alpha.expect("INVITE", where=lambda m: m["call-id"] == call.call_id)
    there = f"{switch.host}:{switch.port}"
    headers = {
        "contact": [("Contact", f"<sip:a@{there}>")],
        "maddr": [("Contact", f"<sip:a@{HOST}:{switch.port};maddr={switch.host}>")],
        "route": [("Contact", f"<sip:a@{HOST}:9>"), ("Record-Route", f"<sip:{there};lr>")],
    }[by]
    stage.alpha.reply(invite, 200, tag="t", headers=headers, body=SDP)
    call.expect(200)
    call.ack()
    call.dialog.request("BYE")
    switch.hears_nothing("ACK", within_s=0.3)
    switch.hears_nothing("BYE", within_s=0.3)


# --- a FreeSWITCH that was taken over --------------------------------------------------------------------------------


def _hash_update(h, text):
    for at in range(0, len(text) - len(text) % 4, 4):
        v = int.from_bytes(text[at : at + 4], "big")
        h = (h + (v ^ (v >> 3))) & 0xFFFFFFFF
    rest = text[len(text) - len(text) % 4 :]
    v = int.from_bytes(rest, "big") if rest else 0
    return (h + (v ^ (v >> 3))) & 0xFFFFFFFF


def _branch(call, switch, token_uri, cseq=1):
    """The branch the edge sends an INVITE out with: all of it follows from what FreeSWITCH itself sent."""
    h = _hash_update(_hash_update(0, call.call_id.encode()), str(cseq).encode())
    h = ((h + (h >> 11)) + ((h >> 13) + (h >> 23))) & 0xFFFF
    tag = re.search(r";tag=([^;]+)", call.dialog.local)[1]
    mine = re.search(r"branch=([^;]+)", call.via)[1]
    parts = [tag, "", call.call_id, token_uri, str(cseq), switch.host, str(switch.port), mine]
    digest = hashlib.md5("".join(parts).encode()).hexdigest()  # noqa: S324
    return f"z9hG4bK{f'{h:x}'[::-1]}.{digest}.1"


def test_freeswitch_cannot_answer_in_the_carriers_place(stage):
    """A response that FreeSWITCH forges towards its own call is not taken for the carrier's, and earns it no seal."""
    ringing = stage.dial()
    uri = ringing.call.sent.split(b" ", 2)[1].decode()
    branch = _branch(ringing.call, ringing.switch, uri)
    assert f"branch={branch}" in ringing.invite["via"]  # the control: it can be computed
    forged = [
        ("Via", ringing.invite["via"]),
        ("From", ringing.call.dialog.local),
        ("To", "<sip:x@y>;tag=forged"),
        ("Call-ID", ringing.call.call_id),
        ("CSeq", "1 INVITE"),
        ("Contact", "<sip:x@y>"),
    ]
    ringing.switch.send(render("SIP/2.0 200 OK", forged), stage.edge.outside)
    assert ringing.switch.hears_nothing(200, within_s=0.3)
    ringing.answer()
    ringing.hang_up()


def test_a_forged_record_route_does_not_bring_the_number_to_freeswitch(stage):
    """The true carrier's seal and a forged route, opened together, do not send the number to whom FreeSWITCH names."""
    ringing = stage.dial()
    accomplice = Switch(stage.edge.inside)
    stage.switches.append(accomplice)
    uri = ringing.call.sent.split(b" ", 2)[1].decode()
    via = f"SIP/2.0/UDP {HOST}:{stage.edge.outside[1]};branch={_branch(ringing.call, ringing.switch, uri)}"
    forged = [
        ("Via", via),
        ("From", ringing.call.dialog.local),
        ("To", "<sip:x@y>;tag=forged"),
        ("Call-ID", ringing.call.call_id),
        ("CSeq", "1 INVITE"),
        ("Contact", "<sip:x@y>"),
        ("Record-Route", f"<sip:{accomplice.host}:{accomplice.port};lr>"),
    ]
    accomplice.send(render("SIP/2.0 180 Ringing", forged), stage.edge.outside)
    try:
        route = ringing.hears(180, within_s=0.6)["record-route"]
    except (Silence, KeyError):
        route = ""
    ringing.answer()
    ringing.call.dialog.routes = [route] if route else []
    ringing.call.dialog.request("BYE")
    accomplice.hears_nothing("BYE", within_s=0.6)


# --- the site --------------------------------------------------------------------------------------------------------


def test_an_edge_without_its_keys_takes_no_calls(stage, tmp_path):
    """Seals under an empty key could be opened by everybody: without a key there are no calls."""
    edge = Edge(tmp_path / "edge", stage.resolver.url, [f"1 sip:{HOST}:{stage.alpha.port} 0 0 name=alpha"], key="")
    try:
        token, _ = stage.customer()
        asked = len(stage.resolver.forms)
        call = stage.switch(edge).invite(token)
        call.ack_refusal(call.expect(503))
        assert len(stage.resolver.forms) == asked
    finally:
        edge.stop()


@pytest.mark.parametrize("size", [300, 600, 900, 1500])
def test_a_carrier_with_long_names_can_be_told_the_call_is_over(stage, size):
    """A Contact and a route of real carriers' lengths survive the seal."""
    ringing = stage.dial()
    ringing.contact = f"<sip:{ringing.number}@{ringing.carrier.host}:{ringing.carrier.port};x={'y' * (size // 3)}>"
    home = f"{ringing.carrier.host}:{ringing.carrier.port}"
    routes = [("Record-Route", f"<sip:p{i}@{home};lr;ftag={'z' * (size // 6)}>") for i in range(4)]
    ringing.answer(headers=routes)
    ringing.hang_up()


def test_a_large_response_over_tcp_passes(tmp_path):
    """A response of 12 kB arrives over TCP."""
    peer = StreamPeer()
    stage = Stage(tmp_path / "edge", [f"1 sip:{HOST}:{peer.port};transport=tcp 0 0 name=alpha"])
    stage.alpha.close()
    stage.alpha = peer
    try:
        ringing = stage.dial()
        ringing.contact = f"<sip:c@{HOST}:{peer.port};transport=tcp>"
        ringing.answer(headers=[("X-Long", "y" * 12000)])
        ringing.hang_up()
        assert stage.findings() == []
    finally:
        stage.close()


_HOLD = """import socket, sys
held = [socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2) for _ in range(2100)]
print(len(held), flush=True)
sys.stdin.read()
"""


def test_idle_connections_of_strangers_do_not_keep_carriers_out(tmp_path):
    """More silent TCP connections than the edge may have leave a TCP carrier reachable."""
    peer = StreamPeer()
    stage = Stage(tmp_path / "edge", [f"1 sip:{HOST}:{peer.port};transport=tcp 0 0 name=alpha"])
    stage.alpha.close()
    stage.alpha = peer
    command = [sys.executable, "-c", _HOLD, *map(str, stage.edge.outside)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"2100\n"
            ringing = stage.dial()
            ringing.contact = f"<sip:c@{HOST}:{peer.port};transport=tcp>"
            ringing.answer()
            ringing.hang_up()
        finally:
            holder.stdin.close()
            stage.close()


def test_a_seal_that_shifts_its_fields_does_not_pass(stage):
    """A bar in the names a carrier gives itself does not move the number's field."""
    ringing = stage.dial()
    ringing.carrier.reply(
        ringing.invite,
        200,
        tag=ringing.tag,
        headers=[("Contact", ringing.contact)],
        body=SDP,
        replace={"to": f"<sip:{ringing.number}|a|b|c|d|e@{HOST}>;tag={ringing.tag}"},
    )
    try:
        ringing.call.expect(200)
    except Silence:
        return
    ringing.call.ack()
    ringing.call.dialog.request("UPDATE")
    ringing.carrier.expect("UPDATE", where=lambda m: m["call-id"] == ringing.call.call_id)
    update = ringing.carrier.heard[-1]
    ringing.carrier.reply(update, 200, "OK", headers=[("Contact", ringing.contact), ("RSeq", ringing.number[3:])])
    ringing.switch.hears_nothing("X", within_s=0.5)


@pytest.mark.parametrize("digits", ["{r}", "{p}"])
@pytest.mark.parametrize("field", ["RSeq", "CSeq"])
def test_the_number_backwards_in_a_counter(stage, field, digits):
    """A counter that spells the number backwards does not pass."""
    ringing = stage.dial()
    n = digits.format(r=ringing.number[3:][::-1], p=ringing.number[3:][::-1][:9])
    if field == "RSeq":
        ringing.carrier.reply(
            ringing.invite, 183, tag="t", headers=[("Contact", ringing.contact), ("Require", "100rel"), ("RSeq", n)]
        )
        ringing.switch.hears_nothing("X", within_s=0.3)
        return
    ringing.answer()
    ringing.remote.request("UPDATE", cseq=int(n))
    ringing.switch.hears_nothing("UPDATE", within_s=0.3)


def _via_cases():
    yield from (
        ';x="a,b',
        ';x="a,{n}"',
        " (a,{n})",
        ";x=a, SIP/2.0/UDP {n}",
        ';x="',
        " (",
        "\r\n ;x={n}",
        ";received={n}",
        ';x="\r\n ,{n}',
        ";branch={n}",
    )


@pytest.mark.parametrize("extra", list(_via_cases()))
@pytest.mark.parametrize("code", [180, 200])
def test_the_edges_own_via_brings_nothing_back(stage, code, extra):
    """Whatever a carrier hangs on the edge's own Via goes no further."""
    ringing = stage.dial()
    via = ringing.invite["via"] + extra.format(n=ringing.number)
    ringing.carrier.reply(
        ringing.invite, code, tag="t", headers=[("Contact", ringing.contact)], replace={"via": via}, body=SDP
    )
    ringing.switch.hears_nothing(code, within_s=0.25)


RAW = {
    "lf only": lambda raw, n: raw.replace(b"\r\n", b"\n"),
    "two lengths": lambda raw, n: raw.replace(b"Content-Length: ", b"Content-Length: 0\r\nContent-Length: "),
    "blank in name": lambda raw, n: raw.replace(b"Call-ID:", b"Call-ID :").replace(
        b"\r\nTo:", b"\r\nMin-SE : " + n + b"\r\nTo:"
    ),
    "two call-ids": lambda raw, n: raw.replace(b"Call-ID:", b"Call-ID: " + n + b"\r\nCall-ID:"),
    "two call-ids after": lambda raw, n: raw.replace(b"CSeq:", b"Call-ID: " + n + b"\r\nCSeq:"),
    "two from": lambda raw, n: raw.replace(b"From:", b'From: "' + n + b'" <sip:a@b>;tag=1\r\nFrom:'),
    "two to": lambda raw, n: raw.replace(b"\r\nTo:", b"\r\nTo: <sip:" + n + b"@b>;tag=1\r\nTo:"),
    "two cseq": lambda raw, n: raw.replace(b"CSeq:", b"CSeq: 1134960001 INVITE\r\nCSeq:"),
    "folded": lambda raw, n: raw.replace(b"CSeq: ", b"CSeq:\r\n\t"),
    "folded from": lambda raw, n: raw.replace(b"From: ", b'From: "' + n + b'"\r\n  '),
    "long": lambda raw, n: raw.replace(b"CSeq:", b"X: " + n * 2000 + b"\r\nCSeq:"),
    "many": lambda raw, n: raw.replace(b"CSeq:", (b"X: " + n + b"\r\n") * 800 + b"CSeq:"),
    "no length": lambda raw, n: raw.replace(b"Content-Length:", b"X-Length:") + n,
    "short length": lambda raw, n: raw.replace(b"Content-Length: ", b"Content-Length: 1\r\nX: "),
    "status text nul": lambda raw, n: raw.replace(b" OK\r\n", b" \x00" + n + b"\r\n"),
    "bare cr": lambda raw, n: raw.replace(b"a=sendrecv", b"a=sendrecv\ra=label:" + n),
    "leading crlf": lambda raw, n: b"\r\n\r\n" + raw,
    "utf8": lambda raw, n: raw.replace(b"CSeq:", b"X\xc3\xa9: " + n + b"\r\nCSeq:"),
    "empty header": lambda raw, n: raw.replace(b"CSeq:", b": " + n + b"\r\nCSeq:"),
    "version": lambda raw, n: raw.replace(b"SIP/2.0 200", b"sip/2.0 200"),
    "cseq method": lambda raw, n: raw.replace(b" INVITE\r\n", b" OPTIONS\r\n"),
    "cseq cancel": lambda raw, n: raw.replace(b" INVITE\r\n", b" CANCEL\r\n"),
    "cseq case": lambda raw, n: raw.replace(b" INVITE\r\n", b" invite\r\n"),
    "code 700": lambda raw, n: raw.replace(b"SIP/2.0 200", b"SIP/2.0 700"),
    "code 099": lambda raw, n: raw.replace(b"SIP/2.0 200", b"SIP/2.0 099"),
    "500 lines": lambda raw, n: raw.replace(b"CSeq:", b"X: 1\r\nCSeq:") + b"",
}


@pytest.mark.parametrize("how", RAW)
def test_a_response_bent_out_of_shape_shows_nothing(stage, how):
    """A 200 that parsers may read in several ways holds the number in none of those FreeSWITCH can meet."""
    ringing = stage.dial()
    sent = []
    ringing.carrier.answer_raw = lambda _, data: sent.append(data)
    try:
        ringing.carrier.reply(
            ringing.invite,
            200,
            "OK",
            tag="t",
            body=SDP,
            headers=[("Contact", ringing.contact), ("X-Called", ringing.number)],
        )
    finally:
        del ringing.carrier.answer_raw
    raw = RAW[how](sent[0], ringing.number[1:].encode())
    ringing.carrier.send(raw, ringing.invite.source)
    ringing.switch.hears_nothing(200, within_s=0.25)


def test_a_description_beyond_the_loops_limit_is_cut_not_passed(stage):
    """Lines behind the limit of lines are gone, the number with them."""
    ringing = stage.dial()
    body = SDP + "a=sendrecv\r\n" * 700 + f"a=label:{ringing.number}\r\n"
    answer = _answered(ringing, body=body)
    assert answer is None or "label" not in answer.body


# --- what the carrier learns -----------------------------------------------------------------------------------------


def _shows_nothing_of_freeswitch(ringing):
    shown = b"".join(message.raw for message in ringing.carrier.heard)
    assert ringing.token.encode() not in shown
    assert str(ringing.switch.port).encode() not in shown
    assert f":{ringing.stage.edge.inside[1]}".encode() not in shown


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "PRACK", "INFO", "ACK"])
def test_headers_of_freeswitchs_requests_within_a_call_end_here(stage, method):
    """Whatever FreeSWITCH writes into a request within a call, the carrier sees neither token nor address."""
    ringing = stage.dial()
    ringing.answer()
    names = (
        "Reason",
        "User-Agent",
        "X-Agent",
        "Subject",
        "X-Edge-Via",
        "Warning",
        "Date",
        "Allow",
        "Supported",
        "Unsupported",
    )
    content_type, body = {
        "INFO": ("application/dtmf-relay", "Signal=1\r\nDuration=100\r\n"),
        "INVITE": ("application/sdp", f"{SDP}s={ringing.token}\r\n"),
        "UPDATE": ("application/sdp", f"{SDP}s={ringing.token}\r\n"),
    }.get(method, (f"text/{ringing.token}", ringing.token))
    headers = [(name, ringing.token) for name in names]
    ringing.call.dialog.request(method, headers=headers, body=body, content_type=content_type)
    ringing.expect(method)
    _shows_nothing_of_freeswitch(ringing)


@pytest.mark.parametrize("code", [180, 200, 404, 488])
@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_responses_to_the_carrier_are_in_its_own_words(stage, method, code):
    """A carrier's request within a call is answered, from 100 on, without the token and FreeSWITCH's address."""
    ringing = stage.dial()
    ringing.answer()
    ringing.remote.request(method, body=SDP if method == "INVITE" else "")
    names = ("Reason", "Server", "Warning", "X-Agent", "Allow")
    headers = [(name, ringing.token) for name in names]
    headers.append(("Contact", f"<sip:{ringing.token}@{HOST}:{ringing.switch.port}>"))
    ringing.switch.reply(
        ringing.hears(method), code, ringing.token, headers=headers, body=f"{SDP}s={ringing.token}\r\n"
    )
    ringing.carrier.expect(code, where=lambda m: m.method == method and m["call-id"] == ringing.call.call_id)
    _shows_nothing_of_freeswitch(ringing)


@pytest.mark.parametrize("method", ["BYE", "INVITE"])
def test_a_request_that_cannot_reach_freeswitch_is_refused_in_the_carriers_own_words(stage, method):
    """A carrier's request that cannot be sent on is answered without the token and FreeSWITCH's address."""
    ringing = stage.dial()
    ringing.answer()
    ringing.call.dialog.contact = "<sip:x@nowhere.invalid>"
    ringing.call.dialog.request("UPDATE", body=SDP)
    update = ringing.expect("UPDATE")
    ringing.carrier.reply(update, 200, "OK", headers=[("Contact", ringing.contact)], body=SDP)
    ringing.remote.target = update.contact
    ringing.remote.request(method)
    assert ringing.carrier.expect(503, where=lambda m: m.method == method)
    _shows_nothing_of_freeswitch(ringing)


def test_a_call_led_back_to_the_edge_ends(stage):
    """A carrier that gives the edge's own Contact as its own makes no message go round and round."""
    ringing = stage.dial()
    ringing.contact = f"<{ringing.invite.contact}>"
    ringing.carrier.reply(ringing.invite, 200, tag=ringing.tag, headers=[("Contact", ringing.contact)], body=SDP)
    ringing.call.expect(200)
    ringing.call.ack()
    ringing.call.dialog.request("BYE")
    assert ringing.hears("BYE").cseq == 2
    ringing.switch.hears_nothing("X", within_s=0.5)
    assert len([m for m in ringing.switch.heard if m.method == "BYE" and not m.status]) <= 3
