"""Calls from customers as calls: masked on the way in, every message of both sides under its right names."""

from __future__ import annotations

import uuid

import pytest
from edge_lab import Edge
from inbound_stage import DID, EXTENSION, LINES, InboundStage
from ports import HOST
from sip_peer import SDP, Dialog, uri_of

ANONYMOUS = "sip:anonymous@anonymous.invalid"


@pytest.fixture(scope="module")
def inbound(tmp_path_factory):
    """One edge for this module."""
    stage = InboundStage(tmp_path_factory.mktemp("edge"))
    yield stage
    stage.close()


@pytest.fixture
def stage(inbound):
    """The running edge; afterwards neither side has seen of the other what it must not, nor has the log."""
    inbound.forget()
    yield inbound
    assert inbound.findings() == []
    assert inbound.logged() == []


def _shown(calling):
    return uri_of(calling.inner["from"])


def test_the_agents_side_is_told_the_token(stage):
    """From is the token, Request-URI and To are the DID, the Call-ID is a UUID of the edge's own."""
    calling = stage.ring()
    invite = calling.inner
    assert invite.uri == f"sip:{DID}@{calling.switch.host}:{calling.switch.port}"
    assert _shown(calling) == f"sip:{calling.token}@127.0.0.1:{stage.edge.inside[1]}"
    assert uri_of(invite["to"]) == f"sip:{DID}@{calling.switch.host}"
    assert str(uuid.UUID(invite["call-id"])) == invite["call-id"]
    assert invite.names == {
        "via", "from", "to", "call-id", "cseq", "max-forwards", "contact", "content-type", "content-length", "allow",
    }  # fmt: skip
    assert len(invite.all("via")) == 1
    assert stage.resolver.forms == [{"number": calling.number, "did": DID, "call": invite["call-id"]}]
    calling.answer()
    calling.hang_up()


IDENTITIES = {
    "From alone": ("<sip:{n}@x>", []),
    "From, tel": ("<tel:{n}>", []),
    "From without plus": ("<sip:{d}@x>", []),
    "From with separators": ("<sip:+44-20.7946(0)@x>", [("P-Asserted-Identity", "<sip:{n}@x>")]),
    "From with parameters": ("<sip:{n};phone-context=x@x;user=phone>", []),
    "tel, subaddress": ("<tel:{n};isub=1411>", []),
    "tel, ported": ("<tel:{n};npdi;rn=+442079460998>", []),
    "sip, ported": ("<sip:{n};npdi;rn=+442079460998@x;user=phone>", []),
    "an extension behind it": ("<sip:{n};ext=4711;postd=pp22@x>", []),
    "escaped": ("<sip:%2B{d}@x>", []),
    "display name": ('"a <b> c" <sip:{n}@x>', []),
    "PAI before From": ("<sip:+442079460998@x>", [("P-Asserted-Identity", '"x" <sip:{n}@x>')]),
    "PAI before RPID": (
        "<sip:x@x>", [("Remote-Party-ID", "<sip:+442079460998@x>;party=calling"), ("P-Asserted-Identity", "<tel:{n}>")],
    ),
    "RPID before From": ("<sip:+442079460998@x>", [("Remote-Party-ID", '"y" <sip:{n}@x>;party=calling;privacy=off')]),
    "first well-formed PAI": (
        "<sip:x@x>", [("P-Asserted-Identity", "<sip:pbx@x>"), ("P-Asserted-Identity", "<sip:{n}@x>")],
    ),
    "broken PAI": ("<sip:{n}@x>", [("P-Asserted-Identity", "<<;;")]),
    "no privacy": ("<sip:{n}@x>", [("Privacy", "none")]),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITIES)
