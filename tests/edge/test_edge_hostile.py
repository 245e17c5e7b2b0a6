"""A carrier that repeats the number wherever a SIP message has room: a case for each place.

The stage's own check after each test is the point: nothing FreeSWITCH's side received holds a number, in any encoding.
"""

from __future__ import annotations

import base64
import re

import pytest
from sip_peer import SDP, Message, render

HEADERS = {
    "P-Asserted-Identity": '"{n}" <sip:{n}@x>',
    "Remote-Party-ID": "<sip:{n}@x>;party=called",
    "P-Called-Party-ID": "<sip:{n}@x>",
    "P-Preferred-Identity": "<sip:{n}@x>",
    "P-Associated-URI": "<sip:{n}@x>",
    "P-Charging-Vector": "icid-value={n}",
    "P-Access-Network-Info": "x;y={n}",
    "History-Info": "<sip:{n}@x>;index=1",
    "Diversion": "<sip:{n}@x>;reason=no-answer",
    "Call-Info": "<http://x/{n}>;purpose=info",
    "Identity": "{n}",
    "Reason": 'Q.850;cause=17;text="{n}"',
    "Warning": '399 x "{n}"',
    "User-to-User": "{x};encoding=hex",
    "Session-ID": "{n};remote=0",
    "Alert-Info": "<http://x/{n}>",
    "Error-Info": "<sip:{n}@x>",
    "X-Called": "{n}",
    "X-Shield-Token": "{n}",
    "X-Shield-Permit": "{n}",
    "X-Edge-Call": "{n}",
    "Refer-To": "<sip:{n}@x>",
    "Referred-By": "<sip:{n}@x>",
    "Record-Route": "<sip:{n}@{h};lr>",
    "Server": "pbx/{n}",
    "User-Agent": "pbx/{n}",
    "Organization": "{n}",
    "Subject": "{n}",
    "Date": "{n}",
    "Allow": "INVITE, X{n}",
    "Supported": "100rel, x{n}",
    "Require": "x{n}",
    "Unsupported": "x{n}",
    "Accept": "application/{n}",
    "Retry-After": "5 ({n})",
    "Session-Expires": "1800;refresher=uac;x={n}",
    "Min-SE": "90;x={n}",
    "RSeq": "1 {n}",
    "Content-Language": "{n}",
    "Content-Disposition": "session;x={n}",
    "Content-Encoding": "{n}",
    "MIME-Version": "{n}",
    "Via": "SIP/2.0/UDP {n}.x;branch=z9hG4bK1",
    "Route": "<sip:{n}@x>",
    "Path": "<sip:{n}@x>",
    "Service-Route": "<sip:{n}@x>",
    "In-Reply-To": "{n}",
    "Priority": "{n}",
    "Reply-To": "<sip:{n}@x>",
    "Privacy": "{n}",
    "Geolocation": "<sip:{n}@x>",
    "Feature-Caps": "*;x={n}",
    "Flow-Timer": "{n}",
    "Proxy-Require": "{n}",
    "WWW-Authenticate": 'Digest realm="{n}", nonce="{n}"',
    "Authentication-Info": 'nextnonce="{n}"',
    "x": "1800;x={n}",
    "k": "{n}",
    "s": "{n}",
    "r": "<sip:{n}@x>",
    "o": "{n}",
    "From": "<sip:{n}@x>;tag={n}",
    "To": "<sip:{n}@x>;tag=1",
    "Call-ID": "{n}",
    "Max-Forwards": "{n}",
    "Contact": "<sip:{n}@x>",
    "X-Folded": "a\r\n {n}",
    "X-Base64": "{b}",
    "X-Reversed": "{r}",
}
CONTACTS = {
    "user": "<sip:{n}@{h}>",
    "display": '"{n}" <sip:a@{h}>',
    "uri parameter": "<sip:a@{h};x={n}>",
    "header parameter": "<sip:a@{h}>;x={n}",
    "escaped": "<sip:%2b{n}@{h}>",
    "no brackets": "sip:{n}@{h}",
    "bar": "<sip:{n}|{n}@{h}>",
    "host": "<sip:a@{n}.invalid>",
    "two": "<sip:{n}@{h}>, <sip:{n}@{h}>",
    "star": "*{n}",
    "base64": "<sip:{b}@{h}>",
}
ECHOES = {
    "to user": {"to": "<sip:{n}@x>;tag=abc"},
    "to display": {"to": '"{n}" <sip:{n}@x>;tag=abc'},
    "to tag": {"to": "<sip:x@x>;tag={n}"},
    "to parameter": {"to": "<sip:x@x>;tag=abc;x={n}"},
    "from": {"from": '"{n}" <sip:{n}@x>;tag={f}'},
    "from parameter": {"from": "<sip:x@x>;tag={f};x={n}"},
    "cseq": {"cseq": "{c} INVITE"},
}
LINES = {
    "o user": "o={n} 1 1 IN IP4 127.0.0.1",
    "o id": "o=- {n} {n} IN IP4 127.0.0.1",
    "o host": "o=- 1 1 IN IP4 {n}.x",
    "s": "s={n}",
    "i": "i={n}",
    "u": "u=http://x/{n}",
    "e": "e={n}@x",
    "p": "p=+{n}",
    "k": "k=clear:{n}",
    "b": "b=X-{n}:1",
    "z": "z={n} 0",
    "t": "t={n} {n}",
    "r": "r={n} 1 0",
    "a name": "a={n}",
    "a value": "a=x:{n}",
    "ssrc": "a=ssrc:1 cname:{n}",
    "label": "a=label:{n}",
    "mid": "a=mid:{n}",
    "rtpmap": "a=rtpmap:99 X{n}/8000",
    "fmtp": "a=fmtp:101 0-16;x={n}",
    "fmtp base64": "a=fmtp:101 {b}",
    "fmtp values": "a=fmtp:101 bitrate={a};ptime={z}",
    "candidate": "a=candidate:{n} 1 UDP 1 127.0.0.1 9 typ host",
    "ufrag": "a=ice-ufrag:{n}",
    "crypto": "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{b}{b}{b}",
    "rtcp": "a=rtcp:9 IN IP4 {n}.x",
    "unknown type": "y={n}",
    "m line": "m=audio 9 RTP/AVP {n}",
    "m other": "m=message 9 TCP/{n} *",
    "c line": "c=IN IP4 {n}.x",
    "c v6": "c=IN IP6 {v}",
    "no line": "{n}",
    "case": "S={n}",
    "bandwidth": "b=AS:{n}",
}
BODIES = {
    "other type": ("text/plain", "{n}"),
    "sipfrag": ("message/sipfrag", "SIP/2.0 200 {n}"),
    "isup": ("application/isup", "{n}"),
    "type parameter": ("application/sdp;x={n}", SDP),
    "after the end": ("application/sdp", SDP + "\r\n\r\n{n}\r\n"),
    "before": ("application/sdp", "{n}\r\n" + SDP),
    "gzip": ("application/sdp", "\x1f\x8b{n}"),
    "pidf": ("application/pidf+xml", "<x>{n}</x>"),
    "multipart": (
        "multipart/mixed;boundary=b{n}",
        "--b{n}\r\nContent-Type: application/isup;x={n}\r\n\r\n{n}\r\n--b{n}\r\nContent-Type: application/sdp\r\n\r\n"
        + SDP
        + "--b{n}\r\nContent-Type: text/plain\r\n\r\n{n}\r\n--b{n}--\r\n",
    ),
}


