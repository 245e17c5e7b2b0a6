"""The resolver answers late, or its network stands still: what a permit is worth then, and what the phone hears."""

from __future__ import annotations

import contextlib
import dataclasses

import gevent
import pytest
from fix_site import BANK, NUMBERS, SHOP
from gevent import socket
from gevent.server import StreamServer
from moments import settled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made

PERMIT_LIVES_S = 10.0
LATE_S = {"late": 1.5, "beyond the permit's life": PERMIT_LIVES_S + 1.0}


class Wire:
    """The network between who redeems and the resolver: ``delay_s`` for a request; of an answer ``passes`` bytes."""

    def __init__(self, resolver, *, delay_s=0.0, passes=None):
        self._resolver, self._delay_s, self._passes = resolver, delay_s, passes
        self.answers = []
        self._server = StreamServer(("127.0.0.1", 0), self._carry)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop()

    @property
    def url(self):
        """Where to post to."""
        return f"http://127.0.0.1:{self._server.server_port}/redeem"

    def _carry(self, near, _):
        request = near.recv(65536)
        gevent.sleep(self._delay_s)
        with socket.create_connection((self._resolver.host, self._resolver.port)) as far:
            far.sendall(request)
            answer = b""
            while part := far.recv(65536):
                answer += part
        self.answers.append(answer)
        with contextlib.suppress(OSError):  # who asked has given up
            near.sendall(answer[: self._passes])
            if self._passes is not None:
                near.recv(1)


def kinds(scene, result):
    """The audit events of a call's permits."""
    events = scene.centre.query(
        "SELECT e.kind FROM dba.audit_events e JOIN dba.calls c ON c.id = e.call WHERE c.channel = %s ORDER BY e.id",
        result.uuid,
    )
    return [event["kind"] for event in events if event["kind"].startswith("permit.")]


def place(scene, wire, position, tenant):
    """A call whose permit is redeemed over a wire."""
    return scene.place(position, redeem=dataclasses.replace(scene.centre.redeem, url=wire.url), tenant=tenant)


@pytest.mark.parametrize("tenant", [BANK, SHOP], ids=["direct", "edge"])
@pytest.mark.parametrize("late", LATE_S)
def test_an_answer_that_comes_late_makes_no_call(scene, late, tenant):
    """Who redeems has given up: the phone hears 503, no carrier is called, and a permit over its life buys nothing."""
    with Wire(scene.processes["resolver"].address, delay_s=LATE_S[late]) as wire:
        result = place(scene, wire, 20, tenant)
        (record,) = settled(scene.centre, result.uuid)
        with gevent.Timeout(60):
            while not wire.answers:
                gevent.sleep(0.05)
    assert (result.status, result.wire, record["state"]) == (503, [], "FAILED")
    assert not [answer for answer in wire.answers if NUMBERS[20][1:].encode() in answer]
    assert "permit.redeemed" not in kinds(scene, result)
    assert scene.answers_again(21).status == 200


@pytest.mark.parametrize("tenant", [BANK, SHOP], ids=["direct", "edge"])
@pytest.mark.parametrize("passes", [0, 12, 60], ids=["nothing", "half a line", "a head"])
def test_an_answer_that_stands_still_makes_no_call(scene, passes, tenant):
    """The permit is gone and its number never arrives: the phone hears 503, and the record says that it failed."""
    with Wire(scene.processes["resolver"].address, passes=passes) as wire:
        result = place(scene, wire, 22, tenant)
    (record,) = settled(scene.centre, result.uuid)
    assert (result.status, result.wire, record["state"]) == (503, [], "FAILED")
    assert kinds(scene, result).count("permit.redeemed") == len(wire.answers) > 0
    assert scene.answers_again(23).status == 200


def test_a_resolver_that_wakes_up_late_finds_no_permit(scene):
    """Requests that waited in its socket while it got no turn buy nothing: their calls are over, their permits gone."""
    with scene.stopped(scene.processes["resolver"].popen.pid):
        result = scene.place(24)
        (record,) = settled(scene.centre, result.uuid)
    assert (result.status, result.wire, record["state"]) == (503, [], "FAILED")
    assert scene.answers_again(25).status == 200
    assert "permit.redeemed" not in kinds(scene, result)