def test_who_calls_is_read_from_the_first_well_formed_name(stage, name):
    """P-Asserted-Identity, then Remote-Party-ID, then From; whatever is asked for is one number."""
    token, number = stage.customer()
    from_, headers = IDENTITIES[name]
    fill = {"n": number, "d": number[1:]}
    calling = stage.call(
        number, from_=from_.format(**fill), headers=[(name_, value.format(**fill)) for name_, value in headers]
    )
    calling.reaches_freeswitch()
    assert stage.resolver.forms[0]["number"] == number
    assert _shown(calling) == f"sip:{token}@127.0.0.1:{stage.edge.inside[1]}"
    calling.answer()
    calling.hang_up()


WITHHELD = {
    "From": ('"Anonymous" <sip:anonymous@anonymous.invalid>', []),
    "From, with PAI": ("<sip:anonymous@anonymous.invalid>", [("P-Asserted-Identity", "<sip:{n}@x>")]),
    "From, user": ("<sip:Anonymous@x>", [("P-Asserted-Identity", "<sip:{n}@x>")]),
    "From, restricted": ("<sip:restricted@x>", [("P-Asserted-Identity", "<sip:{n}@x>")]),
    "display name": ('"Anonymous" <sip:{n}@x>', []),
    "Privacy: id": ("<sip:{n}@x>", [("P-Asserted-Identity", "<sip:{n}@x>"), ("Privacy", "id")]),
    "Privacy: several": ("<sip:{n}@x>", [("Privacy", "header;user;critical")]),
    "Privacy, second header": ("<sip:{n}@x>", [("Privacy", "none"), ("Privacy", "id")]),
    "RPID privacy": ("<sip:{n}@x>", [("Remote-Party-ID", "<sip:{n}@x>;party=calling;privacy=full")]),
}
MALFORMED = {
    "no number": ("<sip:pbx@x>", []),
    "letters": ("<sip:{d}abc@x>", []),
    "200 digits": ("<sip:{d}" + "0" * 188 + "@x>", []),
    "200 digits with plus": ("<sip:+" + "1" * 200 + "@x>", [("P-Asserted-Identity", "<tel:+" + "2" * 200 + ">")]),
    "an agent's name": ('"agent" <sip:agent.one@agents.example.com>', []),
    "two digits": ("<sip:12@x>", []),
    "too long": ("<sip:{d}{d}@x>", []),
    "a very long URI": ("<sip:x@x;p=" + "y" * 300 + ">", []),
    "no user": ("<sip:x.invalid>", []),
    "a bar": ("<sip:x|y@x>", []),
}


@pytest.mark.parametrize("name", [*WITHHELD, *MALFORMED])
def test_who_is_withheld_or_malformed_is_anonymous(stage, name):
    """Such a call goes through to its end, the agent's side is shown anonymous, and the resolver is not asked."""
    _, number = stage.customer()
    from_, headers = (WITHHELD | MALFORMED)[name]
    fill = {"n": number, "d": number[1:]}
    calling = stage.call(
        number, from_=from_.format(**fill), headers=[(name_, value.format(**fill)) for name_, value in headers]
    )
    calling.reaches_freeswitch()
    assert _shown(calling) == ANONYMOUS
    assert stage.resolver.forms == []
    calling.answer()
    calling.agent.request("BYE")
    calling.carrier.reply(calling.told("BYE"), 200, "OK")
    assert calling.hears(200).method == "BYE"


@pytest.mark.parametrize("caller", ["1001", "81999999999992", "anonymous;x=1"])
def test_a_caller_who_says_to_be_an_agent_or_a_token_is_anonymous(stage, caller):
    """What is shown comes from the resolver alone: an extension or a token in From is no more than a number to it."""
    calling = stage.call(from_=f"<sip:{caller}@{stage.first.host}>", headers=[("X-Shield-Token", "81999999999992")])
    invite = calling.reaches_freeswitch()
    assert _shown(calling) == ANONYMOUS
    assert not [name for name in invite.names if name.startswith("x-")]
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_whom_the_resolver_does_not_know_is_anonymous(stage, status):
    """A refusal or failure of the resolver shows anonymous, at once."""
    stage.resolver.status = status
    calling = stage.ring()
    assert _shown(calling) == ANONYMOUS
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("answer", ["+442079460001", "1234567", "9" * 21, "12345678x", ""])
def test_what_is_no_token_is_not_shown(stage, answer):
    """An answer that is not digits as many as a token has is not put into any header."""
    _, number = stage.customer()
    stage.resolver.tokens[number] = answer
    calling = stage.call(number)
    calling.reaches_freeswitch()
    assert _shown(calling) == ANONYMOUS
    calling.answer()
    calling.hang_up()


