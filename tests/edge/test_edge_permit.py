"""What a new call must bring, who may bring it, and what happens when the resolver refuses, dawdles or is away."""

from __future__ import annotations

import time

import pytest
from edge_lab import Edge
from fix_site import NUMBERS, SHOP
from ports import HOST, free_port
from sip_peer import Peer, Switch, render, uri_of

from esl_shield.esl.double import Agent, Call, Carrier, Gateway
from esl_shield.esl.double.redeem import AWAY

WITHIN_S = 2.0
GATEWAYS = {name: Gateway(Carrier(after_s=0.02)) for name in ("edge-a", "edge-b")}


@pytest.mark.parametrize(
    ("status", "told"), [(404, "403 Forbidden"), (403, "603 Decline"), (503, "503 Service Unavailable")]
)
def test_a_refusal_of_the_resolver_ends_the_call(stage, status, told):
    """Permit refused, destination refused and resolver away are told apart, and no carrier hears of the call."""
    stage.resolver.status = status
    token, _ = stage.customer()
    call = stage.switch().invite(token)
    final = call.expect(int(told[:3]))
    call.ack_refusal(final)
    assert final.first == f"SIP/2.0 {told}"
    stage.alpha.drain()
    assert not stage.alpha.heard


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"permit": "0" * 31}, 403),
        ({"permit": "G" * 32}, 403),
        ({"gateway": "a b"}, 403),
        ({"gateway": "x" * 65}, 403),
        ({"call_id": "not-a-uuid"}, 403),
        ({"call_id": "a&token=9"}, 403),
        ({"headers": [("X-Shield-Permit", "0" * 32)]}, 403),
        ({"headers": [("X-Shield-Gateway", "edge-b")]}, 403),
        ({"gateway": "nowhere"}, 503),
    ],
)
def test_a_call_that_is_not_well_formed_is_refused(stage, change, code):
    """A permit, gateway or Call-ID outside its grammar, or given twice, is refused before anybody is asked."""
    asked = len(stage.resolver.forms)
    token, _ = stage.customer()
    call = stage.switch().invite(token, **change)
    call.ack_refusal(call.expect(code))
    assert len(stage.resolver.forms) - asked == (1 if code == 503 else 0)


@pytest.mark.parametrize("token", ["+442079460123", "12", "8100000000001x", "8" * 21])
def test_only_digits_that_can_be_a_token_are_asked_for(stage, token):
    """A Request-URI that is no token is refused before anybody is asked."""
    asked = len(stage.resolver.forms)
    call = stage.switch().invite(token)
    call.ack_refusal(call.expect(403))
    assert len(stage.resolver.forms) == asked


def test_a_retransmitted_invite_redeems_once(stage):
    """An INVITE sent again while the resolver thinks and after the carrier rang costs one permit and makes one call."""
    token, _ = stage.customer()
    stage.resolver.gate.clear()
    asked = len(stage.resolver.forms)
    call = stage.switch().invite(token)
    call.expect(100)
    for _ in range(3):
        call.again()
    stage.resolver.gate.set()
    invite = stage.alpha.expect("INVITE", where=lambda m: m["call-id"] == call.call_id)
    stage.alpha.reply(invite, 180, tag="t")
    call.expect(180)
    call.again()
    call.expect(180)
    assert len(stage.resolver.forms) - asked == 1
    call.cancel()
    stage.alpha.expect("CANCEL")
    stage.alpha.reply(invite, 487, tag="t")
    call.ack_refusal(call.expect(487))
    assert len([m for m in stage.alpha.heard if m.method == "INVITE"]) == 1


def test_a_permit_is_good_once(stage):
    """The permit of a call that was made is refused for a second one."""
    permit = "ab" * 16
    ringing = stage.dial(permit=permit)
    ringing.answer()
    ringing.hang_up()
    again = stage.switch().invite(ringing.token, permit)
    again.ack_refusal(again.expect(403))


