"""Calls through ``esl-shield serve``: real workers, resolvers and a housekeeper over one listener each."""

from __future__ import annotations

import re
import signal
import urllib.request
from collections import Counter
from pathlib import Path

import gevent
import pytest
from fix_serve import PATIENCE_S, patiently
from fix_site import BANK

PLAYERS = 4


@pytest.mark.slow  # hundreds of calls, and every process twice
@pytest.mark.timeout(600)
def test_no_call_is_refused_while_everything_is_replaced(serve, uncapped):
    """Calls placed all the time during a reload are all answered, and each has one record that says so."""
    service = serve()
    before = set(service.processes("worker") + service.processes("resolver"))
    results, on = [], True

    def play(first):
        position = first
        while on:
            results.append(service.place(position))
            position = (position - first + PLAYERS) % 40 + first

    playing = [gevent.spawn(play, number) for number in range(PLAYERS)]
    patiently(lambda: len(results) >= 20)
    service.supervisor.send(signal.SIGHUP)
    patiently(lambda: service.supervisor.said("event=serve.child_left", 4))
    placed = len(results)
    patiently(lambda: len(results) >= placed + 20)
    on = False
    gevent.joinall(playing, raise_error=True)
    assert Counter(result.status for result in results) == {200: len(results)}
    uuids = [result.uuid for result in results]
    patiently(lambda: set(service.states(uuids)) == {"COMPLETED"})
    assert len(service.states(uuids)) == len(results)
    now = service.processes("worker") + service.processes("resolver")
    assert len(now) == 4
    assert not before & set(now)
    assert service.supervisor.end() == 0


@pytest.mark.slow  # every process twice
@pytest.mark.timeout(600)
def test_a_killed_supervisor_costs_no_call_and_no_record(serve):
    """After kill -9 the workers follow their calls to the end and write the records, and then nobody is left."""
    service = serve(workers=1)
    playing = gevent.spawn(service.place, 45, hangs_up_after_s=6.0)
    patiently(lambda: service.live(45))
    children = service.supervisor.children()
    service.supervisor.popen.kill()
    service.supervisor.popen.wait()
    result = playing.get(timeout=PATIENCE_S)
    assert result.hangup_cause == "NORMAL_CLEARING"
    assert service.state(result) == "COMPLETED"
    patiently(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.mark.slow  # every process once
@pytest.mark.timeout(600)
def test_a_second_signal_hastens(serve):
    """After SIGTERM a call that is up is waited for; after another it is written down as LOST, and nothing is lost."""
    service = serve(workers=1)
    playing = gevent.spawn(service.place, 46, hangs_up_after_s=60.0)
    patiently(lambda: service.live(46))
    service.supervisor.send(signal.SIGTERM)
    patiently(lambda: not service.accepts())
    assert service.live(46)
    service.supervisor.send(signal.SIGTERM)
    patiently(lambda: service.supervisor.popen.poll() is not None)
    assert service.supervisor.popen.returncode == 0
    token = service.call_centre.token(BANK, 46)
    (record,) = service.call_centre.query("SELECT state FROM dba.calls WHERE token = %s", token)
    assert record["state"] == "LOST"
    playing.kill()


@pytest.mark.slow  # 60 calls and three workers
@pytest.mark.timeout(600)
def test_workers_share_calls_and_the_full_ones_give_way(serve, uncapped):
    """Of 60 calls that three workers have room for none is refused; one more is told 503."""
    service = serve(workers=3, worker="max_calls = 20\n")
    playing = []

    def held():
        return [page_value(service, port) for port in service.pages()]

    def is_settled():
        return sum(held()) == len(playing) or any(call.ready() for call in playing)

    for position in range(60):  # of a burst the worker that gets the processor first takes the most
        playing.append(gevent.spawn(service.place, position % 40, hangs_up_after_s=300.0))
        if position % 5 == 4:
            patiently(is_settled)
    assert not [call.value.status for call in playing if call.ready()]
    assert held() == [20, 20, 20]
    assert service.place(41).status == 503
    gevent.killall(playing)


def page_value(service, port):
    """How many calls the worker whose pages are at a port holds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return int(float(re.search(rb"(?m)^esl_shield_worker_open_calls ([0-9.]+)$", answer.read())[1]))