def test_a_resolver_that_hangs_costs_a_second(stage):
    """The call goes on as anonymous after the resolver's second; retransmissions ask nobody again."""
    stage.resolver.gate.clear()
    calling = stage.call()
    calling.told(100)
    calling.again()
    calling.reaches_freeswitch()
    assert _shown(calling) == ANONYMOUS
    stage.resolver.gate.set()
    calling.answer()
    calling.hang_up()
    assert len(stage.resolver.forms) == 1


@pytest.mark.parametrize(
    ("called", "did"),
    [
        ("+442079460900", DID), ("02079460900", DID), ("2079460900", DID), ("%2B442079460900", DID),
        ("+44-20-7946-0900", DID), ("02079460900;npdi", DID),
    ],
)  # fmt: skip
def test_the_called_number_becomes_e164_as_the_carriers_line_says(stage, called, did):
    """did_strip and did_prefix make one spelling of what the carrier calls."""
    calling = stage.ring(did=called)
    assert calling.inner.uri.startswith(f"sip:{did}@")
    assert stage.resolver.forms[0]["did"] == did
    calling.answer()
    calling.hang_up()


@pytest.mark.parametrize("called", ["reception", "1" * 30, "0"])
def test_a_called_name_that_is_no_number_is_not_found(stage, called):
    """What cannot be a DID reaches no FreeSWITCH."""
    calling = stage.call(did=called)
    refusal = calling.told(404)
    calling.acknowledge(refusal)
    assert refusal.first == "SIP/2.0 404 Not Found"


def test_both_sides_hear_the_call_progress_under_their_own_names(stage):
    """180, 183, 200 reach the customer's side with its own From, To, Call-ID and Vias, and one tag."""
    calling = stage.ring(
        vias=["SIP/2.0/UDP below.example:5060;branch=z9hG4bKb1;x=y, SIP/2.0/TCP far.example;branch=z2"]
    )
    tags = set()
    for code in (180, 183):
        calling.reply(code)
        heard = calling.told(code)
        assert (heard["from"], heard["call-id"], heard.cseq) == (calling.from_, calling.call_id, 1)
        assert heard["to"].startswith(f"{calling.to};tag=")
        assert "fs1" not in heard["to"]
        tags.add(heard.tag("to"))
        assert ", ".join(heard.all("via")).endswith("SIP/2.0/TCP far.example;branch=z2")
        assert "below.example:5060;branch=z9hG4bKb1;x=y" in heard["via"]
    answer = calling.answer()
    assert {answer.tag("to")} == tags
    assert answer.contact.startswith(f"sip:{DID}@{HOST}:{stage.edge.outside[1]};s=")
    assert answer.names <= {
        "via", "from", "to", "call-id", "cseq", "contact", "content-type", "content-length", "allow", "supported",
    }  # fmt: skip
    calling.hang_up()


@pytest.mark.parametrize("code", [404, 408, 410, 480, 486, 500, 503, 600, 603, 302, 401, 699])
def test_a_refusal_is_told_in_our_words(stage, code):
    """The customer's side hears the code, or what stands for it, and the phrase of the RFC; all Vias are there."""
    calling = stage.ring(vias=["SIP/2.0/UDP below.example:5060;branch=z9hG4bKb1"])
    first = calling.switch
    calling.reply(code, f"agent {EXTENSION} says no")
    if code in (302, 401, 408, 500, 503):
        calling.reaches_freeswitch(not_at=first)
        calling.reply(code, f"agent {EXTENSION} says no")
    told = {408: 503, 302: 480, 401: 503, 699: 603}.get(code, code)
    refusal = calling.told(told)
    calling.acknowledge(refusal)
    assert EXTENSION not in refusal.first
    assert "below.example:5060" in ", ".join(refusal.all("via"))


