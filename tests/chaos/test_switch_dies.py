"""FreeSWITCH's side of a call's socket ends or falls silent in each state: the slot comes back, the record is true."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import NamedTuple
from uuid import uuid4

import gevent
import pytest
from fix_site import BANK
from gevent import socket
from gevent.server import StreamServer
from moments import eventually, settled

from esl_shield.esl import double
from esl_shield.esl.double import Carrier, Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made

WITHIN_S = 5.0
TCP_REPAIR = 19  # linux/tcp.h; a socket closed in it says nothing
# Before a bridge, a socket that ends is, as far as anybody knows, an agent who left.
BROKEN = {"CANCELLED", "FAILED", "LOST"}


class Point(NamedTuple):
    """Where the socket breaks: what the worker waits for at that moment of the call, and what its record may say."""

    strikes: str
    states: set


POINTS = {
    "accepted": Point("accept", {None}),
    "connecting": Point("command:connect", {None}),
    "preparing": Point("command:api", BROKEN),
    "bridging": Point("command:sendmsg", BROKEN),
    "answering": Point("event:CHANNEL_CALLSTATE", {"LOST"}),
    "ending": Point("event:CHANNEL_HANGUP_COMPLETE", {"LOST", "COMPLETED"}),
}


def played(scene, position, fault, **changes):
    """A call with a fault; its record once it is final, None if it has none."""
    call = scene.centre.call(
        BANK, position, Carrier(after_s=0.1), fault=fault, uuid=str(uuid4()), **{"max_s": 4.0} | changes
    )
    result = scene.centre.place(call)
    records = settled(scene.centre, call.uuid)
    assert len(result.wire) <= 1
    return result, records[0]["state"] if records else None


@pytest.mark.parametrize("kind", ["reset", "close", "truncate"])
@pytest.mark.parametrize("point", POINTS)
def test_a_broken_socket_costs_one_call_and_its_slot_comes_back(scene, point, kind):
    """FreeSWITCH's process is gone: the worker holds nothing of the call within seconds, and says what it knows."""
    at = 30 + list(POINTS).index(point)
    result, state = played(scene, at, Fault(kind, POINTS[point].strikes))
    eventually(lambda: not any(scene.holds().values()), within_s=WITHIN_S)
    assert state in POINTS[point].states
    assert state is not None or result.wire == []
    assert scene.answers_again(at).status == 200


@pytest.mark.parametrize("point", ["connecting", "preparing", "bridging"])
def test_a_silent_socket_holds_no_slot(scene, point):
    """FreeSWITCH gets no turn before the bridge: the worker waits for one command's time, and no permit outlives it."""
    at = 40 + list(POINTS).index(point)
    result, state = played(scene, at, Fault("stall", POINTS[point].strikes), max_s=8.0)
    eventually(lambda: not any(scene.holds().values()), within_s=WITHIN_S + 5.0)
    assert state in (None, "LOST", "FAILED", "CANCELLED")
    assert result.status in (0, 503, 200)


class Cable:
    """A cable between FreeSWITCH and the worker; cut, the worker is sent nothing any more, not even an end."""

    def __init__(self, worker):
        self._worker, self._far = worker, []
        self._server = StreamServer(("127.0.0.1", 0), self._carry)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop()

    @property
    def address(self):
        """Where FreeSWITCH connects."""
        return "127.0.0.1", self._server.server_port

    def cut(self, how):
        """End the connections to the worker: ``closed``, ``reset``, or forgotten, by a machine that is ``off``."""
        for sock in self._far:
            if how == "off":
                try:
                    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
                except PermissionError:
                    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("it takes CAP_NET_ADMIN")
            elif how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _carry(self, near, _):
        far = socket.create_connection(self._worker)
        self._far.append(far)
        up = gevent.spawn(_copy, near, far)
        _copy(far, near)
        up.kill()


def _copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


# How FreeSWITCH ended, and how many seconds later the worker knows: the kernel asks after half a minute of silence.
CUTS = {"closed": WITHIN_S, "reset": WITHIN_S, "off": 65.0}


@pytest.mark.parametrize("how", CUTS)
def test_freeswitch_dies_while_calls_ring_and_talk(scene, how):
    """Its process or its machine is gone: slots and permits come back, and the ends, which nobody saw, are LOST."""
    at = 46 + 3 * list(CUTS).index(how)
    rings, talks = (str(uuid4()) for _ in range(2))
    with Cable(scene.centre.worker) as cable:
        playing = []
        for position, channel, after_s in ((at, rings, 100.0), (at + 1, talks, 0.0)):
            call = scene.centre.call(
                BANK, position, Carrier(after_s=after_s), uuid=channel, hangs_up_after_s=None, max_s=120.0
            )
            playing.append(gevent.spawn(double.play, call, cable.address, redeem=scene.centre.redeem))
        eventually(lambda: scene.centre.query("SELECT FROM dba.calls WHERE channel = %s AND state = 'ANSWERED'", talks))
        bought = (
            "SELECT FROM dba.audit_events e JOIN dba.calls c ON c.id = e.call"
            " WHERE c.channel = %s AND e.kind = 'permit.redeemed'"
        )
        eventually(lambda: scene.centre.query(bought, rings))
        assert scene.holds()["open_calls"] == 2
        cable.cut(how)
        eventually(lambda: not any(scene.holds().values()), within_s=CUTS[how])
        gevent.killall(playing)
    assert [settled(scene.centre, channel)[0]["state"] for channel in (rings, talks)] == ["LOST", "LOST"]
    assert scene.answers_again(at + 2).status == 200
