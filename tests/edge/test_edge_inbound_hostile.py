"""Customers, carriers and FreeSWITCHes that repeat what the other side must not know, wherever a message has room.

The stage's own check after each test is the point: nothing FreeSWITCH's side received holds the caller's number in any
encoding, nothing customers' side received holds the agent's extension or an inner address, and no line logged either.
"""

from __future__ import annotations

import re

import pytest
import test_edge_hostile as tables
from inbound_stage import EXTENSION, InboundStage
from sip_peer import SDP, Message, render

# Of a request: what replaces one of the few headers a request has only once makes another request, not a hostile one.
SINGLE = {"From", "To", "Call-ID", "Via", "Max-Forwards", "Contact", "Proxy-Require"}
HEADERS = sorted(tables.HEADERS.keys() - SINGLE)
KEYS = "Signal=1\r\nDuration=100\r\n"


@pytest.fixture(scope="module")
def inbound(tmp_path_factory):
    """One edge for this module."""
    stage = InboundStage(tmp_path_factory.mktemp("edge"))
    yield stage
    stage.close()


@pytest.fixture
def stage(inbound):
    """The running edge, searched when the test ends."""
    inbound.forget()
    yield inbound
    assert inbound.findings() == []
    assert inbound.logged() == []


def _filled(text, number):
    return tables._filled(text, number, "127.0.0.1:9")


def _through(calling):
    """The call reaches FreeSWITCH, is answered and ended by the customer."""
    calling.reaches_freeswitch()
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_of_a_customers_call_gets_through(stage, name):
    """Whatever header holds the number, the call goes through under the token or as anonymous."""
    _, number = stage.customer()
    _through(stage.call(number, headers=[(name, _filled(tables.HEADERS[name], number))]))


ONCE = {
    "display name": {"from_": '"{n}" <sip:{n}@{n}.x;a={n}>;b={n}'},
    "tag": {"tag": "{n}"},
    "Call-ID": {"call_id": "{n}@{n}"},
    "Call-ID, words": {"call_id": '{n}"(%5B+~{n}'},
    "To": {"to": '"{n}" <sip:{n}@x;y={n}>'},
    "Via below": {"vias": ["SIP/2.0/UDP {n}.x;branch=z9hG4bK{n};received={n}"]},
    "Contact": {"contact": '"{n}" <sip:{n}@127.0.0.1:9;x={n}>;y={n}'},
    "Contact, base64": {"contact": "<sip:{b}@127.0.0.1:9>"},
}


@pytest.mark.parametrize("name", ONCE)
def test_no_name_of_a_customers_call_gets_through(stage, name):
    """Names, tags, Call-ID and Vias are replaced; what FreeSWITCH answers comes back under the caller's own."""
    _, number = stage.customer()
    values = {
        key: [_filled(v, number) for v in value] if isinstance(value, list) else _filled(value, number)
        for key, value in ONCE[name].items()
    }
    if name == "display name":
        values["from_"] = values["from_"].partition(";b=")[0]
    calling = stage.call(number, **values)
    calling.reaches_freeswitch()
    calling.answer()
    calling.agent.request("OPTIONS")
    calling.hears(200)
    calling.hang_up()


@pytest.mark.parametrize("where", ["cseq", "branch"])
def test_what_has_to_be_a_number_may_not_be_this_one(stage, where):
    """A CSeq that spells the caller's number is refused; a branch that does is replaced."""
    _, number = stage.customer()
    if where == "cseq":
        calling = stage.call(number, cseq=int(number[4:]))
        calling.acknowledge(calling.told(400))
        return
    calling = stage.call(number)
    calling.told(100)
    calling.reaches_freeswitch()
    assert number[1:] not in calling.inner["via"]
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("where", tables.LINES)
def test_no_line_of_a_customers_description_gets_through(stage, where):
    """A description reaches FreeSWITCH with its media and without the line that holds the number."""
    _, number = stage.customer()
    line = _filled(tables.LINES[where], number)
    body = SDP + line + "\r\n" if where[0] != "o" else re.sub(r"o=.*", line, SDP)
    calling = stage.call(number, body=body)
    calling.reaches_freeswitch()
    assert "m=audio 30000 RTP/AVP 8 0 101" in calling.inner.body
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("where", tables.BODIES)
def test_no_other_body_of_a_customers_call_gets_through(stage, where):
    """Only a description passes, alone or out of a multipart body."""
    _, number = stage.customer()
    content_type, body = (_filled(text, number) for text in tables.BODIES[where])
    calling = stage.call(number, body=body, content_type=content_type)
    calling.reaches_freeswitch()
    assert bool(calling.inner.body) == (SDP in body)
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("method", ["INVITE"])
def test_no_header_of_a_customers_request_gets_through(stage, method, name):
    """Within the call, too, FreeSWITCH is told the method and no word of the customer's side."""
    calling = stage.ring()
    calling.answer()
    header = (name, _filled(tables.HEADERS[name], calling.number))
    calling.customer.request(method, headers=[header], body=SDP if method == "INVITE" else "")
    request = calling.hears(method)
    headers = [("Contact", calling.agent.contact)]
    calling.switch.reply(request, 200, "OK", headers=headers, body=SDP if method == "INVITE" else "")
    done = calling.carrier.expect(200, where=lambda m: m.method == method and m["call-id"] == calling.call_id)
    if method == "INVITE":
        calling.customer.request("ACK", cseq=done.cseq)
        calling.hears("ACK")
        calling.hang_up()