def _filled(text: str, number: str, host: str = "x") -> str:
    digits = number[1:]
    return (
        text.replace("{n}", digits)
        .replace("{h}", host)
        .replace("{b}", base64.b64encode(digits.encode()).decode())
        .replace("{x}", digits.encode().hex())
        .replace("{r}", digits[::-1])
        .replace("{c}", digits[2:])
        .replace("{a}", digits[:6])
        .replace("{z}", digits[6:])
        .replace("{v}", f"{digits[:4]}:{digits[4:8]}:{digits[8:]}::")
    )


def _home(ringing) -> str:
    return f"{ringing.carrier.host}:{ringing.carrier.port}"


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("code", [183, 200, 302, 486])
def test_no_header_of_a_response_gets_through(stage, code, name):
    """Whatever header a carrier puts the number in, FreeSWITCH is told of the call's progress and of nothing else."""
    ringing = stage.dial()
    header = (name, _filled(HEADERS[name], ringing.number, _home(ringing)))
    _respond(ringing, code, headers=[("Contact", ringing.contact), header])


@pytest.mark.parametrize("where", CONTACTS)
def test_no_part_of_contact_gets_through(stage, where):
    """FreeSWITCH's remote target is the edge, whatever the carrier's looks like, and the call can be ended."""
    ringing = stage.dial()
    value = _filled(CONTACTS[where], ringing.number, _home(ringing))
    _respond(ringing, 200, headers=[("Contact", value)], end=where not in ("host", "bar", "star"))


