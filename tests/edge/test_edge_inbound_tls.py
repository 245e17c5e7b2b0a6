"""Carriers that call in over TLS: whose certificate it has to be, and what becomes of those calls."""

from __future__ import annotations

import ssl

import pytest
from certificates import NAME, Authority, Carrier
from inbound_stage import DID, LINES, InboundStage
from ports import HOST
from sip_peer import Peer, StreamPeer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority, and the certificates every test needs."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    authority.sign("edge", "DNS:edge.example")
    authority.sign("right", f"DNS:other.example,DNS:{NAME}")
    authority.sign("wrong", "DNS:sip.other.example", subject=f"/CN={NAME}")
    authority.sign("foreign", authority="otherca")
    return authority


@pytest.fixture
def stage(tmp_path, authority):
    """An edge whose carrier has a name; afterwards nothing that was masked stands anywhere."""
    carrier = Carrier(authority.context("right"))
    line = f"90 sip:{HOST}:{carrier.port};transport=tls 0 0 name=alpha;caller_prefix=+;tls_name={NAME}"
    stage = InboundStage(tmp_path / "edge", [line, *LINES[1:]], tls=authority.settings)
    stage.alpha.close()
    stage.alpha = carrier
    yield stage
    found = stage.findings() + stage.logged()
    stage.close()
    assert found == []


def _edge(stage):
    return HOST, stage.edge.tls_port


def _call(stage):
    token, number = stage.customer()
    peer = stage.alpha
    transport = ";transport=tls" if peer.transport == "TLS" else ""
    return token, stage.call(number, contact=f"<sip:{number}@{HOST}:{peer.port}{transport}>")


def test_a_named_carrier_calls_in_and_is_reached_within_the_call(stage, authority):
    """The agent's side is told the token; both sides' requests go over TLS, ours only to the carrier's name."""
    stage.alpha.connect(authority.client("right"), _edge(stage))
    token, calling = _call(stage)
    invite = calling.reaches_freeswitch()
    assert f"sip:{token}@" in invite["from"]
    calling.answer()
    calling.agent.request("BYE")
    bye = calling.told("BYE")
    assert bye["via"].startswith("SIP/2.0/TLS ")
    stage.alpha.reply(bye, 200, "OK")
    assert calling.hears(200).method == "BYE"


def test_a_second_call_on_the_connection_and_the_customers_goodbye(stage, authority):
    """What was read of a certificate holds for its connection."""
    stage.alpha.connect(authority.client("right"), _edge(stage))
    for _ in range(2):
        _, calling = _call(stage)
        calling.reaches_freeswitch()
        calling.answer()
        calling.hang_up()


def _no_call(stage):
    assert stage.resolver.forms == []
    assert "edge.inbound " not in stage.edge.log.read_text()


def test_another_name_calls_nobody(stage, authority):
    """A certificate of the right authority with another name, be it that common name: 403, nothing asked."""
    stage.alpha.connect(authority.client("wrong"), _edge(stage))
    _, calling = _call(stage)
    assert calling.told(403).first == "SIP/2.0 403 Forbidden"
    _no_call(stage)
    assert f"edge.refused reason=name from={HOST}" in stage.edge.log.read_text()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_without_tls_a_named_carrier_calls_nobody(stage, transport):
    """The carrier's address alone is not enough where its line has a name."""
    stage.alpha.close()
    stage.alpha = Peer() if transport == "udp" else Carrier(None)
    if isinstance(stage.alpha, StreamPeer):
        stage.alpha.connect(None, stage.edge.outside)
    _, calling = _call(stage)
    assert calling.told(403).first == "SIP/2.0 403 Forbidden"
    _no_call(stage)


def test_a_foreign_authority_is_not_heard(stage, authority):
    """Another authority's certificate with the right name ends in the handshake."""
    stage.alpha.connect(authority.client("foreign"), _edge(stage))
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        _call(stage)[1].told(403, within_s=1)
    assert stage.alpha.refused
    _no_call(stage)


def test_a_carrier_without_a_name_is_known_by_its_address(tmp_path, authority):
    """Whoever has no tls_name may come over TLS with any certificate of the authority."""
    carrier = Carrier(authority.context("wrong"))
    line = f"90 sip:{HOST}:{carrier.port};transport=tls 0 0 name=alpha;caller_prefix=+"
    stage = InboundStage(tmp_path / "edge", [line, *LINES[1:]], tls=authority.settings)
    try:
        stage.alpha.close()
        stage.alpha = carrier
        carrier.connect(authority.client("wrong"), _edge(stage))
        _, calling = _call(stage)
        invite = calling.reaches_freeswitch()
        assert invite.uri.startswith(f"sip:{DID}@")
        calling.answer()
        calling.hang_up()
    finally:
        stage.close()
