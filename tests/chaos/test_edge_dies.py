"""The edge, a real Kamailio before the real resolver, is killed or stopped at each moment of a call, and comes back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time

import gevent
import pytest
from edge_lab import KAMAILIO, Edge
from fix_site import NUMBERS, SHOP
from moments import End, eventually, settled
from ports import HOST
from sip_peer import SDP, Peer, Switch, callee, uri_of

from esl_shield.esl.double import Carrier
from esl_shield.esl.double.redeem import AWAY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made

FREESWITCH_WAITS_S = 2.0  # for a sign of the edge, here; a profile's timer in the field
HOW = ["killed", "stopped"]


class Trunk:
    """FreeSWITCH's side and a carrier's, the edge between; as a ``Redeem`` it says whom the carrier was to call."""

    def __init__(self, folder, scene):
        self.carrier = Peer()
        lines = [f"{number} sip:{HOST}:{self.carrier.port} 0 0 name=alpha" for number in (1, 2)]
        self.edge = Edge(folder, scene.centre.redeem.url, lines, secret=scene.site.edge_secret)
        self.switch = Switch(self.edge.inside)
        self.call = self.invite = None
        self.on_invite = lambda: None

    def __call__(self, redemption):
        """Call through the edge until the carrier is called or the edge refuses."""
        self.call = self.switch.invite(
            redemption.token, redemption.permit, gateway=redemption.gateway, call_id=redemption.call_id
        )
        self.on_invite()
        with gevent.Timeout(FREESWITCH_WAITS_S, False):
            while not (self.called() or self.refused()):
                gevent.sleep(0.02)
        if self.called():
            self.invite = self.called()
            return 200, uri_of(self.invite["to"]).removeprefix("sip:").partition("@")[0]
        refused = self.refused()
        return (refused.status, "refused") if refused else AWAY

    def called(self):
        """What the carrier was called with, if it was."""
        return self._heard(self.carrier, lambda m: m.method == "INVITE" and not m.status)

    def refused(self):
        """What FreeSWITCH was refused with, if it was."""
        return self._heard(self.switch, lambda m: m.status >= 300)

    def strike(self, how):
        """Kill all its processes, or give them no turn."""
        if how == "killed":
            self.edge.kill()
        else:
            os.killpg(self.edge.process.pid, 19)

    def mend(self, how):
        """What its unit does, or whoever stopped it."""
        if how == "killed":
            self.edge.start()
        else:
            os.killpg(self.edge.process.pid, 18)

    def leaks(self):
        """What FreeSWITCH's side heard, or the edge logged, of a number."""
        self.switch.drain()
        written = b"".join(message.raw for message in self.switch.heard) + self.edge.log.read_bytes()
        return [number for number in NUMBERS if number[-9:].encode() in written]

    def close(self):
        """End everything."""
        self.edge.stop()
        self.switch.close()
        self.carrier.close()

    def _heard(self, peer, wanted):
        peer.drain()
        return next((m for m in peer.heard if m["call-id"] == self.call.call_id and wanted(m)), None)


@pytest.fixture
def trunk(scene, tmp_path):
    """An edge of this test's own; nothing FreeSWITCH's side heard holds a number."""
    if shutil.which(KAMAILIO) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{KAMAILIO} is not there")
    made = Trunk(tmp_path / "edge", scene)
    yield made
    leaks = made.leaks()
    made.close()
    assert not leaks


def goes_through(scene, trunk, position):
    """Whether a call does: of those that are placed until one does."""
    trunk.on_invite = lambda: None
    result = eventually(lambda: (r := scene.place(position, redeem=trunk, tenant=SHOP, talks_s=0.05)).bridged and r)
    return result.status == 200 and len(result.wire) == 1


