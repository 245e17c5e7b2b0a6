"""What an idle call costs and how soon a handoff is answered, measured in a worker process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent import socket

from esl_shield.esl.double import Agent, Call, play
from esl_shield.esl.double.channel import Channel
from esl_shield.esl.double.wire import CommandReader, reply_frame, serialize

ROOT = Path(__file__).parents[3]
IDLE_CALLS = 500
MOST_KIB_PER_CALL = 16.0
CALL = Call("70001234567893", agent=Agent(domain="agents.example.com"))

WORKER = """
    import gc, json, sys, time
    import gevent
    from gevent.os import tp_read
    from esl_shield.config.calls import EslConfig
    from esl_shield.config.values import Address
    from esl_shield.esl.server import Server

    KEEP = frozenset("Caller-Destination-Number variable_sip_authorized variable_sip_auth_username variable_domain_name"
                     " variable_sip_h_X-Shield-Token Event-Date-Timestamp Hangup-Cause Caller-Channel-Answered-Time"
                     " Other-Leg-Unique-ID variable_originate_disposition variable_bridge_hangup_cause".split())

    def memory_kib():
        gc.collect()
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean", "Private_Dirty")))

    def handle(session):
        session.connect()
        session.request("linger", f"filter Unique-ID {session.uuid}", "event plain CHANNEL_HANGUP_COMPLETE")
        if not idle:
            session.execute("respond", "404 Not Found")
        while session.next_event(None).name != "CHANNEL_HANGUP_COMPLETE":
            pass

    idle = sys.argv[1] == "idle"
    server = Server(EslConfig(listen=Address("127.0.0.1", 0), max_calls=20000), handle, handle, keep=KEEP)
    server.start()
    print(server.address[1], flush=True)
    while tp_read(0, 64):
        print(json.dumps([memory_kib(), server.active]), flush=True)
"""


@pytest.fixture
def worker():
    """Start a worker process; ``ask()`` returns its private memory in KiB and its calls."""
    processes = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), mode],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)

        def ask():
            process.stdin.write("?\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        return ("127.0.0.1", int(process.stdout.readline())), ask

    yield start
    for process in processes:
        process.stdin.close()
        assert process.wait(10) == 0
        process.stdout.close()


def idle_call(address):
    """Make a call that is connected and subscribed; returns its socket."""
    sock = socket.create_connection(address)
    reader = CommandReader()
    expected = 4
    while expected:
        for command in reader.feed(sock.recv(4096)):
            expected -= 1
            connects = command.name == "connect"
            sock.sendall(serialize(Channel(CALL, "").data()) if connects else reply_frame("+OK"))
    return sock


def test_an_idle_call_costs_less_than_16_kib(worker, record_property):
    """Private memory of the worker per connected idle call stays under the budget."""
    address, ask = worker("idle")
    warm = [idle_call(address) for _ in range(50)]
    before, _ = ask()
    calls = [idle_call(address) for _ in range(IDLE_CALLS)]
    after, active = ask()
    for sock in (*warm, *calls):
        sock.close()
    kib = (after - before) / IDLE_CALLS
    record_property("kib_per_idle_call", kib)
    assert active == IDLE_CALLS + len(warm)
    assert kib < MOST_KIB_PER_CALL


def test_a_handoff_is_answered_in_milliseconds(worker, record_property):
    """From TCP connect to the worker's decision, one call after the other, nothing polls: p99 is milliseconds."""
    address, _ = worker("calls")
    decided = []
    for _ in range(200):
        result = play(CALL, address)
        assert result.status == 404
        decided.append(result.timings_s["decided"] * 1000)
    decided.sort()
    record_property("handoff_ms_p50_p99", (decided[100], decided[197]))
    assert decided[100] < 20
    assert decided[197] < 80


def test_two_hundred_handoffs_at_once_are_all_decided(worker, record_property):
    """Two hundred calls in the same instant are all decided, none left to the dialplan's time limit."""
    address, _ = worker("calls")
    started = time.monotonic()
    call = replace(CALL, sched_hangup_s=15.0)  # the doubles, too, share this machine's processors
    calls = [gevent.spawn(play, call, address) for _ in range(200)]
    results = [call.get(timeout=20) for call in calls]
    decided = sorted(result.timings_s["decided"] * 1000 for result in results)
    record_property("burst_ms_p50_p99", (decided[100], decided[197], time.monotonic() - started))
    assert {result.status for result in results} == {404}