def test_giving_up_while_it_rings_reaches_freeswitch(stage):
    """A CANCEL is confirmed and passed on under FreeSWITCH's names; the customer's side hears 487."""
    calling = stage.ring()
    calling.reply(180)
    calling.told(180)
    calling.cancel()
    assert calling.told(200)["cseq"] == "1 CANCEL"
    cancel = calling.hears("CANCEL")
    assert (cancel["from"], cancel["to"], cancel.uri) == (
        calling.inner["from"], calling.inner["to"], calling.inner.uri,
    )  # fmt: skip
    calling.switch.reply(cancel, 200, "OK")
    calling.reply(487, "Gone", body="")
    calling.acknowledge(calling.told(487))
    assert calling.hears("ACK")


def test_giving_up_while_the_resolver_is_asked_reaches_nobody(stage):
    """A CANCEL in the resolver's second ends the call with 487, and no FreeSWITCH is called."""
    stage.resolver.gate.clear()
    calling = stage.call()
    calling.told(100)
    calling.cancel()
    calling.told(200)
    stage.resolver.gate.set()
    calling.acknowledge(calling.told(487))
    assert all(not peer.heard or all(m.method != "INVITE" for m in peer.heard) for peer in stage.freeswitches)


def test_a_freeswitch_that_refuses_or_is_silent_is_followed_by_the_other(stage):
    """503 goes to the other FreeSWITCH with the same names; a silent one costs the edge's no-response time."""
    calling = stage.ring()
    first, inner = calling.switch, calling.inner
    calling.reply(503)
    again = calling.reaches_freeswitch(not_at=first)
    assert (again["call-id"], again["from"]) == (inner["call-id"], inner["from"])
    assert len(stage.resolver.forms) == 1
    calling.answer()
    calling.hang_up()
    silent = stage.ring()
    silent.reaches_freeswitch(not_at=silent.switch)
    silent.answer()
    silent.hang_up()


def test_both_sides_end_calls(stage):
    """A BYE of FreeSWITCH reaches the customer's Contact as from the DID, one of the customer FreeSWITCH's."""
    calling = stage.ring()
    answer = calling.answer()
    calling.agent.request("BYE")
    bye = calling.told("BYE")
    assert bye.uri == uri_of(calling.contact)
    assert (bye["from"], bye["to"]) == (answer["to"], calling.from_.partition(" ")[2])
    calling.carrier.reply(bye, 200, "OK")
    assert calling.hears(200).cseq == bye.cseq
    calling = stage.ring()
    calling.answer()
    calling.customer.request("BYE")
    bye = calling.hears("BYE")
    assert bye.uri == calling.agent.contact.strip("<>")
    assert (bye["from"], bye["to"]) == (calling.inner["from"], f"{calling.inner['to']};tag=fs1")
    calling.switch.reply(bye, 200, "OK")
    done = calling.told(200)
    assert done["call-id"] == calling.call_id


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_both_sides_renegotiate(stage, method):
    """re-INVITE and UPDATE of either side reach the other, with a description, and refresh both targets."""
    calling = stage.ring()
    calling.answer()
    for ours, theirs, hear, told in (
        (calling.customer, calling.agent, calling.hears, calling.told),
        (calling.agent, calling.customer, calling.told, calling.hears),
    ):
        ours.request(method, body=SDP)
        request = hear(method)
        assert "m=audio 30000" in request.body
        theirs.refresh(request)
        headers = [("Contact", f"<sip:{theirs.peer.host}:{theirs.peer.port}>")]
        theirs.peer.reply(request, 200, "OK", headers=headers, body=SDP)
        answer = told(200, within_s=5)
        ours.refresh(answer)
        if method == "INVITE":
            ours.request("ACK", cseq=answer.cseq)
            assert hear("ACK").cseq == request.cseq
    calling.hang_up()


