"""State without memory: an edge that was killed, its twin, and an edge with a new key go on with a call."""

from __future__ import annotations

import pytest
from edge_lab import SEAL_KEY, Edge
from edge_stage import Ringing, Stage, decodings
from sip_peer import SDP, callee, uri_of


@pytest.fixture
def own(tmp_path):
    """An edge of this test's own."""
    stage = Stage(tmp_path / "edge")
    yield stage
    found = stage.findings() + stage.logged()
    stage.close()
    assert found == []


def _record_routed(ringing: Ringing) -> None:
    """Answer as a carrier whose proxies stay in the path."""
    home = f"{ringing.carrier.host}:{ringing.carrier.port}"
    routes = [("Record-Route", f"<sip:near{ringing.number}@{home};lr>"), ("Record-Route", f"<sip:far@{home};lr;x=1>")]
    ringing.answer(headers=routes)


@pytest.mark.parametrize("who", ["freeswitch", "carrier"])
def test_a_call_is_ended_after_the_edge_was_killed(own, who):
    """A BYE of either side reaches the other through an edge that was killed and started again."""
    ringing = own.dial()
    answer = ringing.answer()
    own.edge.restart()
    if who == "freeswitch":
        ringing.hang_up()
        return
    ringing.remote.request("BYE")
    bye = ringing.hears("BYE")
    assert bye["from"] == answer["to"]
    ringing.switch.reply(bye, 200, "OK")
    assert own.alpha.expect(200)


def test_new_offers_pass_after_the_edge_was_killed(own):
    """A re-INVITE of each side, with its ACK, passes through an edge that was killed and started again."""
    ringing = own.dial()
    answer = ringing.answer()
    own.edge.restart()
    ringing.call.dialog.request("INVITE", body=SDP)
    again = ringing.expect("INVITE")
    assert (uri_of(again["to"]), again.tag("to")) == (uri_of(ringing.invite["to"]), ringing.tag)
    ringing.carrier.reply(
        again, 200, "OK", headers=[("Contact", ringing.contact)], body=SDP + f"a=label:{ringing.number}\r\n"
    )
    told = ringing.hears(200)
    assert told["to"] == answer["to"]
    ringing.call.dialog.refresh(told)
    ringing.call.ack()
    ringing.expect("ACK")
    own.edge.restart()
    ringing.remote.request("INVITE", body=SDP)
    again = ringing.hears("INVITE")
    assert again["from"] == answer["to"]
    ringing.switch.reply(again, 200, "OK", headers=[("Contact", ringing.call.dialog.contact)], body=SDP)
    done = own.alpha.expect(200)
    ringing.remote.target = done.contact
    ringing.remote.request("ACK", cseq=done.cseq)
    ringing.hears("ACK")
    ringing.call.dialog.target = again.contact
    ringing.hang_up()


def test_a_carriers_route_survives_the_edge(own):
    """Requests of FreeSWITCH follow the carrier's recorded route, in its order, after the edge was killed."""
    ringing = own.dial()
    _record_routed(ringing)
    own.edge.restart()
    ringing.call.dialog.request("BYE")
    bye = ringing.expect("BYE")
    assert bye["route"].replace(" ", "").startswith("<sip:far@")
    assert bye["route"].index("far") < bye["route"].index("near")
    assert bye.uri == uri_of(ringing.contact)
    ringing.carrier.reply(bye, 200, "OK")
    assert ringing.hears(200)


def test_either_of_two_edges_serves_a_call(own, tmp_path):
    """Two edges with one key share nothing else; requests of a call may go through either, in both directions."""
    carriers = [f"1 sip:{own.alpha.host}:{own.alpha.port} 0 0 name=alpha"]
    twin = Edge(tmp_path / "twin", own.resolver.url, carriers)
    try:
        ringing = own.dial()
        answer = ringing.answer()
        ringing.call.dialog.request("INVITE", body=SDP, to=twin.inside)
        again = ringing.expect("INVITE")
        ringing.carrier.reply(again, 200, "OK", headers=[("Contact", ringing.contact)], body=SDP)
        told = ringing.hears(200)
        assert told["to"] == answer["to"]
        ringing.call.dialog.refresh(told)
        ringing.call.ack(to=own.edge.inside)
        ringing.expect("ACK")
        ringing.remote.request("BYE", to=twin.outside)
        bye = ringing.hears("BYE")
        assert bye["from"] == answer["to"]
        ringing.switch.reply(bye, 200, "OK")
        assert own.alpha.expect(200)
    finally:
        twin.stop()