def test_strangers_hear_nothing(stage, tmp_path):
    """An address that is not FreeSWITCH's gets no answer at all on FreeSWITCH's side, and no permit is spent."""
    asked = len(stage.resolver.forms)
    edge = Edge(tmp_path / "edge", stage.resolver.url, ["1 sip:127.0.0.1:9 0 0 name=x"], freeswitch="127.0.0.9")
    stranger, friend = Switch(edge.inside), Switch(edge.inside, host="127.0.0.9")
    try:
        stranger.invite("81000000000001")
        stranger.send(
            render(
                f"OPTIONS sip:{HOST} SIP/2.0",
                [
                    ("Via", stranger.via()),
                    ("From", "<sip:a@b>;tag=1"),
                    ("To", "<sip:a@b>"),
                    ("Call-ID", "x"),
                    ("CSeq", "1 OPTIONS"),
                ],
            ),
            edge.inside,
        )
        friend.invite("notoken").expect(403)
        stranger.drain()
        assert not stranger.heard
    finally:
        edge.stop()
        stranger.close()
        friend.close()
    assert len(stage.resolver.forms) == asked


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "BYE"])
def test_carriers_cannot_begin_anything(stage, method):
    """A request from the carriers' side outside a call is refused, whatever headers it has."""
    asked = len(stage.resolver.forms)
    carrier = stage.alpha
    carrier.send(
        render(
            f"{method} sip:81000000000001@{HOST} SIP/2.0",
            [
                ("Via", carrier.via()),
                ("From", "<sip:a@b>;tag=1"),
                ("To", "<sip:a@b>"),
                ("Call-ID", "11111111-2222-3333-4444-555555555555"),
                ("CSeq", f"1 {method}"),
                ("Contact", f"<sip:a@{carrier.host}>"),
                ("Max-Forwards", "70"),
                ("X-Shield-Permit", "0" * 32),
                ("X-Shield-Gateway", "edge-a"),
            ],
        ),
        stage.edge.outside,
    )
    assert carrier.expect(403)
    assert len(stage.resolver.forms) == asked


def test_a_resolver_that_is_away_is_a_503_at_once(stage, tmp_path):
    """With nobody at the resolver's address a call is refused within two seconds, and live calls go on."""
    edge = Edge(
        tmp_path / "edge", f"http://{HOST}:{free_port()}/redeem", [f"1 sip:{HOST}:{stage.alpha.port} 0 0 name=alpha"]
    )
    try:
        token, _ = stage.customer()
        began = time.monotonic()
        call = stage.switch(edge).invite(token)
        call.ack_refusal(call.expect(503))
        assert time.monotonic() - began < WITHIN_S
    finally:
        edge.stop()


def test_a_slow_resolver_delays_new_calls_only(stage):
    """While a silent resolver holds sixty new calls, each ends with 503 in two seconds and live calls end at once."""
    live = [stage.dial() for _ in range(10)]
    for ringing in live:
        ringing.answer()
    stage.resolver.gate.clear()
    try:
        waiting, switch = [], stage.switch()
        for _ in range(60):
            token, _ = stage.customer()
            waiting.append((time.monotonic(), switch.invite(token)))
        slowest = 0.0
        for ringing in live:
            began = time.monotonic()
            ringing.hang_up()
            slowest = max(slowest, time.monotonic() - began)
        took = []
        for began, call in waiting:
            call.ack_refusal(call.expect(503))
            took.append(time.monotonic() - began)
    finally:
        stage.resolver.gate.set()
    assert slowest < 0.5
    assert max(took) < WITHIN_S + 0.3  # sixty calls are awaited one after the other
    assert not [
        m for m in stage.alpha.heard if m.method == "INVITE" and m["call-id"] in {c.call_id for _, c in waiting}
    ]


def test_a_call_given_up_while_the_resolver_thinks_reaches_nobody(stage):
    """A CANCEL before the number is known ends the call with 487 and no carrier hears of it."""
    token, _ = stage.customer()
    stage.resolver.gate.clear()
    call = stage.switch().invite(token)
    call.expect(100)
    call.cancel()
    call.dialog.peer.expect(200, where=lambda m: m.method == "CANCEL")
    stage.resolver.gate.set()
    call.ack_refusal(call.expect(487))
    stage.alpha.drain()
    assert not [m for m in stage.alpha.heard if m["call-id"] == call.call_id]


