"""A process has no file descriptor left: what it holds goes on, what is new is refused in time, nothing spins."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from pathlib import Path

import gevent
import pytest
from fix_site import SHOP
from moments import eventually, settled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made

ROOM = 6
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """What a process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def room_for(pid, more):
    """Let a process have so many descriptors beside those it has."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + more, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def connected(address, count):
    """Hold connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((address.host, address.port), timeout=5))
        yield


def test_a_worker_without_descriptors_keeps_its_calls_and_refuses_others(scene):
    """Calls that are up end well, further ones hear 503 in the dialplan's time; it neither spins nor says much."""
    process = scene.processes["worker"]
    pid = process.popen.pid
    talking = [gevent.spawn(scene.place, at, talks_s=8.0) for at in range(3)]
    eventually(lambda: scene.holds()["open_calls"] == 3 and all_answered(scene))
    said, used = process.log.stat().st_size, cpu_s(pid)
    with room_for(pid, ROOM), connected(process.address, 2 * ROOM):
        refused = [gevent.spawn(scene.place, at) for at in range(3, 8)]
        refused = [call.get(timeout=30) for call in refused]
        gevent.sleep(2.0)  # what is measured is a process that has nothing to do
        assert cpu_s(pid) - used < 1.0
    assert [(call.status, call.wire) for call in refused] == [(503, [])] * 5
    assert max(call.timings_s["ended"] for call in refused) < 3.0
    assert process.log.stat().st_size - said < 4096
    assert scene.answers_again(8).status == 200
    results = [call.get(timeout=30) for call in talking]
    assert [result.status for result in results] == [200] * 3
    assert [settled(scene.centre, result.uuid)[0]["state"] for result in results] == ["COMPLETED"] * 3


def all_answered(scene):
    """Whether three calls are up."""
    return scene.centre.query("SELECT count(*) AS up FROM dba.calls WHERE state = 'ANSWERED'")[0]["up"] == 3


def test_a_resolver_without_descriptors_lets_no_call_through(scene):
    """A call whose permit nobody redeems hears 503 in time; it neither spins nor says much, and then all is well."""
    process = scene.processes["resolver"]
    pid = process.popen.pid
    assert scene.answers_again(10).status == 200
    said = process.log.stat().st_size
    with room_for(pid, ROOM), connected(process.address, 2 * ROOM):
        began = cpu_s(pid)
        refused = scene.place(11, tenant=SHOP)
        gevent.sleep(2.0)  # what is measured is a process that has nothing to do
        assert cpu_s(pid) - began < 1.0
    assert (refused.status, refused.wire) == (503, [])
    assert process.log.stat().st_size - said < 4096, process.log.read_text()[said:][:3000]
    assert scene.answers_again(12).status == 200
    assert settled(scene.centre, refused.uuid)[0]["state"] == "FAILED"
