"""Calls as calls: every message both sides need passes, in both directions, under the names each side knows."""

from __future__ import annotations

import re

import pytest
from ports import HOST
from sip_peer import SDP, uri_of

RINGS = [("Require", "100rel"), ("RSeq", "7")]


def _names(message):
    return uri_of(message["from"]), uri_of(message["to"])


def test_the_carrier_alone_is_told_the_number(stage):
    """Request-URI and To at the carrier hold the number, no other line does, and permit and token are on no line."""
    permit = "0123456789abcdef" * 2
    ringing = stage.dial(permit=permit)
    invite = ringing.invite
    assert invite.uri == f"sip:{ringing.number}@{ringing.carrier.host}:{ringing.carrier.port}"
    assert uri_of(invite["to"]) == f"sip:{ringing.number}@{ringing.carrier.host}"
    assert invite.raw.count(ringing.number[1:].encode()) == 2
    assert permit.encode() not in invite.raw
    assert ringing.token.encode() not in invite.raw
    assert str(ringing.switch.port).encode() not in invite.raw
    assert stage.resolver.forms[-1] == {
        "permit": permit,
        "token": ringing.token,
        "gateway": "edge-a",
        "call": ringing.call.call_id,
    }
    ringing.answer()
    ringing.hang_up()


def test_headers_towards_the_carrier_are_those_it_needs(stage):
    """Whatever else FreeSWITCH writes into its INVITE ends at the edge."""
    ringing = stage.dial(
        headers=[
            ("X-Agent", "1001"),
            ("X-Shield-Ref", "TASK-812"),
            ("P-Preferred-Identity", "<sip:1001@x>"),
            ("Route", "<sip:x;lr>"),
        ]
    )
    assert ringing.invite.names == {
        "via",
        "from",
        "to",
        "call-id",
        "cseq",
        "max-forwards",
        "contact",
        "content-type",
        "content-length",
        "allow",
        "supported",
    }
    assert len(ringing.invite.all("via")) == 1
    ringing.answer()
    ringing.hang_up()


def test_an_answered_call_names_each_side_as_it_knows_it(stage):
    """FreeSWITCH sees the token throughout, the carrier the number, and the tags agree on both sides."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 180, "Ringing", tag=ringing.tag)
    early = ringing.call.expect(180)
    answer = ringing.answer()
    assert (early["to"], early["via"], early["from"]) == (answer["to"], answer["via"], answer["from"])
    assert uri_of(answer["to"]) == f"sip:{ringing.token}@{HOST}:{stage.edge.inside[1]}"
    assert answer.cseq == 1
    ringing.call.dialog.request("BYE")
    bye = ringing.expect("BYE")
    assert _names(bye) == _names(ringing.invite)
    assert (bye.tag("to"), bye.tag("from")) == (ringing.tag, ringing.invite.tag("from"))
    assert bye.uri == uri_of(ringing.contact)
    ringing.carrier.reply(bye, 200, "OK")
    ended = ringing.hears(200)
    assert ended.tag("to") == answer.tag("to")


def test_the_customer_hangs_up(stage):
    """A BYE from the carrier reaches FreeSWITCH as from the token; its answer has the carrier's own Via and names."""
    ringing = stage.dial()
    answer = ringing.answer()
    ringing.remote.request("BYE", headers=[("Reason", f'Q.850;cause=16;text="{ringing.number}"')])
    bye = ringing.hears("BYE")
    assert bye.uri == uri_of(ringing.call.dialog.contact)
    assert (bye["from"], bye["to"]) == (answer["to"], answer["from"].partition(" ")[2])
    assert len(bye.all("via")) == 1
    ringing.switch.reply(bye, 200, "OK")
    ended = ringing.carrier.expect(200, where=lambda m: m["call-id"] == ringing.call.call_id)
    assert f":{ringing.carrier.port};branch=" in ended["via"]
    assert (ended["from"], ended["to"]) == (ringing.remote.local, ringing.remote.remote)