# --- the real resolver -------------------------------------------------------------------------------------------


@pytest.fixture
def behind(call_centre, tmp_path):
    """An edge that redeems at the running site's resolver; its carrier, and FreeSWITCH's side."""
    carrier = Peer()
    lines = [f"{number} sip:{HOST}:{carrier.port} 0 0 name=alpha" for number in (1, 2)]
    edge = Edge(tmp_path / "edge", call_centre.redeem.url, lines, secret=call_centre.site.edge_secret)
    switch = Switch(edge.inside)
    yield edge, carrier, switch
    edge.stop()
    carrier.close()
    switch.close()


def _with_permit(call_centre, position, use):
    """Have the worker mint a permit for edge delivery and ``use`` it in the edge's place; returns the call's result."""
    seen = []

    def redeem(redemption):
        if not seen:
            seen.append(redemption)
            use(redemption)
        return AWAY

    call = Call(dialled=call_centre.token(SHOP, position), agent=Agent(domain=SHOP.domain), gateways=GATEWAYS)
    result = call_centre.place(call, redeem=redeem)
    assert seen
    return result


def _reasons(call_centre, result):
    return [
        (event["kind"], event["detail"].get("reason"))
        for event in call_centre.audit(result, SHOP)
        if event["kind"].startswith("permit.re")
    ]


def test_the_resolvers_permit_buys_one_call(call_centre, behind):
    """A permit the worker minted is redeemed at the real resolver: the carrier gets the number, the trail a row."""
    _, carrier, switch = behind

    def use(minted):
        parts = {"permit": minted.permit, "gateway": minted.gateway, "call_id": minted.call_id}
        call = switch.invite(minted.token, **parts)
        invite = carrier.expect("INVITE")
        assert uri_of(invite["to"]) == f"sip:{NUMBERS[41]}@{HOST}"
        carrier.reply(invite, 486, tag="t")
        call.ack_refusal(call.expect(486))
        again = switch.invite(minted.token, **parts)
        again.ack_refusal(again.expect(403))

    result = _with_permit(call_centre, 41, use)
    assert ("permit.redeemed", None) in _reasons(call_centre, result)


@pytest.mark.parametrize("wrong", ["token", "call_id", "gateway", "permit"])
def test_a_permit_is_bound_to_its_call(call_centre, behind, wrong):
    """A permit with another token, Call-ID or gateway, or one that was guessed, buys nothing."""
    _, carrier, switch = behind

    def use(minted):
        right = {"token": minted.token, "permit": minted.permit, "gateway": minted.gateway, "call_id": minted.call_id}
        other = {
            "token": call_centre.token(SHOP, 43),
            "permit": "0f" * 16,
            "call_id": "11111111-2222-3333-4444-555555555555",
            "gateway": "edge-b" if minted.gateway == "edge-a" else "edge-a",
        }
        call = switch.invite(**(right | {wrong: other[wrong]}))
        call.ack_refusal(call.expect(403))
        carrier.drain()
        assert not carrier.heard

    result = _with_permit(call_centre, 42, use)
    kinds = [kind for kind, _ in _reasons(call_centre, result)]
    assert "permit.redeemed" not in kinds
    assert ("permit.refused" in kinds) == (wrong != "permit")  # a guess names no call to audit it under


def test_an_edge_with_a_wrong_secret_is_refused(call_centre, tmp_path):
    """Another secret than the resolver's buys nothing, and the permit stays good for the right edge."""
    carrier = Peer()
    lines = [f"{number} sip:{HOST}:{carrier.port} 0 0 name=alpha" for number in (1, 2)]
    edge = Edge(tmp_path / "edge", call_centre.redeem.url, lines, secret="0" * 64)
    switch = Switch(edge.inside)

    def use(minted):
        call = switch.invite(minted.token, minted.permit, gateway=minted.gateway, call_id=minted.call_id)
        call.ack_refusal(call.expect(403))
        assert call_centre.redeem(minted) == (200, NUMBERS[44])

    try:
        _with_permit(call_centre, 44, use)
    finally:
        edge.stop()
        switch.close()
        carrier.close()
