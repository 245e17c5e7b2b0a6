"""Calls through ``esl-shield serve``: real workers, resolvers and a housekeeper over one listener each."""

from __future__ import annotations

import itertools
import re
import signal
import socket
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import gevent
import pytest
from fix_site import BANK
from polling import until
from ports import free_port
from supervised import Supervisor

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway

PLAYERS = 4
PATIENCE_S = 200.0
UNHURRIED = "connect_timeout_s = 10\nstatement_timeout_s = 10\n"  # a busy machine refuses no call


def patiently(look):
    """Wait for what four new processes on a busy machine take, while agents call."""
    return until(lambda: gevent.sleep(0.01) or look(), "what was waited for", within_s=PATIENCE_S)


def free_ports(count):
    """The first of some free ports in a row."""
    while True:
        ports = [free_port() for _ in range(count)]
        if ports == list(range(ports[0], ports[0] + count)):
            return ports[0]


class Service:
    """A supervised site: where its listeners are and which processes it has."""

    def __init__(self, call_centre, supervisor, first_page):
        self.first_page = first_page
        self.call_centre, self.supervisor = call_centre, supervisor
        self._agents = itertools.cycle(range(2000, 2100))  # none calls more often than one person may
        self.worker = self.address("worker")
        resolver = "{}:{}".format(*self.address("resolver"))
        self.redeem = double.HttpRedeem(
            f"http://{resolver}/redeem",
            edge_secret=call_centre.site.edge_secret.encode(), lua_secret=call_centre.site.lua_secret.encode(),
        )  # fmt: skip

    def address(self, role):
        """Where a role's processes listen."""
        (found,) = set(re.findall(rf"{role} ready on ([0-9.]+):([0-9]+)", self.supervisor.log.read_text()))
        return found[0], int(found[1])

    def place(self, position, **changes):
        """Have an agent call a customer of the bank."""
        agent = Agent(username=f"{next(self._agents)}", domain=BANK.domain)
        wanted = {"hangs_up_after_s": 0.4, "sched_hangup_s": 30.0} | changes
        gateways = {"carrier-a": Gateway(Carrier(after_s=0.02))}
        call = Call(dialled=self.call_centre.token(BANK, position), agent=agent, gateways=gateways, **wanted)
        return double.play(call, self.worker, redeem=self.redeem)

    def processes(self, role):
        """The processes of a role by their command lines."""
        found = []
        for pid in self.supervisor.children():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if role.encode() in words:
                found.append(pid)
        return found

    def accepts(self):
        """Whether somebody listens where FreeSWITCH connects."""
        with socket.socket() as sock:
            return sock.connect_ex(self.worker) == 0

    def pages(self):
        """The ports of the workers' pages."""
        return range(self.first_page, self.first_page + len(self.processes("worker")))

    def live(self, position):
        """The record of a customer's call that is up now."""
        token = self.call_centre.token(BANK, position)
        return self.call_centre.query("SELECT id FROM dba.calls WHERE state = 'ANSWERED' AND token = %s", token)

    def states(self, uuids):
        """The state of each record of some calls."""
        rows = self.call_centre.query("SELECT state FROM dba.calls WHERE channel = ANY(%s)", uuids)
        return [row["state"] for row in rows]

    def state(self, result):
        """The state of a call's only record."""
        return self.call_centre.record(BANK, result)["state"]


@pytest.fixture
def uncapped(call_centre):
    """A bank whose customers may be called as often as a test wants to."""
    engine = sqlalchemy_engine(DatabaseConfig(call_centre.site.postgres.url()))

    def cap(*caps):
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT shield_api.set_caps(%s, %s, %s, NULL)", (BANK.name, *caps))

    cap(None, None)
    yield
    cap(10, 300)
    engine.dispose()


@pytest.fixture
def serve(call_centre, tmp_path):
    """Start a supervisor over the site's own configurations, each with listeners of its own."""
    started = []

    def serve(workers=2, worker="", **settings):
        site, first_page = call_centre.site, free_ports(workers)
        for role in ("worker", "resolver"):
            text = site.config(role).read_text()
            port = first_page if role == "worker" else 0
            more = f'[metrics]\nlisten = "127.0.0.1:{port}"\n'
            text = text.replace("[database]\n", f"[database]\n{UNHURRIED}").replace("[esl]\n", f"[esl]\n{worker}")
            (tmp_path / f"{role}.toml").write_text(text + more)
            (tmp_path / f"{role}.toml").chmod(0o600)
        argv = [sys.executable, "-m", "esl_shield", "--config", str(tmp_path / "serve.toml"), "serve"]
        supervisor = Supervisor(tmp_path, argv=argv)
        supervisor.write(
            f"worker {workers} worker.toml",
            "resolver 2 resolver.toml",
            **{"start_timeout_s": 150.0, "hang_timeout_s": 30.0} | settings,
        )
        started.append(supervisor)
        supervisor.start()
        supervisor.wait("event=serve.ready")
        return Service(call_centre, supervisor, first_page)

    yield serve
    for supervisor in started:
        supervisor.destroy()


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
        return int(float(re.search(rb"(?m)^esl_shield_worker_calls_in_progress ([0-9.]+)$", answer.read())[1]))
