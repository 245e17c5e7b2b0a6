"""Admission, overload, failing handlers, exhausted descriptors and drain, on real sockets."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import gevent
import pytest
from esl_worker import Worker, full
from gevent import socket
from gevent.event import Event as Signal

from esl_shield.config.values import Address
from esl_shield.errors.calls import CallError
from esl_shield.esl.double import Call, play

TOKEN = "70001234567893"
ROOT = Path(__file__).parents[3]


def one(**options):
    return Call(TOKEN, **{"max_s": 5.0} | options)


def number(redemption):
    return 200, "+8613800138042"


class Holding:
    """A handler that holds every call until released."""

    def __init__(self):
        self.release = Signal()
        self.entered = 0
        self.changed = Signal()

    def __call__(self, session):
        """Connect, wait, refuse."""
        session.connect()
        self.entered += 1
        self.changed.set()
        self.release.wait(5)
        session.execute("respond", "404 Not Found")


def hold(holding, count, server):
    """Start calls that all are in the handler when this returns."""
    calls = [gevent.spawn(play, one(), server.address) for _ in range(count)]
    while holding.entered < count:
        holding.changed.clear()
        assert holding.changed.wait(5)
    return calls


def test_calls_beyond_the_limit_are_answered_not_dropped(serve):
    """A full worker answers every further call with 503 at once and keeps accepting."""
    holding = Holding()
    server = serve(holding, max_calls=3, reserve=2)
    calls = hold(holding, 3, server)
    refused = [gevent.spawn(play, one(), server.address) for _ in range(20)]
    assert {call.get(timeout=5).status for call in refused} == {503}
    assert (server.active, server.counts["overflow"]) == (3, 20)
    holding.release.set()
    assert {call.get(timeout=5).status for call in calls} == {404}
    assert play(one(), serve(Worker()).address, redeem=number).bridged


def test_admission_comes_before_reading(serve):
    """Connections that say nothing count against the limit from the moment they are accepted."""
    holding = Holding()
    server = serve(holding, max_calls=2, command_timeout_s=5.0)
    silent = [socket.create_connection(server.address) for _ in range(2)]
    assert [sock.recv(64) for sock in silent] == [b"connect\n\n"] * 2
    assert server.active == 2
    assert play(one(), server.address).status == 503
    for sock in silent:
        sock.close()


def test_the_reserve_bounds_how_many_are_answered_at_once(serve):
    """No more than ``reserve`` overflow handlers run at the same time; the others wait and are answered."""
    holding, running, most = Holding(), [0], [0]

    def slow(session):
        running[0] += 1
        most[0] = max(most[0], running[0])
        full(session)
        running[0] -= 1

    server = serve(holding, overflow=slow, max_calls=1, reserve=3)
    hold(holding, 1, server)
    refused = [gevent.spawn(play, one(), server.address) for _ in range(12)]
    assert {call.get(timeout=5).status for call in refused} == {503}
    assert 1 < most[0] <= 3
    holding.release.set()


def test_a_pause_costs_no_call(serve):
    """Calls that came while the process stood still for a moment are all taken once it goes on."""
    server = serve(Worker(), admission_timeout_s=3.0)
    waiting = [socket.create_connection(server.address) for _ in range(20)]
    time.sleep(1.6)  # nothing else of this process runs meanwhile
    assert [sock.recv(64) for sock in waiting] == [b"connect\n\n"] * len(waiting)
    assert (server.counts["accepted"], server.counts["late"]) == (len(waiting), 0)
    for sock in waiting:
        sock.close()


def test_who_waited_too_long_is_refused(serve):
    """After a longer pause nobody is taken whom FreeSWITCH may be about to hang up."""
    server = serve(Worker(), admission_timeout_s=0.2)
    calls = [gevent.spawn(play, one(), server.address) for _ in range(5)]
    gevent.idle()
    time.sleep(0.4)
    assert {call.get(timeout=5).status for call in calls} == {503}


def test_more_calls_than_can_be_taken_are_refused_while_they_are_more(serve):
    """Those whose turn comes late for longer than a moment are refused, and calls are taken again when that is over."""
    worker = Worker()

    def busy(session):
        time.sleep(0.06)  # of the processor
        worker(session)

    server = serve(busy, admission_timeout_s=0.5)
    calls = [gevent.spawn(play, one(), server.address, redeem=number) for _ in range(40)]
    results = [call.get(timeout=20) for call in calls]
    taken = [result for result in results if result.bridged]
    assert 0 < len(taken) < 30
    assert {result.status for result in results if not result.bridged} == {503}
    assert server.counts["late"] == len(calls) - len(taken)
    assert play(one(), server.address, redeem=number).bridged


@pytest.mark.parametrize(
    ("allow", "taken"),
    [(("127.0.0.1",), True), (("127.0.0.0/8", "::1"), True), (("192.0.2.0/24",), False), (("::1",), False)],
)
def test_only_allowed_addresses_get_in(serve, allow, taken):
    """A connection from an address outside the list is closed without a word."""
    server = serve(Worker(), allow=allow)
    sock = socket.create_connection(server.address)
    sock.settimeout(5)
    assert (sock.recv(64) == b"connect\n\n") is taken
    assert server.counts["denied"] == (not taken)
    sock.close()


def test_an_ipv4_peer_of_an_ipv6_listener_is_known_by_its_ipv4_address(serve):
    """The list's IPv4 networks hold for a dual-stack listener."""
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 0))
    listener.listen()
    server = serve(Worker(), listener=listener, allow=("127.0.0.1",))
    sock = socket.create_connection(("127.0.0.1", server.address[1]))
    assert sock.recv(64) == b"connect\n\n"
    sock.close()


