"""Carriers as they are: several, down, asking for a digest, wanting their own spelling, on TCP."""

from __future__ import annotations

import hashlib
import re
import threading
import time

import pytest
from edge_stage import Stage
from ports import HOST
from sip_peer import SDP, StreamPeer, uri_of


@pytest.mark.parametrize("code", [301, 302, 403, 408, 500, 502, 503, 504])
def test_a_carriers_fault_goes_to_the_next_carrier(stage, code):
    """A refusal that is the carrier's own sends the call to the next one of the set, with the same permit."""
    asked = len(stage.resolver.forms)
    ringing = stage.dial()
    ringing.carrier.reply(
        ringing.invite, code, f"try {ringing.number}", tag="t", headers=[("Contact", f"<sip:{ringing.number}@x>")]
    )
    ringing.expect("ACK")
    second = stage.beta.expect("INVITE", where=lambda m: m["call-id"] == ringing.call.call_id)
    assert second.uri == f"sip:{ringing.number}@{HOST}:{stage.beta.port}"
    ringing.carrier, ringing.invite = stage.beta, second
    ringing.contact = f"<sip:{ringing.number}@{HOST}:{stage.beta.port}>"
    ringing.answer()
    ringing.hang_up()
    assert len(stage.resolver.forms) - asked == 1


@pytest.mark.parametrize("code", [404, 480, 484, 486, 487, 600, 603])
def test_the_customers_answer_is_final(stage, code):
    """What the customer's side said is not asked of another carrier."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, code, tag="t")
    ringing.call.ack_refusal(ringing.call.expect(code))
    stage.beta.drain()
    assert not [m for m in stage.beta.heard if m.method == "INVITE"]


def test_a_failure_after_ringing_is_final(stage):
    """Once the customer's phone rang, the call is not tried elsewhere."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 180, tag="t")
    ringing.call.expect(180)
    ringing.carrier.reply(ringing.invite, 503, tag="t")
    ringing.call.ack_refusal(ringing.call.expect(503))
    stage.beta.drain()
    assert not [m for m in stage.beta.heard if m.method == "INVITE"]


def test_a_silent_carrier_goes_to_the_next(stage):
    """A carrier that does not answer at all is given up after the edge's limit, and the next one gets the call."""
    ringing = stage.dial()
    second = stage.beta.expect("INVITE", where=lambda m: m["call-id"] == ringing.call.call_id)
    stage.beta.reply(second, 486, tag="t")
    ringing.call.ack_refusal(ringing.call.expect(486))


def test_all_carriers_down_is_a_503(stage):
    """When no carrier of the set takes the call, FreeSWITCH gets 503, so that the worker may try another gateway."""
    ringing = stage.dial()
    ringing.carrier.reply(ringing.invite, 500, tag="t")
    second = stage.beta.expect("INVITE", where=lambda m: m["call-id"] == ringing.call.call_id)
    stage.beta.reply(second, 503, tag="t")
    ringing.call.ack_refusal(ringing.call.expect(503))


def _authorized(invite, challenge_header):
    header = "proxy-authorization" if challenge_header == "Proxy-Authenticate" else "authorization"
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', invite[header]))

    def md5(*parts):
        return hashlib.md5(":".join(parts).encode()).hexdigest()  # noqa: S324 - RFC 2617

    secret = md5(fields["username"], fields["realm"], "pw")
    request = md5(invite.method, fields["uri"])
    middle = (fields["nonce"], fields["nc"], fields["cnonce"], fields["qop"]) if "qop" in fields else (fields["nonce"],)
    return fields["response"] == md5(secret, *middle, request)