@pytest.mark.parametrize("name", sorted(tables.HEADERS.keys() - {"Via", "WWW-Authenticate"}))
@pytest.mark.parametrize("code", [200])
def test_no_header_of_a_customers_response_gets_through(stage, code, name):
    """What the customer's side says to FreeSWITCH's re-INVITE is composed anew."""
    calling = stage.ring()
    calling.answer()
    calling.agent.request("INVITE", body=SDP)
    request = calling.told("INVITE")
    header = (name, _filled(tables.HEADERS[name], calling.number))
    headers = [("Contact", calling.contact), header]
    calling.carrier.reply(request, code, f"says {calling.number}", headers=headers, body=SDP if code == 200 else "")
    heard = calling.hears(code)
    calling.agent.request("ACK", cseq=heard.cseq)
    calling.hang_up()


@pytest.mark.parametrize("name", sorted({*HEADERS} - {"Route"}))  # the edge's own alone is followed
@pytest.mark.parametrize("code", [200])
def test_no_header_of_freeswitch_gets_out(stage, code, name):
    """Whatever FreeSWITCH adds, customers' side sees neither extension nor inner address."""
    calling = stage.ring()
    value = tables._filled(tables.HEADERS[name], f"+{EXTENSION}", f"127.0.0.1:{calling.switch.port}")
    if code == 200:
        calling.answer(headers=[(name, value)])
        calling.agent.request("BYE", headers=[(name, value)])
        calling.carrier.reply(calling.told("BYE"), 200, "OK")
        calling.hears(200)
        return
    calling.reply(code, f"says {EXTENSION}", headers=[(name, value)])
    heard = calling.told(code)
    if code == 486:
        calling.acknowledge(heard)
    else:
        calling.cancel()
        calling.switch.reply(calling.hears("CANCEL"), 200, "OK")
        calling.reply(487, "Gone", body="")
        calling.acknowledge(calling.told(487))


@pytest.mark.parametrize(
    "line", ["o={e} 1 1 IN IP4 10.1.2.3", "s={e}", "i={e}", "a=label:{e}", "a={e}", "e={e}@x", "u=sip:{e}"]
)
def test_no_line_of_freeswitchs_description_gets_out(stage, line):
    """The description customers' side gets holds media and nothing that names somebody."""
    calling = stage.ring()
    line = line.format(e=EXTENSION)
    calling.answer(body=re.sub("o=.*", line, SDP) if line[0] == "o" else SDP + line + "\r\n")
    calling.hang_up()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dtmf-relay", "Signal={n}\r\nDuration=100"),
        ("application/dtmf-relay", KEYS + "X: {n}"),
        ("text/plain", "{n}"),
    ],
)
def test_no_info_but_a_key_gets_through(stage, content_type, body):
    """An INFO that is not exactly one key is refused."""
    calling = stage.ring()
    calling.answer()
    calling.customer.request("INFO", body=_filled(body, calling.number), content_type=content_type)
    calling.told(415)
    calling.hang_up()


def test_a_seal_of_another_call_or_side_opens_nothing(stage):
    """Requests with another call's seal, the other side's, or none reach nobody."""
    one, two = stage.ring(), stage.ring()
    one.answer()
    two.answer()
    for target in (two.customer.target, one.inner.contact, one.uri):
        kept, one.customer.target = one.customer.target, target
        one.customer.request("BYE", headers=[("X", one.number)])
        one.told(403)
        one.customer.target = kept
    kept, one.agent.target = one.agent.target, two.inner.contact
    one.agent.request("BYE")
    one.hears(481)
    one.agent.target = kept
    one.hang_up()
    two.hang_up()


def test_what_is_not_sip_is_neither_answered_nor_logged(stage):
    """Broken calls with the number in them reach no FreeSWITCH and leave no line."""
    calling = stage.ring()
    calling.answer()
    n, whole = calling.number[1:].encode(), calling.sent.replace(calling.call_id.encode(), b"other")
    broken = [
        n, b"\x00" * 20 + n,
        whole.replace(b"Via: ", b"Vi "),
        whole.replace(b"INVITE sip:", n + b" sip:", 1),
        whole.replace(b"Call-ID:", b"X:"),
        whole.replace(b" SIP/2.0\r\n", b" SIP/" + n + b"\r\n", 1),
        whole.replace(b"z9hG4bK", n),
        re.sub(rb"CSeq: \d+", b"CSeq: " + n + n, whole),
        whole.replace(b"From: ", b'From: "' + n),
        whole.replace(b"Call-ID: ", b"Call-ID: |" + n),
        whole.replace(b"tag=", b"tag=|" + n),
        whole.replace(b"To: ", b"To: <<" + n),
        whole.replace(b"Content-Length: ", b"Content-Length: 99" + n),
        whole.replace(b"Call-ID: other", b"Call-ID: " + n * 40),
        render(f"SIP/2.0 200 {n.decode()}", [("Via", f"SIP/2.0/UDP {n.decode()}"), ("CSeq", n.decode())]),
    ]  # fmt: skip
    for data in broken:
        calling.carrier.send(data, stage.edge.outside)
    calling.hang_up()
    calling.carrier.drain()


def test_the_search_finds_what_it_should(stage):
    """The control: what customers' side sent and what FreeSWITCH sent would both be found."""
    calling = stage.ring()
    calling.answer()
    calling.hang_up()
    calling.switch.heard.append(Message.parse(calling.sent, ("", 0)))
    assert stage.findings()
    calling.switch.heard.pop()
    calling.carrier.heard.append(Message.parse(f"SIP/2.0 200 {EXTENSION}\r\n\r\n".encode(), ("", 0)))
    assert stage.findings()
    calling.carrier.heard.pop()