@pytest.mark.parametrize("how", HOW)
def test_the_edge_dies_while_it_redeems(scene, trunk, how):
    """Nobody is called, the permit buys nothing later, the record says that the call failed; the next one goes on."""
    at = HOW.index(how)

    def strike():
        trunk.strike(how)
        resolver.send_signal(signal.SIGCONT)

    resolver = scene.processes["resolver"].popen
    resolver.send_signal(signal.SIGSTOP)  # or the carrier may be called before the edge is struck
    trunk.on_invite = strike
    result = scene.place(at, redeem=trunk, tenant=SHOP)
    (record,) = settled(scene.centre, result.uuid)
    assert End(result.status, record["state"]) == (503, "FAILED")
    assert result.wire == []
    trunk.mend(how)
    trunk.call.again()  # FreeSWITCH's own retransmission
    assert eventually(lambda: trunk.refused() or trunk.called()).status >= 400
    assert goes_through(scene, trunk, 2 + at)
    assert NUMBERS[at][1:] not in "".join(message.first for message in trunk.carrier.heard)


@pytest.mark.parametrize("how", HOW)
def test_the_edge_dies_while_it_rings(scene, trunk, how):
    """Stopped, it passes the answer on later; killed, the answer reaches nobody, the call ends, its record says how."""
    at = 4 + HOW.index(how)
    playing = gevent.spawn(
        scene.place,
        at,
        Carrier(after_s=3.0 if how == "stopped" else None),
        trunk,
        tenant=SHOP,
        cancels_after_s=4.0 if how == "killed" else None,
    )
    eventually(lambda: trunk.invite)
    trunk.carrier.reply(trunk.invite, 180, "Ringing", tag="c")
    trunk.call.expect(180)
    trunk.strike(how)
    contact = f"<sip:{NUMBERS[at]}@{HOST}:{trunk.carrier.port}>"
    trunk.carrier.reply(trunk.invite, 200, "OK", tag="c", headers=[("Contact", contact)], body=SDP)
    trunk.mend(how)
    if how == "stopped":
        trunk.call.expect(200)
        trunk.call.ack()
        trunk.carrier.expect("ACK")
    else:
        trunk.carrier.reply(trunk.invite, 200, "OK", tag="c", headers=[("Contact", contact)], body=SDP)
        trunk.call.cancel()
        trunk.switch.expect(481, where=lambda m: m["call-id"] == trunk.call.call_id)
        assert not [m for m in trunk.switch.heard if m.status == 200]
    result = playing.get(timeout=60)
    (record,) = settled(scene.centre, result.uuid)
    told = End(result.status, record["state"])
    assert told == ((200, "COMPLETED") if how == "stopped" else (487, "CANCELLED"))
    assert goes_through(scene, trunk, 2 + at)


@pytest.mark.parametrize("how", HOW)
def test_the_edge_dies_while_they_talk(scene, trunk, how):
    """Both sides' requests pass once it is back, whoever hangs up; the record is the call's."""
    at = 8 + HOW.index(how)
    playing = gevent.spawn(scene.place, at, Carrier(after_s=0.0), trunk, tenant=SHOP, talks_s=4.0)
    eventually(lambda: trunk.invite)
    contact = f"<sip:{NUMBERS[at]}@{HOST}:{trunk.carrier.port}>"
    trunk.carrier.reply(trunk.invite, 200, "OK", tag="c", headers=[("Contact", contact)], body=SDP)
    trunk.call.expect(200)
    trunk.call.ack()
    trunk.carrier.expect("ACK")
    remote = callee(trunk.carrier, trunk.invite, "c", trunk.edge.outside)
    trunk.strike(how)
    began = time.monotonic()
    remote.request("BYE")
    trunk.mend(how)
    with contextlib.suppress(AssertionError):  # one sent to a dead edge is lost, and sent again
        trunk.switch.expect("BYE", within_s=1.0)
    remote.request("BYE", cseq=remote.cseq)
    bye = next((m for m in trunk.switch.heard if m.method == "BYE" and not m.status), None)
    bye = bye or trunk.switch.expect("BYE")
    trunk.switch.reply(bye, 200, "OK")
    assert trunk.carrier.expect(200)
    assert time.monotonic() - began < 30.0
    result = playing.get(timeout=60)
    (record,) = settled(scene.centre, result.uuid)
    assert End(result.status, record["state"]) == (200, "COMPLETED")
    assert goes_through(scene, trunk, 2 + at)
