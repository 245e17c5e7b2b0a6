"""Carriers on TLS: authority, dates and name of their certificates, and what goes where one of them is not right."""

from __future__ import annotations

import threading
import time

import pytest
from certificates import NAME, Authority, Carrier
from edge_lab import Edge, Resolver, registration
from edge_stage import Stage
from ports import HOST, free_port
from sip_peer import SDP


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority, and the certificates every test needs."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    authority.sign("edge", "DNS:edge.example")
    authority.sign("right")
    authority.sign("wrong", "DNS:sip.other.example")
    return authority


@pytest.fixture
def carrier(authority):
    """Make carriers; all are closed afterwards."""
    carriers = []

    def make(name="right"):
        carriers.append(Carrier(authority.context(name) if name else None))
        return carriers[-1]

    yield make
    for one in carriers:
        one.close()


def _talk(stage, carrier, **invite):
    """A call that was answered; its carrier's Contact is on TLS."""
    ringing = stage.dial(carrier, **invite)
    ringing.contact = f"<sip:{ringing.number}@{HOST}:{carrier.port};transport=tls>"
    ringing.answer()
    return ringing


# What the certificate says (subjectAltName, subject), tls_name in carriers.list, and whether they agree.
LONG = ",".join(f"DNS:node{i}.carrier.example" for i in range(60))
INSIDE = "0603551d110417301582" + f"{len(NAME):02x}" + NAME.encode().hex()
CASES = {
    "the only name": (f"DNS:{NAME}", "/CN=x", NAME, True),
    "the second of several": (f"DNS:a.example,DNS:{NAME},DNS:b.example", "/CN=x", NAME, True),
    "the last of very many": (f"{LONG},DNS:{NAME}", "/CN=x", NAME, True),
    "a critical extension": (f"critical,DNS:{NAME}", "/CN=x", NAME, True),
    "in other letters": ("DNS:SIP.Carrier.Example", "/CN=x", "sip.CARRIER.example", True),
    "a wildcard as itself": ("DNS:*.carrier.example", "/CN=x", "*.carrier.example", True),
    "the address of the URI": (f"DNS:a.example,IP:{HOST}", "/CN=x", "", True),
    "another name": ("DNS:sip.other.example", "/CN=x", NAME, False),
    "only the common name": ("DNS:sip.other.example", f"/CN={NAME}", NAME, False),
    "no alternative names": ("", f"/CN={NAME}", NAME, False),
    "longer in front": (f"DNS:x{NAME}", "/CN=x", NAME, False),
    "longer behind": (f"DNS:{NAME}.evil.example", "/CN=x", NAME, False),
    "shorter": (f"DNS:{NAME[1:]},DNS:{NAME[:-1]}", "/CN=x", NAME, False),
    "a dot for any letter": (f"DNS:{NAME.replace('.', 'x')}", "/CN=x", NAME, False),
    "a wildcard that covers it": ("DNS:*.carrier.example", "/CN=x", NAME, False),
    "what a wildcard covers": (f"DNS:{NAME}", "/CN=x", "*.carrier.example", False),
    "as URI and mail": (f"URI:sip:{NAME},email:a@{NAME}", "/CN=x", NAME, False),
    "as another kind of name": (f"otherName:1.3.6.1.5.5.7.8.5;IA5STRING:{NAME}", "/CN=x", NAME, False),
    "its bytes inside another extension": ("DNS:sip.other.example", "/CN=x", NAME, False),
    "another address": ("IP:127.0.0.2", "/CN=x", "", False),
    "the address as a DNS name": (f"DNS:{HOST}", "/CN=x", "", False),
}
MORE = {"its bytes inside another extension": ("-addext", f"1.2.3.4=DER:{INSIDE}")}