@pytest.mark.parametrize(("code", "name"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
@pytest.mark.parametrize("qop", [', qop="auth"', ""])
def test_a_digest_challenge_is_answered(stage, code, name, qop):
    """A challenged INVITE is sent again with the carrier's account and the next CSeq; the dialog counts on from it."""
    ringing = stage.dial(stage.beta, gateway="edge-b", cseq=7)
    assert ringing.invite.cseq == 14
    assert uri_of(ringing.invite["from"]) == f"sip:acct@{HOST}"
    challenge = f'Digest realm="{ringing.number}", nonce="abc"{qop}, algorithm=MD5'
    stage.beta.reply(ringing.invite, code, "No", tag="ch", headers=[(name, challenge)])
    assert ringing.expect("ACK").tag("to") == "ch"
    again = ringing.expect("INVITE")
    assert again.cseq == 15
    assert _authorized(again, name)
    assert uri_of(again["to"]) == uri_of(ringing.invite["to"])
    ringing.invite = again
    stage.beta.reply(
        again,
        183,
        tag=ringing.tag,
        body=SDP,
        headers=[("Contact", ringing.contact), ("Require", "100rel"), ("RSeq", "1")],
    )
    early = ringing.call.expect(183)
    assert early.cseq == 7
    ringing.call.dialog.request("PRACK", headers=[("RAck", "1 7 INVITE")])
    prack = ringing.expect("PRACK")
    assert (prack["rack"], prack.cseq) == ("1 15 INVITE", 16)
    stage.beta.reply(prack, 200)
    assert ringing.hears(200).cseq == 8
    stage.beta.reply(again, 200, tag=ringing.tag, headers=[("Contact", ringing.contact)], body=SDP)
    assert ringing.call.expect(200).cseq == 7
    ringing.call.dialog.request("ACK", cseq=7)
    assert ringing.expect("ACK").cseq == 15
    ringing.call.dialog.request("BYE")
    bye = ringing.expect("BYE")
    assert bye.cseq == 18
    stage.beta.reply(bye, 200)
    assert ringing.hears(200).cseq == 9


def test_a_second_challenge_is_a_refusal(stage):
    """Credentials a carrier does not accept end in 503, and FreeSWITCH sees no challenge."""
    ringing = stage.dial(stage.beta, gateway="edge-b")
    for _ in range(2):
        stage.beta.reply(ringing.invite, 401, tag="ch", headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n"')])
        ringing.expect("ACK")
        if _ == 0:
            ringing.invite = ringing.expect("INVITE")
    ringing.call.ack_refusal(ringing.call.expect(503))
    assert not any("authenticate" in name for m in ringing.switch.heard for name in m.names)


SPELLINGS = {
    "as the resolver said": ("", "+{n}", "+442079460999", None),
    "no plus": ("plus=no", "{n}", "+442079460999", None),
    "prefix": ("prefix=0011", "0011{n}", "+442079460999", None),
    "caller without plus": ("caller_plus=no", "+{n}", "442079460999", None),
    "account as caller": (
        "from_user=acct9;from_domain=carrier.example;pai=yes",
        "+{n}",
        "acct9",
        "sip:+442079460999@carrier.example",
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_each_carrier_gets_its_own_spelling(made, name):
    """Number, prefix, From and P-Asserted-Identity are written as the carrier's line of the list says."""
    attributes, dialled, caller, asserted = SPELLINGS[name]
    stage = made(f"1 sip:{{alpha}} 0 0 name=alpha;{attributes}")
    ringing = stage.dial()
    assert ringing.invite.uri.partition("@")[0] == "sip:" + dialled.format(n=ringing.number[1:])
    assert uri_of(ringing.invite["from"]).partition("@")[0] == f"sip:{caller}"
    assert ringing.invite["p-asserted-identity"] == (f"<{asserted}>" if asserted else "")
    ringing.answer()
    ringing.hang_up()


def test_a_withheld_caller_is_anonymous(stage):
    """A caller ID that is no number is not passed on."""
    ringing = stage.dial(caller="agent1001", display='"Agent Smith" ')
    assert uri_of(ringing.invite["from"]).startswith("sip:anonymous@")
    assert b"1001" not in ringing.invite["from"].encode()
    ringing.answer()
    ringing.hang_up()


class Busy:
    """A carrier that refuses every call as busy and answers OPTIONS while it is up; it runs in a thread."""

    def __init__(self, peer):
        self.peer, self.up, self.calls, self._ended = peer, True, [], False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended:
            message = self.peer._receive(0.05)
            if message is None or message.status:
                continue
            if message.method == "OPTIONS" and self.up:
                self.peer.reply(message, 200, "OK", tag="o")
            if message.method == "INVITE":
                self.calls.append(message["call-id"])
                self.peer.reply(message, 486, "Busy", tag="t")

    def stop(self):
        self._ended = True
        self._thread.join(5)


def test_a_carrier_that_answers_no_options_is_left_out_until_it_does(made):
    """OPTIONS finds a carrier down, calls pass it by without delay, and it is used again when it answers."""
    stage = made("1 sip:{alpha} 8 20 name=alpha", "1 sip:{beta} 8 10 name=beta")
    alpha, beta = Busy(stage.alpha), Busy(stage.beta)
    switch = stage.switch()

    def goes_to(carrier):
        token, _ = stage.customer()
        call = switch.invite(token)
        call.ack_refusal(call.expect(486))
        return call.call_id in carrier.calls

    def in_time(carrier):
        return any(goes_to(carrier) for _ in _ticks(15))

    try:
        assert goes_to(alpha)
        alpha.up = False
        assert in_time(beta)
        alpha.up = True
        assert in_time(alpha)
    finally:
        alpha.stop()
        beta.stop()


def _ticks(within_s):
    """Yield until the time is up, at most four times a second."""
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while time.monotonic() < deadline:
        yield
        pause.wait(0.25)


def test_a_call_over_tcp(made):
    """A carrier on TCP gets its call there, with a Contact that says so, and both sides' requests pass."""
    carrier = StreamPeer()
    stage = made(f"1 sip:{HOST}:{carrier.port};transport=tcp 0 0 name=alpha")
    try:
        ringing = stage.dial(carrier)
        assert ringing.invite["via"].startswith("SIP/2.0/TCP ")
        assert ";transport=tcp;" in ringing.invite.contact
        ringing.contact = f"<sip:{ringing.number}@{HOST}:{carrier.port};transport=tcp>"
        ringing.answer()
        ringing.remote.request("UPDATE")
        ringing.switch.reply(ringing.hears("UPDATE"), 200)
        assert carrier.expect(200)
        ringing.hang_up()
    finally:
        carrier.close()


def test_a_carrier_is_found_by_srv(tmp_path, names):
    """A carrier's name without a port is looked up by SRV; the next record is tried when the first is silent."""
    stage = Stage(tmp_path / "edge", ["1 sip:carrier.test 16 0 name=alpha"], nameserver=names.ADDRESS)
    names.targets = [(10, stage.alpha.port), (20, stage.beta.port)]
    try:
        ringing = stage.dial()
        assert ringing.invite.uri == f"sip:{ringing.number}@carrier.test"
        assert uri_of(ringing.invite["to"]) == f"sip:{ringing.number}@carrier.test"
        second = stage.beta.expect("INVITE", where=lambda m: m["call-id"] == ringing.call.call_id)
        stage.beta.reply(second, 486, tag="t")
        ringing.call.ack_refusal(ringing.call.expect(486))
    finally:
        stage.close()