def test_giving_up_reaches_the_carrier(stage):
    """A CANCEL is confirmed, passed on in the INVITE's own names, and ends in the edge's 487."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 180, "Ringing", tag=ringing.tag)
    ringing.call.expect(180)
    ringing.call.cancel()
    cancel = ringing.expect("CANCEL")
    assert (cancel.uri, cancel["from"], cancel["to"]) == (
        ringing.invite.uri,
        ringing.invite["from"],
        ringing.invite["to"],
    )
    ringing.carrier.reply(cancel, 200, "OK")
    ringing.carrier.reply(ringing.invite, 487, f"Gone {ringing.number}", tag=ringing.tag)
    final = ringing.call.expect(487)
    ringing.call.ack_refusal(final)
    assert final.first == "SIP/2.0 487 Request Terminated"
    acknowledged = ringing.expect("ACK")
    assert (acknowledged["to"], acknowledged["from"]) == (
        f"{ringing.invite['to']};tag={ringing.tag}",
        ringing.invite["from"],
    )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (404, "404 Not Found"),
        (480, "480 Temporarily Unavailable"),
        (486, "486 Busy Here"),
        (488, "488 Not Acceptable Here"),
        (600, "600 Busy Everywhere"),
        (603, "603 Decline"),
        (429, "480 Temporarily Unavailable"),
        (699, "603 Decline"),
    ],
)
def test_refusals_keep_their_code_and_get_the_rfc_phrase(stage, code, told):
    """A carrier's refusal is told in our words; a code outside the table becomes its class's plain one."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, code, f"no {ringing.number}", tag=ringing.tag)
    ringing.expect("ACK")
    final = ringing.call.expect(int(told[:3]))
    ringing.call.ack_refusal(final)
    assert final.first == f"SIP/2.0 {told}"