@pytest.mark.parametrize("where", ECHOES)
@pytest.mark.parametrize("code", [180, 200, 404])
def test_no_header_a_response_repeats_gets_through(stage, code, where):
    """From, To, Call-ID and CSeq of a response are those of FreeSWITCH's request, only the tag is new."""
    ringing = stage.dial()
    tag = ringing.invite.tag("from")
    replace = {name: _filled(value, ringing.number).replace("{f}", tag) for name, value in ECHOES[where].items()}
    _respond(ringing, code, replace=replace, end=False)


@pytest.mark.parametrize("replace", [{"call-id": "{n}"}, {"from": "<sip:{n}@x>;tag={n}"}, {"from": "<sip:{n}@x>"}])
@pytest.mark.parametrize("code", [180, 200, 404])
def test_a_response_under_other_names_goes_nowhere(stage, code, replace):
    """A response whose Call-ID or From tag is not the one sent out belongs to no call."""
    ringing = stage.dial()
    replace = {name: _filled(value, ringing.number) for name, value in replace.items()}
    ringing.carrier.reply(ringing.invite, code, tag="t", headers=[("Contact", ringing.contact)], replace=replace)
    assert ringing.switch.hears_nothing(code, within_s=0.3)
    ringing.answer()
    ringing.hang_up()


def test_no_via_a_carrier_altered_gets_through(stage):
    """A response's Vias below the edge's own are FreeSWITCH's, whatever the carrier made of them."""
    ringing = stage.dial()
    via = ringing.invite["via"]
    _respond(
        ringing, 200, replace={"via": f"{via};x={ringing.number}, SIP/2.0/UDP {ringing.number[1:]}.x;branch=z9hG4bK2"}
    )


@pytest.mark.parametrize("code", [181, 182, 199, 301, 305, 380, 400, 420, 484, 500, 503, 606, 699])
def test_no_phrase_gets_through(stage, code):
    """The words of a status line are ours."""
    _respond(ringing := stage.dial(), code, phrase=f"Call {ringing.number} failed")


@pytest.mark.parametrize("where", LINES)
def test_no_line_of_a_description_gets_through(stage, where):
    """A description reaches FreeSWITCH with its media and without the line that holds the number."""
    ringing = stage.dial()
    line = _filled(LINES[where], ringing.number)
    body = SDP + line + "\r\n" if where[0] != "o" else re.sub(r"o=.*", line, SDP)
    answer = _respond(ringing, 200, body=body)
    assert "m=audio 30000 RTP/AVP 8 0 101" in answer.body


@pytest.mark.parametrize("where", BODIES)
def test_no_other_body_gets_through(stage, where):
    """Only a description passes, alone or out of a multipart body."""
    ringing = stage.dial()
    content_type, body = (_filled(text, ringing.number) for text in BODIES[where])
    answer = _respond(ringing, 200, body=body, content_type=content_type, keep_body=True)
    assert bool(answer.body) == (SDP in body), answer.raw
    assert answer["content-type"] == ("application/sdp" if answer.body else "")