@pytest.fixture(scope="module")
def named(authority, tmp_path_factory):
    """An edge with a set for each case: its carrier, then one whose certificate is right."""
    carriers = {}
    for number, (case, (alternative, subject, name, _)) in enumerate(CASES.items(), 10):
        context = authority.context(
            authority.sign(f"case{number}", alternative, subject=subject, more=MORE.get(case, ()))
        )
        attributes = "name=alpha" + (f";tls_name={name}" if name else "")
        one, next_one = Carrier(context), Carrier(authority.context("right"))
        lines = (
            one.line(attributes, group=number),
            next_one.line(f"name=beta;tls_name={NAME}", group=number, priority=10),
        )
        carriers[case] = (f"set-{number}", one, next_one, lines)
    lines = [line for *_, pair in carriers.values() for line in pair]
    stage = Stage(tmp_path_factory.mktemp("edge"), lines, tls=authority.settings)
    yield stage, carriers
    found = stage.findings() + stage.logged()
    stage.close()
    for _, one, next_one, _ in carriers.values():
        one.close()
        next_one.close()
    assert found == []


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][-1]])
def test_a_carrier_with_its_name_gets_the_call(named, case):
    """A certificate of the right authority that has the name among its alternative names is the carrier's."""
    stage, carriers = named
    gateway, one, _, _ = carriers[case]
    ringing = _talk(stage, one, gateway=gateway)
    assert ringing.invite["via"].startswith("SIP/2.0/TLS ")
    ringing.hang_up()


@pytest.mark.parametrize("case", [case for case in CASES if not CASES[case][-1]])
def test_a_carrier_without_its_name_gets_nothing(named, case):
    """A certificate of the right authority without the name: it gets OPTIONS alone, the next carrier has the call."""
    stage, carriers = named
    gateway, one, next_one, _ = carriers[case]
    one.alone()
    ringing = _talk(stage, next_one, gateway=gateway)
    ringing.hang_up()
    assert b"OPTIONS" in one.taken
    assert not one.got(ringing.number)


@pytest.mark.parametrize("kind", ["other", "expired", "selfsigned", "none"])
def test_a_certificate_that_is_not_right_gets_no_call(made, authority, carrier, kind):
    """Another authority's, an expired, a self-signed certificate with the right name, or none: nothing is sent."""
    if kind == "other":
        authority.sign("other", authority="otherca")
    if kind == "expired":
        authority.sign_expired("expired")
    one = carrier("" if kind == "none" else kind).alone()
    stage = made(one.line(), tls=authority.settings)
    token, number = stage.customer()
    call = stage.switch().invite(token)
    call.ack_refusal(call.expect(503))
    assert not one.heard
    assert not one.got(number)


@pytest.mark.parametrize("lively", [True, False])
def test_a_carrier_that_comes_back_with_another_name_gets_nothing(made, authority, carrier, lively):
    """After a restart with another certificate on the port: no new call, and no CANCEL or BYE of those there were."""
    one, next_one = carrier(), carrier()
    stage = made(one.line(flags=8), next_one.line("name=beta;tls_name=" + NAME, priority=10), tls=authority.settings)
    talking = _talk(stage, one)
    calling = stage.dial(one)
    one.reply(calling.invite, 180, "Ringing", tag=calling.tag)
    calling.call.expect(180)
    one.restart(authority.context("wrong"))
    one.heard.clear()
    one.taken, one.lively = b"", lively
    one.alone()
    _until(lambda: b"OPTIONS" in one.taken)  # a connection of the wrong name is open
    calling.call.cancel()
    assert calling.call.expect(200).method == "CANCEL"
    talking.call.dialog.request("BYE")
    assert talking.hears(503)
    later = _talk(stage, next_one)
    later.hang_up()
    for ringing in (talking, calling, later):
        assert not one.got(ringing.number)


def _until(condition, within_s=10.0):
    """Wait until it holds."""
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.05)


@pytest.mark.parametrize("ended", ["edge", "carrier"])
def test_a_call_is_ended_after_a_restart(made, authority, carrier, ended):
    """BYE and a new offer reach the carrier after the edge was killed, or the carrier closed its connections."""
    one = carrier()
    stage = made(one.line(), tls=authority.settings)
    ringing = _talk(stage, one)
    if ended == "edge":
        stage.edge.restart()
    else:
        one.restart(authority.context("right"))
    ringing.call.dialog.request("INVITE", body=SDP)
    again = ringing.expect("INVITE")
    one.reply(again, 200, "OK", headers=[("Contact", ringing.contact)], body=SDP)
    ringing.call.dialog.refresh(ringing.call.expect(200))
    ringing.call.ack()
    ringing.expect("ACK")
    if ended == "edge":
        stage.edge.restart()
    else:
        one.restart(authority.context("right"))
    ringing.hang_up()
    _talk(stage, one).hang_up()