def test_early_media_passes(stage):
    """A 183 with a description is passed on with it, and the answer afterwards too."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 183, "x", tag=ringing.tag, body=SDP, headers=[("Contact", ringing.contact)])
    early = ringing.call.expect(183)
    assert early.first == "SIP/2.0 183 Session Progress"
    assert "m=audio 30000 RTP/AVP 8 0 101" in early.body
    ringing.answer()
    ringing.hang_up()


def test_every_fork_keeps_a_tag_of_its_own(stage):
    """Provisional responses of several phones have tags of their own, and each early dialog can be addressed."""
    ringing = stage.dial()
    targets = {}
    for tag in ("fork-a", "fork-b"):
        contact = f"<sip:{tag}@{ringing.carrier.host}:{ringing.carrier.port}>"
        ringing.carrier.reply(ringing.invite, 183, tag=tag, headers=[("Contact", contact), *RINGS], body=SDP)
        early = ringing.call.expect(183)
        targets[early.tag("to")] = tag
        ringing.call.dialog.request("PRACK", headers=[("RAck", "7 1 INVITE")])
        prack = ringing.expect("PRACK")
        assert (prack.tag("to"), prack["rack"], prack.uri) == (tag, "7 1 INVITE", uri_of(contact))
        ringing.carrier.reply(prack, 200, "OK")
        ringing.hears(200)
    assert len(targets) == 2
    ringing.tag = "fork-b"
    assert targets[ringing.answer().tag("to")] == "fork-b"
    ringing.hang_up()


def test_update_passes_both_ways(stage):
    """An UPDATE with a new description and session timer reaches the other side and its answer returns."""
    ringing = stage.dial()
    ringing.answer()
    timer = [("Session-Expires", "1800;refresher=uac"), ("Supported", "timer")]
    ringing.call.dialog.request("UPDATE", body=SDP, headers=timer)
    update = ringing.expect("UPDATE")
    assert (update["session-expires"], update["supported"]) == ("1800;refresher=uac", "timer")
    ringing.carrier.reply(update, 200, "OK", body=SDP, headers=[("Contact", ringing.contact)])
    ringing.call.dialog.refresh(ringing.hears(200))
    ringing.remote.request("UPDATE", body=SDP)
    inbound = ringing.hears("UPDATE")
    ringing.call.dialog.target = inbound.contact
    ringing.switch.reply(inbound, 200, "OK", body=SDP, headers=[("Contact", ringing.call.dialog.contact)])
    done = ringing.carrier.expect(200, where=lambda m: m["call-id"] == ringing.call.call_id)
    assert "m=audio" in done.body
    ringing.remote.target = done.contact
    ringing.hang_up()


def test_a_new_offer_from_freeswitch_passes(stage):
    """A re-INVITE of FreeSWITCH is answered and acknowledged within the same dialog."""
    ringing = stage.dial()
    ringing.answer()
    ringing.call.dialog.request("INVITE", body=SDP.replace("sendrecv", "sendonly"))
    again = ringing.expect("INVITE")
    assert "a=sendonly" in again.body
    moved = f"<sip:moved@{ringing.carrier.host}:{ringing.carrier.port}>"
    ringing.carrier.reply(again, 200, "OK", headers=[("Contact", moved)], body=SDP.replace("sendrecv", "recvonly"))
    ringing.call.dialog.refresh(ringing.hears(200))
    ringing.call.ack()
    assert ringing.expect("ACK").uri == uri_of(moved)
    ringing.hang_up()


def test_a_new_offer_from_the_carrier_passes(stage):
    """A re-INVITE of the carrier is answered by FreeSWITCH and acknowledged, and both may end the call afterwards."""
    ringing = stage.dial()
    ringing.answer()
    ringing.remote.request("INVITE", body=SDP.replace("sendrecv", "inactive"))
    again = ringing.hears("INVITE")
    assert "a=inactive" in again.body
    ringing.switch.reply(again, 200, "OK", headers=[("Contact", ringing.call.dialog.contact)], body=SDP)
    done = ringing.carrier.expect(200, where=lambda m: m["call-id"] == ringing.call.call_id)
    ringing.remote.target = done.contact
    ringing.remote.request("ACK", cseq=done.cseq)
    assert ringing.hears("ACK").tag("from") == again.tag("from")
    ringing.call.dialog.target = again.contact
    ringing.hang_up()


def test_a_refused_new_offer_leaves_the_call_alone(stage):
    """A carrier's refusal of a re-INVITE reaches FreeSWITCH in our words; the call can still be ended."""
    ringing = stage.dial()
    ringing.answer()
    ringing.call.dialog.request("INVITE", body=SDP)
    ringing.carrier.reply(ringing.expect("INVITE"), 491, f"busy with {ringing.number}")
    assert ringing.hears(491).first == "SIP/2.0 491 Request Pending"
    ringing.expect("ACK")
    ringing.hang_up()


def test_keys_pressed_pass(stage):
    """A DTMF INFO passes in both directions with its digit."""
    ringing = stage.dial()
    ringing.answer()
    body = "Signal=5\r\nDuration=160\r\n"
    ringing.call.dialog.request("INFO", body=body, content_type="application/dtmf-relay")
    info = ringing.expect("INFO")
    assert (info.body, info["content-type"]) == (body, "application/dtmf-relay")
    ringing.carrier.reply(info, 200, "OK")
    ringing.hears(200)
    ringing.remote.request("INFO", body=body, content_type="application/dtmf-relay")
    info = ringing.hears("INFO")
    assert (info.body, info["content-type"]) == (body, "application/dtmf-relay")
    ringing.switch.reply(info, 200, "OK")
    ringing.carrier.expect(200, where=lambda m: m["call-id"] == ringing.call.call_id)
    ringing.hang_up()