@pytest.mark.parametrize(
    ("told", "passed"),
    [
        ("7", "7"),
        ("10", "10"),
        ("9 (Overlapping Requests)", "9"),
        ("5 (I am +442079460999)", "5"),
        ("5;duration=442079460999", "5"),
        ("120", ""),
        ("442079460999", ""),
        ("soon", ""),
        ("", ""),
    ],
)
def test_a_refused_offer_may_say_when_to_ask_again(stage, told, passed):
    """Retry-After of a refusal within the call passes both ways, the number of at most 99 seconds alone."""
    calling = stage.ring()
    calling.answer()
    for ours, theirs, hear, hears_back in (
        (calling.customer, calling.agent, calling.hears, calling.told),
        (calling.agent, calling.customer, calling.told, calling.hears),
    ):
        ours.request("INVITE", body=SDP)
        headers = [("Retry-After", told)] if told else []
        theirs.peer.reply(hear("INVITE"), 500, "Overlapping", headers=headers)
        hear("ACK")
        assert hears_back(500)["retry-after"] == passed
    calling.hang_up()


def test_an_answer_is_logged_once(stage):
    """An answered call leaves one event with the carrier's name and the call's; a re-INVITE leaves none."""
    calling = stage.ring()
    calling.answer()
    calling.customer.request("INVITE", body=SDP)
    calling.switch.reply(calling.hears("INVITE"), 200, "OK", headers=[("Contact", calling.agent.contact)], body=SDP)
    calling.customer.request("ACK", cseq=calling.told(200).cseq)
    calling.hears("ACK")
    calling.hang_up()
    logged = [line for line in stage.edge.log.read_text().splitlines() if calling.inner["call-id"] in line]
    answered = [line for line in logged if "edge.inbound_answered" in line]
    assert [line.split("edge.inbound_answered ")[1] for line in answered] == [
        f"carrier=alpha call={calling.inner['call-id']}"
    ]


def test_a_reliable_ringing_is_acknowledged(stage):
    """100rel: the customer's PRACK reaches FreeSWITCH with RAck and its answer comes back."""
    calling = stage.ring(headers=[("Supported", "100rel")])
    assert calling.inner["supported"] == "100rel"
    calling.reply(180, headers=[("Require", "100rel"), ("RSeq", "7")])
    ringing = calling.told(180)
    assert (ringing["require"], ringing["rseq"]) == ("100rel", "7")
    early = Dialog(
        calling.carrier, calling.call_id, calling.from_, ringing["to"], ringing.contact, stage.edge.outside, cseq=1
    )
    early.request("PRACK", headers=[("RAck", "7 1 INVITE")])
    prack = calling.hears("PRACK")
    assert prack["rack"] == "7 1 INVITE"
    calling.switch.reply(prack, 200, "OK")
    assert calling.told(200)["cseq"] == "2 PRACK"
    calling.answer()
    calling.hang_up()


def test_a_key_pressed_passes_both_ways(stage):
    """INFO with one DTMF key passes, in both directions."""
    calling = stage.ring()
    calling.answer()
    key = {"body": "Signal=5\r\nDuration=160\r\n", "content_type": "application/dtmf-relay"}
    for ours, peer, hear, told in (
        (calling.customer, calling.switch, calling.hears, calling.told),
        (calling.agent, calling.carrier, calling.told, calling.hears),
    ):
        ours.request("INFO", **key)
        info = hear("INFO")
        assert info.body.startswith("Signal=5")
        peer.reply(info, 200, "OK")
        told(200)
    calling.hang_up()


@pytest.mark.parametrize("method", ["REFER", "MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH"])
def test_nobody_moves_the_call_elsewhere(stage, method):
    """REFER and the like are refused in both directions, within the call."""
    calling = stage.ring()
    calling.answer()
    calling.customer.request(method, headers=[("Refer-To", "<sip:1002@x>")])
    calling.told(403)
    calling.agent.request(method, headers=[("Refer-To", "<sip:+442079460998@x>")])
    calling.hears(403)
    calling.hang_up()