def test_accepted_sockets_do_not_delay_and_notice_dead_peers(serve):
    """TCP_NODELAY and keepalive are on."""
    options = {}

    def handle(session):
        options["nodelay"] = session.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        options["keepalive"] = session.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        full(session)

    assert play(one(), serve(handle).address).status == 503
    assert options == {"nodelay": 1, "keepalive": 1}


class CanaryError(Exception):
    """An exception that quotes what it should not."""


class CanaryRefused(CallError):
    """One of ours that quotes what it should not."""

    error_id = "test.canary"
    sentence = "the value was {value}"


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (CanaryError("+8613800138042"), "CanaryError -"),
        (CanaryRefused(value="+8613800138042"), "CanaryRefused test.canary"),
        (gevent.Timeout(0.1), "Timeout -"),
    ],
    ids=["foreign", "ours", "timeout"],
)
@pytest.mark.parametrize("when", ["before connect", "after connect", "after the bridge"])
def test_a_failing_handler_ends_its_own_call(serve, caplog, error, logged, when):
    """A handler's exception is counted and logged without any value; an undecided call is answered 503."""
    caplog.set_level(logging.DEBUG)
    worker = Worker()

    def handle(session):
        if when != "before connect":
            data = session.connect()
        if when == "after the bridge":
            session.request(f"api sched_del {session.uuid}")
            session.request(worker.attempt(data["Caller-Destination-Number"], "carrier")[0])
        raise error

    server = serve(handle)
    call = one(variables={"hangup_after_bridge": "true"}, hangs_up_after_s=0.05)
    result = play(call, server.address, redeem=number)
    assert (result.status, result.bridged) == ((200, True) if when == "after the bridge" else (503, False))
    assert server.wait_idle(5) == 0
    assert (server.active, server.counts["handler_error"]) == (0, 1)
    assert caplog.messages == [f"a call's handler failed: {logged}"]
    assert "138001380" not in caplog.text
    assert play(one(), serve(Worker()).address, redeem=number).bridged


def test_a_failing_overflow_ends_too(serve):
    """Even the answer of last resort may fail without harm to others."""

    def broken(session):
        raise CanaryError

    server = serve(broken, overflow=broken)
    result = play(one(sched_hangup_s=0.05), server.address)
    assert result.status == 503
    assert server.counts["handler_error"] == 2