def test_nothing_after_the_stated_length_gets_through(stage):
    """Bytes behind Content-Length are not passed on."""
    ringing = stage.dial()
    n = ringing.number
    headers = [("Contact", ringing.contact), ("Content-Length", str(len(SDP)))]
    ringing.carrier.reply(ringing.invite, 200, "OK", tag="t", headers=headers, body=SDP + f"a=inactive\r\n{n}\r\n")
    assert ringing.call.expect(200).body.endswith("a=sendrecv\r\n") or not ringing.stage.findings()


REQUESTS = ("BYE", "INVITE", "UPDATE", "INFO")


@pytest.mark.parametrize("name", sorted(HEADERS.keys() - {"From", "To", "Call-ID", "Via", "Max-Forwards"}))
@pytest.mark.parametrize("method", REQUESTS[:2])
def test_no_header_of_a_request_gets_through(stage, method, name):
    """A carrier's request reaches FreeSWITCH with the headers its method needs, whatever else was on it."""
    ringing = stage.dial()
    ringing.answer()
    header = (name, _filled(HEADERS[name], ringing.number, _home(ringing)))
    ringing.remote.request(method, headers=[header], body=SDP if method == "INVITE" else "")
    _served(ringing, method)


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("where", ["display", "user", "via", "via below", "cseq", "body"])
def test_no_name_in_a_request_gets_through(stage, method, where):
    """From, Via and body of a carrier's request are replaced; a CSeq that spells the number is refused."""
    ringing = stage.dial()
    ringing.answer()
    n, remote = ringing.number[1:], ringing.remote
    tag = re.search(r";tag=\S+", remote.local)[0]
    parts = {
        "display": {"local": f'"{n}" {remote.local}'},
        "user": {"local": f"<sip:{n};x={n}@{n}.x>{tag};x={n}"},
        "via": {"via": remote.peer.via(f";x={n}")},
        "via below": {"headers": [("Via", f"SIP/2.0/UDP {n}.x;branch=z9hG4bK3")]},
        "cseq": {"cseq": int(n[2:])},
        "body": {"body": SDP + f"a=label:{n}\r\n", "content_type": f"application/sdp;x={n}"},
    }[where]
    if method == "INFO" and where != "body":
        parts |= {"body": "Signal=1\r\nDuration=100\r\n", "content_type": "application/dtmf-relay"}
    remote.request(method, **parts)
    if where == "cseq":
        assert ringing.carrier.expect(400, where=lambda m: m.method == method)
    elif method == "INFO" and where == "body":
        assert ringing.carrier.expect(415)
    else:
        _served(ringing, method)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dtmf-relay", "Signal={n}\r\nDuration=100"),
        ("application/dtmf-relay", "Signal=1\r\nDuration={n}"),
        ("application/dtmf-relay", "Signal=1\r\nDuration=100\r\nX: {n}"),
        ("application/dtmf", "{n}"),
        ("text/plain", "{n}"),
        ("application/media_control+xml", "<x>{n}</x>"),
    ],
)
def test_no_info_but_a_key_gets_through(stage, content_type, body):
    """An INFO that is not exactly one key is refused."""
    ringing = stage.dial()
    ringing.answer()
    ringing.remote.request("INFO", body=_filled(body, ringing.number), content_type=content_type)
    assert ringing.carrier.expect(415)
    ringing.hang_up()


