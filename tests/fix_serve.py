"""A site under ``esl-shield serve``: the supervisor, real workers and resolvers, agents through the double."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
from pathlib import Path

import gevent
import pytest
from fix_site import BANK
from polling import until
from ports import free_port
from supervised import serving

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.esl import double
from esl_shield.esl.double import Agent

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

    def place(self, position, carrier=None, redeem=None, **changes):
        """Have an agent call a customer of the bank."""
        agent = Agent(username=f"{next(self._agents)}", domain=BANK.domain)
        wanted = {"agent": agent, "hangs_up_after_s": 0.4, "sched_hangup_s": 30.0} | changes
        call = self.call_centre.call(BANK, position, carrier, **wanted)
        return double.play(call, self.worker, redeem=redeem or self.redeem)

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
        rows = self.call_centre.query("SELECT state FROM dba.calls WHERE channel = ANY(%s::uuid[])", uuids)
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

    def serve(workers=2, worker="", resolvers=2, also=(), **settings):
        site, first_page = call_centre.site, free_ports(workers)
        for role in ("worker", "resolver"):
            text = site.config(role).read_text()
            port = first_page if role == "worker" else 0
            more = f'[metrics]\nlisten = "127.0.0.1:{port}"\n'
            text = text.replace("[database]\n", f"[database]\n{UNHURRIED}").replace("[esl]\n", f"[esl]\n{worker}")
            text = text.replace("answer_timeout_s = 1\n", "answer_timeout_s = 20\n")
            text = text.replace('listen = "127.0.0.1:0"', f'listen = "127.0.0.1:{free_port()}"')  # a restart's too
            (tmp_path / f"{role}.toml").write_text(text + more)
            (tmp_path / f"{role}.toml").chmod(0o600)
        parts = (f"worker {workers} worker.toml", f"resolver {resolvers} resolver.toml", *also)
        supervisor = started.enter_context(serving(tmp_path, *parts, **{"start_timeout_s": 150.0} | settings))
        return Service(call_centre, supervisor, first_page)

    with contextlib.ExitStack() as started:
        yield serve