@pytest.mark.parametrize("certificate", ["right", "wrong"])
def test_a_carriers_other_address_needs_its_name_too(made, authority, carrier, certificate):
    """A Contact at another address is reached if the certificate there has the carrier's name, otherwise not."""
    one, other = carrier(), carrier(certificate)
    stage = made(one.line(), tls=authority.settings)
    _moved(stage, one, other, HOST, reached=certificate == "right")


@pytest.mark.parametrize("certificate", ["host", "wrong"])
def test_a_carriers_other_host_may_have_its_own_name(made, authority, carrier, names, certificate):
    """A Contact on another host is reached if the certificate there has that host's name, otherwise not."""
    authority.sign("host", "DNS:h.test")
    one, other = carrier(), carrier(certificate)
    stage = made(one.line(), tls=authority.settings, nameserver=names.ADDRESS)
    _moved(stage, one, other, "h.test", reached=certificate == "host")


def _moved(stage, one, other, host, *, reached):
    """One carrier answers with a Contact at another's port of that host; see whether the BYE arrives there."""
    ringing = stage.dial(one)
    contact = f"<sip:{ringing.number}@{host}:{other.port};transport=tls>"
    one.reply(ringing.invite, 200, "OK", tag=ringing.tag, headers=[("Contact", contact)], body=SDP)
    ringing.call.expect(200)
    other.alone()
    ringing.call.dialog.request("BYE")
    if reached:
        _until(lambda: [m for m in other.heard if m.method == "BYE"])
        return
    assert ringing.hears(503)
    assert not other.got(ringing.number)


@pytest.mark.parametrize("certificate", ["host", "right"])
def test_the_name_is_the_hosts_unless_the_list_says_another(made, authority, carrier, names, certificate):
    """Without tls_name the URI's host is the name: what that host leads to gets no call if it has another name."""
    authority.sign("host", "DNS:h.test")
    one, next_one = carrier(certificate), carrier()
    if certificate != "host":
        one.alone()
    lines = one.line("name=alpha", host="h.test"), next_one.line("name=beta;tls_name=" + NAME, priority=10)
    stage = made(*lines, tls=authority.settings, nameserver=names.ADDRESS)
    ringing = stage.dial(one if certificate == "host" else next_one)
    ringing.carrier.reply(ringing.invite, 486, "Busy", tag="t")
    ringing.call.ack_refusal(ringing.call.expect(486))
    if certificate != "host":
        assert not one.got(ringing.number)


def test_a_silent_carrier_on_tls_goes_to_the_next(made, authority, carrier):
    """A carrier that opens TLS and says nothing gets nothing, and the next one has the call after the edge's limit."""
    one, next_one = carrier(), carrier()
    one.lively = False
    one.alone()
    stage = made(one.line(), next_one.line("name=beta;tls_name=" + NAME, priority=10), tls=authority.settings)
    ringing = _talk(stage, next_one)
    ringing.hang_up()
    assert not one.got(ringing.number)


def test_the_caller_gives_up_while_the_carrier_is_asked(made, authority, carrier):
    """A CANCEL while the edge waits for the carrier's name ends the call, and nobody is called."""
    one = carrier()
    one.lively = False
    one.alone()
    stage = made(one.line(), tls=authority.settings)
    token, number = stage.customer()
    call = stage.switch().invite(token)
    _until(lambda: b"OPTIONS" in one.taken)
    call.cancel()
    call.ack_refusal(call.expect(487))
    assert not one.got(number)


@pytest.mark.parametrize("certificate", ["right", "wrong"])
def test_a_registration_needs_the_name_too(tmp_path, authority, carrier, certificate):
    """REGISTER goes over TLS when an OPTIONS found the carrier's name there, and stays here when it did not."""
    one, resolver, outside = carrier(certificate), Resolver(), free_port()
    extra = registration(tmp_path / "registrations", f"sip:{HOST}:{one.port};transport=tls", outside)
    extra += 'modparam("uac", "reg_retry_interval", 1)\n'
    one.alone()
    edge = Edge(
        tmp_path / "edge", resolver.url, [one.line(flags=8)], extra=extra, outside=outside, tls=authority.settings
    )
    try:
        if certificate == "right":
            _until(lambda: [m for m in one.heard if m.method == "REGISTER"])
        else:
            _until(lambda: "method=REGISTER" in edge.log.read_text() and b"OPTIONS" in one.taken)
            assert not one.heard
    finally:
        edge.stop()
        resolver.stop()