def test_what_is_not_sip_is_neither_answered_nor_logged(stage):
    """Broken messages with the number in them reach nobody and leave no line."""
    ringing = stage.dial()
    ringing.answer()
    n = ringing.number[1:]
    whole = ringing.remote.request("UPDATE", headers=[("X-Called", n)])
    ringing.switch.reply(ringing.hears("UPDATE"), 200, "OK")
    broken = [
        n.encode(),
        b"\x00" * 20 + n.encode(),
        whole.replace(b"Via: ", b"Vi "),
        whole.replace(b"UPDATE sip:", n.encode() + b" sip:", 1),
        whole.replace(b"Call-ID:", b"X:"),
        whole.replace(b" SIP/2.0\r\n", b" SIP/" + n.encode() + b"\r\n", 1),
        re.sub(rb"CSeq: \d+", b"CSeq: " + n.encode() + n.encode(), whole),
        whole.replace(b"From: ", b'From: "' + n.encode()),
        re.sub(rb"UPDATE sip:[^ ]+", b"UPDATE sip:" + n.encode(), whole),
        re.sub(rb"UPDATE sip:[^ ]+", b"UPDATE tel:" + n.encode(), whole),
        render(f"SIP/2.0 200 {n}", [("Via", f"SIP/2.0/UDP {n}"), ("CSeq", n)]),
        b"SIP/2.0 200 OK\r\n\r\n" + n.encode(),
        whole.replace(b"To: ", b"To: <<" + n.encode()),
        whole.replace(b"Content-Length: 0", b"Content-Length: " + n.encode()),
    ]
    for data in broken:
        ringing.carrier.send(data, stage.edge.outside)
    ringing.hang_up()
    ringing.carrier.drain()


def test_stray_responses_go_nowhere(stage):
    """A response that belongs to no transaction is dropped."""
    ringing = stage.dial()
    stray = [("Via", ringing.invite["via"].replace("z9hG4bK", "z9hG4bKx")), ("Via", ringing.switch.via())]
    stray += [(name.title(), ringing.invite[name]) for name in ("from", "to", "call-id", "cseq")]
    ringing.carrier.send(render(f"SIP/2.0 200 {ringing.number}", stray), stage.edge.outside)
    ringing.answer()
    ringing.hang_up()
    assert [m.status for m in ringing.switch.heard].count(200) == 2


def test_the_search_finds_what_it_should(stage):
    """The control: the same search finds the number in what the carrier received, and in encoded forms."""
    ringing = stage.dial()
    ringing.answer()
    ringing.hang_up()
    token, number = ringing.token, ringing.number
    key = (token * 2).encode()
    masked = base64.b64encode(bytes(a ^ b for a, b in zip(number[1:].encode(), key, strict=False))).decode()
    planted = (
        ringing.invite.raw,
        f"X;v={masked}".encode(),
        f"Contact: <sip:x;s={base64.urlsafe_b64encode(number.encode()).decode()}>".encode(),
    )
    for raw in planted:
        ringing.switch.heard.append(Message.parse(raw, ("", 0)))
        assert stage.findings()
        ringing.switch.heard.pop()


def _respond(ringing, code, *, phrase="OK", end=True, keep_body=False, **reply):
    """Let the carrier answer so, and see FreeSWITCH told; an answered call is ended. Returns what it was told."""
    headers = reply.pop("headers", [("Contact", ringing.contact)])
    body = reply.pop("body", SDP if code in (183, 200) and not keep_body else "")
    ringing.carrier.reply(ringing.invite, code, phrase, tag="abc", headers=headers, body=body, **reply)
    if code in (302, 301, 305, 380, 503, 500):  # may go to the next carrier, which refuses
        again = ringing.stage.beta.expect("INVITE", where=lambda m: m["call-id"] == ringing.call.call_id)
        ringing.stage.beta.reply(again, code, phrase, tag="abd")
    told = {181: 181, 182: 182, 199: 183, 301: 503, 302: 503, 305: 503, 380: 503, 420: 420, 699: 603}.get(code, code)
    message = ringing.call.expect(told)
    if told >= 300:
        ringing.call.ack_refusal(message)
    elif told == 200 and end:
        ringing.call.ack()
        ringing.expect("ACK")
        ringing.hang_up()
    elif told < 200:
        ringing.call.cancel()
        ringing.expect("CANCEL")
        ringing.carrier.reply(ringing.invite, 487, "Gone", tag="abc")
        ringing.call.ack_refusal(ringing.call.expect(487))
    return message


def _served(ringing, method):
    request = ringing.hears(method)
    ringing.switch.reply(request, 200, "OK", body=SDP if method == "INVITE" else "")
    done = ringing.carrier.expect(200, where=lambda m: m.method == method)
    if method == "INVITE":
        ringing.remote.request("ACK", cseq=done.cseq)
        ringing.hears("ACK")
    if method != "BYE":
        ringing.hang_up()