@pytest.mark.parametrize("method", ["REFER", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REGISTER", "X+447"])
def test_carriers_may_not_move_or_message_a_call(stage, method):
    """A method that no call needs is refused by the edge and never reaches FreeSWITCH."""
    ringing = stage.dial()
    ringing.answer()
    ringing.remote.request(method, headers=[("Refer-To", f"<sip:{ringing.number}@x>")])
    assert ringing.carrier.expect(403, where=lambda m: m["call-id"] == ringing.call.call_id)
    ringing.hang_up()
    assert not [m for m in ringing.switch.heard if m.method == method]


def test_options_are_answered_here(stage):
    """OPTIONS of either side, within a call or not, is answered by the edge itself."""
    ringing = stage.dial()
    ringing.answer()
    ringing.remote.request("OPTIONS")
    assert ringing.carrier.expect(200, where=lambda m: m.method == "OPTIONS")
    ringing.call.dialog.request("OPTIONS")
    assert ringing.switch.expect(200, where=lambda m: m.method == "OPTIONS")
    ringing.hang_up()


def test_descriptions_towards_freeswitch_keep_the_media(stage):
    """Addresses, ports, codecs, their parameters, direction and packet time survive; names and free text do not."""
    ringing = stage.dial()
    body = SDP.replace(
        "s=FreeSWITCH", "s=the customer\r\ni=info\r\ne=a@b.example\r\np=+44 1\r\nu=http://x.example/\r\nb=AS:64"
    )
    answer = ringing.answer(body=body + "a=x-customer:9\r\na=rtcp:30001 IN IP4 127.0.0.1\r\nm=image 0 udptl t38\r\n")
    lines = answer.body.split("\r\n")
    assert re.fullmatch(r"o=- 1 \d{1,5} IN IP4 0\.0\.0\.0", lines[1])
    assert lines[2:-1] == [
        "s=-",
        "b=AS:64",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 30000 RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
        "a=rtcp:30001 IN IP4 127.0.0.1",
        "m=image 0 udptl t38",
    ]
    ringing.hang_up()


def test_two_calls_at_once_do_not_mix(stage):
    """Answers of two calls reach the call they belong to whatever their order."""
    first, second = stage.dial(), stage.dial()
    assert uri_of(second.answer()["to"]).startswith(f"sip:{second.token}@")
    assert uri_of(first.answer()["to"]).startswith(f"sip:{first.token}@")
    first.hang_up()
    second.hang_up()


def test_a_long_description_passes(stage):
    """A description that needs several UDP fragments on a real network passes whole, in both directions."""
    ringing = stage.dial(body=SDP + "a=fmtp:101 0-15\r\n" * 250)
    assert ringing.invite.body.count("a=fmtp:101 0-15\r\n") == 250
    answer = ringing.answer(body=SDP + "a=rtpmap:8 PCMA/8000\r\n" * 250)
    assert answer.body.count("a=rtpmap:8 PCMA/8000\r\n") == 251
    ringing.hang_up()


def test_what_cannot_be_sent_on_is_answered_in_the_carriers_own_words(stage):
    """A carrier's request for which FreeSWITCH is out of reach fails in the carrier's names, with the Via it sent."""
    ringing = stage.dial()
    ringing.answer()
    ringing.call.dialog.contact = "<sip:gw+edge-a@255.255.255.255:5060>"
    ringing.call.dialog.request("UPDATE")
    ringing.carrier.reply(ringing.expect("UPDATE"), 200, "OK", headers=[("Contact", ringing.contact)])
    ringing.hears(200)
    ringing.remote.refresh(ringing.carrier.heard[-1])
    ringing.remote.request("INVITE", body=SDP)
    said = [ringing.carrier.expect(100)]
    while said[-1].status < 200:
        said.append(ringing.carrier._receive(5))
    for message in said:
        assert _names(message) == (uri_of(ringing.remote.local), uri_of(ringing.remote.remote)), message.first
        assert message["via"].startswith(f"SIP/2.0/UDP {HOST}:{ringing.carrier.port};")
        assert ringing.token.encode() not in message.raw