def test_the_routes_of_the_carriers_proxies_are_kept(stage):
    """The customer's Record-Route comes back in the answer and routes FreeSWITCH's requests; FreeSWITCH sees none."""
    route = f"<sip:proxy@{stage.alpha.host}:{stage.alpha.port};lr>"
    calling = stage.ring(headers=[("Record-Route", f"{route}, <sip:far.example;lr>")])
    assert "proxy" not in calling.inner["record-route"]
    answer = calling.answer()
    assert answer.all("record-route") == [f"{route}, <sip:far.example;lr>"]
    calling.agent.request("BYE")
    bye = calling.told("BYE")
    assert bye["route"] == f"{route}, <sip:far.example;lr>"
    calling.carrier.reply(bye, 200, "OK")
    calling.hears(200)


def test_a_call_outlives_a_restart(stage):
    """An edge that is killed and started again with nothing kept serves the call on, both ways."""
    calling = stage.ring()
    calling.answer()
    stage.edge.restart()
    calling.customer.request("INVITE", body=SDP)
    request = calling.hears("INVITE")
    headers = [("Contact", calling.agent.contact)]
    calling.switch.reply(request, 200, "OK", headers=headers, body=SDP + f"a=x:{EXTENSION}\r\n")
    calling.customer.request("ACK", cseq=calling.told(200).cseq)
    calling.hears("ACK")
    calling.agent.request("BYE")
    bye = calling.told("BYE")
    calling.carrier.reply(bye, 200, "OK", headers=[("X-Caller", calling.number)])
    calling.hears(200)


def test_another_edge_serves_the_call_on(stage, tmp_path):
    """With the same secrets any edge serves any request of a call."""
    lines = [line.format(**{n: f"{p.host}:{p.port}" for n, p in _peers(stage)}) for line in LINES]
    other = Edge(tmp_path / "other", stage.resolver.url, lines, inbound=True)
    try:
        calling = stage.ring()
        calling.answer()
        calling.customer.request("UPDATE", body=SDP, to=other.outside)
        update = calling.hears("UPDATE")
        calling.switch.reply(update, 200, "OK", headers=[("Contact", calling.agent.contact)], body=SDP)
        assert calling.told(200).method == "UPDATE"
        calling.agent.request("BYE", to=other.inside)
        calling.carrier.reply(calling.told("BYE"), 200, "OK")
        assert calling.hears(200).method == "BYE"
    finally:
        other.stop()


def _peers(stage):
    return ("first", stage.first), ("second", stage.second)


def test_a_stranger_calls_nobody(tmp_path):
    """Who is in no line of the inbound set is refused, and nothing is asked or called."""
    stage = InboundStage(tmp_path, ["90 sip:192.0.2.1:5060 0 0 name=other", *LINES[1:]])
    try:
        calling = stage.call()
        assert calling.told(403).first == "SIP/2.0 403 Forbidden"
        assert stage.resolver.forms == []
        assert stage.findings() == []
    finally:
        stage.close()


def test_a_freeswitch_that_answers_no_options_gets_no_call(tmp_path):
    """With pings only FreeSWITCHes that live are called; with none of them the customer hears 503."""
    lines = [
        LINES[0],
        "91 sip:{first} 8 0 name=first;sockname=inside",
        "91 sip:127.0.0.1:9 8 0 name=dead;sockname=inside",
    ]
    stage = InboundStage(tmp_path, lines)
    try:
        for _ in range(3):  # two silent pings take a FreeSWITCH out
            stage.first.reply(stage.first.expect("OPTIONS", within_s=15), 200, "OK")
        for _ in range(4):
            calling = stage.ring()
            assert calling.switch is stage.first
            calling.reply(486)
            calling.acknowledge(calling.told(486))
            calling.hears("ACK")
        ping = stage.first.expect("OPTIONS", within_s=15)
        assert ping.source[1] == stage.edge.inside[1]
    finally:
        stage.close()