def test_freeswitch_leaving_is_no_error(serve, caplog):
    """A socket FreeSWITCH closes while the handler waits is counted apart and not logged."""

    def handle(session):
        session.connect()
        session.next_event(5)

    server = serve(handle)
    assert play(one(cancels_after_s=0.02, cancels_when="parked"), server.address).status == 487
    assert server.wait_idle(5) == 0
    assert (server.counts["gone"], server.counts["handler_error"]) == (1, 0)
    assert caplog.messages == []


def test_events_reach_the_metrics(serve):
    """Whoever listens hears of each admission and end."""
    heard = []
    server = serve(Worker())
    server._on_event = heard.append
    play(one(), server.address, redeem=number)
    assert server.wait_idle(5) == 0
    assert heard == ["accepted", "ended"]


def test_drain_closes_the_listener_and_waits_for_the_calls(serve):
    """Draining refuses new connections, lets calls end, and says how many are left when time is up."""
    holding = Holding()
    server = serve(holding)
    calls, address = hold(holding, 2, server), server.address
    assert server.drain(0.05) == 2
    assert not server.accepting
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    holding.release.set()
    assert server.drain(5) == 0
    assert {call.get(timeout=5).status for call in calls} == {404}


def test_drain_answers_what_already_waits_to_be_accepted(serve):
    """A connection in the listen queue when the drain begins is a call like any other."""
    server = serve(Worker())
    call = gevent.spawn(play, one(), server.address, redeem=number)
    sock = socket.create_connection(server.address)
    assert server.drain(0) >= 1
    assert sock.recv(64) == b"connect\n\n"
    sock.close()
    assert call.get(timeout=5).status in (200, 503)


def test_a_listener_made_elsewhere_survives_the_drain(serve):
    """An inherited listener is closed for this server only: another holder goes on accepting."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    old = serve(Worker(), listener=listener.dup())
    assert play(one(), old.address, redeem=number).bridged
    old.drain(1)
    new = serve(Worker(), listener=listener)
    assert play(one(), new.address, redeem=number).bridged


def test_a_bad_address_is_an_error_at_once(serve):
    """A port somebody else has is found out when the server is made."""
    server = serve(Worker())
    with pytest.raises(OSError, match="in use"):
        serve(Worker(), listen=Address("127.0.0.1", server.address[1]))


EXHAUSTED = """
    import json, os, resource, sys, time
    import gevent
    from gevent import socket
    from esl_shield.config.calls import EslConfig
    from esl_shield.config.values import Address
    from esl_shield.esl.server import Server

    def handle(session):
        session.connect()

    def overflow(session):
        session.connect()

    config = EslConfig(listen=Address("127.0.0.1", 0), command_timeout_s=30.0)
    server = Server(config, handle, overflow, keep=frozenset())
    server.start()
    print(server.address[1], flush=True)
    held = []
    while sys.stdin.readable():
        line = gevent.os.tp_read(0, 64)
        if line.startswith(b"exhaust"):
            while True:
                try:
                    held.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            began, cpu = time.monotonic(), time.process_time()
            print("exhausted", flush=True)
        elif line.startswith(b"release"):
            report = {"s": time.monotonic() - began, "cpu_s": time.process_time() - cpu, "counts": dict(server.counts)}
            print(json.dumps(report), flush=True)
            for fd in held:
                os.close(fd)
        else:
            break
"""


def test_running_out_of_descriptors_neither_spins_nor_stops(tmp_path):
    """Without descriptors the server waits, using next to no CPU, and takes the waiting call when there are some."""
    script = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n" + textwrap.dedent(EXHAUSTED)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        port = int(process.stdout.readline())
        process.stdin.write("exhaust\n")
        process.stdin.flush()
        assert process.stdout.readline() == "exhausted\n"
        sock = socket.create_connection(("127.0.0.1", port))
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(64)
        process.stdin.write("release\n")
        process.stdin.flush()
        report = json.loads(process.stdout.readline())
        sock.settimeout(5)
        assert sock.recv(64) == b"connect\n\n"
        sock.close()
        process.stdin.close()
        assert process.wait(10) == 0
    assert 1 <= report["counts"]["accept_error"] <= report["s"] / 0.1 + 2
    assert report["cpu_s"] < 0.1