def test_live_calls_survive_a_change_of_key(own, tmp_path):
    """An edge that has a new key and the one before still serves calls that were sealed under the latter."""
    ringing = own.dial()
    answer = ringing.answer()
    own.edge.stop()
    own.edge = Edge(
        tmp_path / "next",
        own.resolver.url,
        [f"1 sip:{own.alpha.host}:{own.alpha.port} 0 0 name=alpha"],
        key="k2-another",
        key_before=SEAL_KEY,
        inside=own.edge.inside[1],
        outside=own.edge.outside[1],
    )
    ringing.call.dialog.request("INVITE", body=SDP)
    again = ringing.expect("INVITE")
    ringing.carrier.reply(again, 200, "OK", headers=[("Contact", ringing.contact)], body=SDP)
    ringing.call.dialog.refresh(ringing.hears(200))
    ringing.call.ack()
    ringing.expect("ACK")
    ringing.remote.target = again.contact
    ringing.remote.request("UPDATE")
    update = ringing.hears("UPDATE")
    assert update["from"] == answer["to"]
    ringing.switch.reply(update, 200, "OK")
    ringing.hang_up()


def _flip(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


@pytest.mark.parametrize("damage", ["signature", "box", "end", "cut", "none", "other call", "other kind", "long"])
def test_a_seal_that_is_not_exactly_right_opens_nothing(stage, damage):
    """A Contact parameter that was altered, cut, left out or taken from elsewhere is refused on both sides."""
    ringing, other = stage.dial(), stage.dial()
    ringing.answer()
    other.answer()
    for dialog, hears, elsewhere, foreign, code in (
        (ringing.call.dialog, ringing.switch, other.call.dialog, ringing.remote, 481),
        (ringing.remote, ringing.carrier, other.remote, ringing.call.dialog, 403),
    ):
        right = dialog.target
        head, _, seal = right.partition(";s=")
        dialog.target = {
            "signature": f"{head};s={_flip(seal, 3)}",
            "box": f"{head};s={_flip(seal, 60)}",
            "end": f"{head};s={_flip(seal, len(seal) - 4)}",
            "cut": f"{head};s={seal[:-16]}",
            "none": head,
            "other call": elsewhere.target,
            "other kind": f"{head};s={foreign.target.partition(';s=')[2]}",
            "long": f"{head};s={seal}{seal * 3}"[:1400],
        }[damage]
        dialog.request("BYE")
        assert hears.expect(code, where=lambda m: m.method == "BYE")
        dialog.target = right
    ringing.hang_up()
    other.hang_up()


def test_equal_state_looks_different_each_time(stage):
    """The same Contact is never sealed to the same text, so that nothing can be told from comparing seals."""
    ringing = stage.dial()
    seals = set()
    for _ in range(4):
        ringing.carrier.reply(ringing.invite, 180, tag="t", headers=[("Contact", ringing.contact)])
        seals.add(ringing.call.expect(180).contact)
    assert len(seals) == 4
    ringing.answer()
    ringing.hang_up()


def test_the_carrier_cannot_read_the_token(stage):
    """What the edge's Contact tells the carrier holds neither the token nor FreeSWITCH's address in the clear."""
    ringing = stage.dial()
    text = b"\n".join(decodings(ringing.invite.raw))
    assert ringing.token.encode() not in text
    assert str(ringing.switch.port).encode() not in text
    ringing.answer()
    assert callee(ringing.carrier, ringing.invite, "t", stage.edge.outside).target.count(";s=") == 1
    ringing.hang_up()
