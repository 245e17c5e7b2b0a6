"""Calls through ``esl-shield serve``: real workers, resolvers and a housekeeper over one listener each."""

from __future__ import annotations

import itertools
import re
import signal
import sys
import urllib.request
from collections import Counter

import gevent
import pytest
from fix_site import BANK, eventually
from polling import until
from supervised import WITHIN_S, Supervisor

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway

PLAYERS = 4


def patiently(look):
    """Wait for what four new processes on a busy machine take, while agents call."""
    return until(lambda: gevent.sleep(0.01) or look(), "what was waited for", within_s=WITHIN_S)


class Service:
    """A supervised site: where its listeners are and which processes it has."""

    def __init__(self, call_centre, supervisor):
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
        call = Call(
            dialled=self.call_centre.token(BANK, position), agent=Agent(username=f"{next(self._agents)}", domain=BANK.domain),
            gateways={"carrier-a": Gateway(Carrier(after_s=0.02))}, **({"hangs_up_after_s": 0.4} | changes),
        )  # fmt: skip
        return double.play(call, self.worker, redeem=self.redeem)

    def processes(self, role):
        """The processes of a role by their command lines."""
        found = []
        for pid in self.supervisor.children():
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if role.encode() in words:
                found.append(pid)
        return found

    def state(self, result):
        """The state of a call's only record."""
        return self.call_centre.record(BANK, result)["state"]


@pytest.fixture
def serve(call_centre, tmp_path):
    """Start a supervisor over the site's own configurations, each with listeners of its own."""
    started = []

    def serve(workers=2, worker="", **settings):
        site = call_centre.site
        for role in ("worker", "resolver"):
            text = site.config(role).read_text()
            more = '[metrics]\nlisten = "127.0.0.1:0"\n'
            (tmp_path / f"{role}.toml").write_text(text.replace("[esl]\n", f"[esl]\n{worker}") + more)
            (tmp_path / f"{role}.toml").chmod(0o600)
        argv = [sys.executable, "-m", "esl_shield", "--config", str(tmp_path / "serve.toml"), "serve"]
        supervisor = Supervisor(tmp_path, argv=argv)
        supervisor.write(f"worker {workers} worker.toml", "resolver 2 resolver.toml", **settings)
        started.append(supervisor)
        supervisor.start()
        supervisor.wait("event=serve.ready")
        return Service(call_centre, supervisor)

    yield serve
    for supervisor in started:
        supervisor.destroy()


def test_no_call_is_refused_while_everything_is_replaced(serve):
    """Calls placed all the time during two reloads are all answered, and each has one record that says so."""
    service = serve()
    before = set(service.processes("worker") + service.processes("resolver"))
    results, on = [], True

    def play(first):
        position = first
        while on:
            results.append(service.place(position))
            position = (position - first + PLAYERS) % 40 + first

    playing = [gevent.spawn(play, number) for number in range(PLAYERS)]
    for times in (1, 2):
        patiently(lambda: len(results) >= 20 * times)
        service.supervisor.send(signal.SIGHUP)
        patiently(lambda: service.supervisor.said("event=serve.reloaded", times))
    patiently(lambda: service.supervisor.said("event=serve.child_left", 8))
    on = False
    gevent.joinall(playing, raise_error=True)
    assert Counter(result.status for result in results) == {200: len(results)}
    assert Counter(service.state(result) for result in results) == {"COMPLETED": len(results)}
    now = service.processes("worker") + service.processes("resolver")
    assert len(now) == 4
    assert not before & set(now)
    assert service.supervisor.end() == 0
