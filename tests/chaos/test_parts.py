"""A part of a supervised site is killed or stopped at each moment of a call: what is heard, what the record says.

Whatever happens, nobody puts a hand to it but systemd, which starts a supervisor that died.
"""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple
from uuid import uuid4

import gevent
import pytest
from event_socket_double import PASSWORD, EventSocketDouble, LegAnswers
from fix_serve import patiently
from fix_site import BANK, NUMBERS, eventually
from gevent.event import Event

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # every process is started, and some again

OPEN = {"AUTHORIZED", "ANSWERED"}
BACK_WITHIN_S = 20.0  # five on a machine that has nothing else to do


class Trouble(NamedTuple):
    """Whom it befalls, how, and which ends are true for a call at each moment: what is heard, what is recorded."""

    part: str
    number: int
    redeeming: set
    ringing: set
    talking: set


WELL, UNKNOWN, REFUSED = (200, "COMPLETED"), (200, "LOST"), (503, "FAILED")
TROUBLES = {
    "worker killed": Trouble("worker", signal.SIGKILL, {UNKNOWN}, {UNKNOWN}, {UNKNOWN}),
    "worker stopped": Trouble("worker", signal.SIGSTOP, {UNKNOWN}, {UNKNOWN}, {UNKNOWN}),
    "resolver killed": Trouble("resolver", signal.SIGKILL, {WELL, REFUSED}, {WELL}, {WELL}),
    "resolver stopped": Trouble("resolver", signal.SIGSTOP, {WELL, REFUSED}, {WELL}, {WELL}),
    "supervisor killed": Trouble("supervisor", signal.SIGKILL, {WELL, REFUSED}, {WELL}, {WELL}),
    "supervisor stopped": Trouble("supervisor", signal.SIGSTOP, {WELL}, {WELL}, {WELL}),
}


class Watched:
    """A supervised site whose FreeSWITCH the reaper may ask."""

    def __init__(self, service, legs):
        self.service, self.legs, self.centre = service, legs, service.call_centre

    def place(self, position, carrier, redeem=None):
        """Have an agent call; the leg is up for FreeSWITCH until the call is over."""
        call = Call(
            dialled=self.centre.token(BANK, position), uuid=str(uuid4()),
            agent=Agent(username=str(3000 + position), domain=BANK.domain),
            gateways={"carrier-a": Gateway(carrier)}, hangs_up_after_s=3.0, max_s=30.0,
        )  # fmt: skip
        self.legs.up.add(call.uuid)
        try:
            return double.play(call, self.service.worker, redeem=redeem or self.service.redeem)
        finally:
            self.legs.up.discard(call.uuid)

    def strike(self, trouble):
        """Kill or stop the part."""
        supervisor = self.service.supervisor
        if trouble.part == "supervisor":
            supervisor.send(trouble.number)
            if trouble.number == signal.SIGKILL:
                supervisor.popen.wait()
        else:
            for pid in self.service.processes(trouble.part):
                os.kill(pid, trouble.number)

    def restart(self):
        """Start the supervisor again, and again while it ends, as systemd does."""
        supervisor = self.service.supervisor
        said = supervisor.log.read_text().count("event=serve.ready")

        def is_back():
            if supervisor.popen.poll() is not None:
                supervisor.start()
            return supervisor.said("event=serve.ready", said + 1)

        patiently(is_back)

    def events(self, kind, position):
        """Audit events of a customer's call."""
        token = self.centre.token(BANK, position)
        return self.centre.query("SELECT call FROM dba.audit_events WHERE kind = %s AND token = %s", kind, token)

    def states(self, channel):
        """The states of the records of a call."""
        rows = self.centre.query("SELECT state FROM dba.calls WHERE channel = %s", channel)
        return [row["state"] for row in rows]


@pytest.fixture
def watched(call_centre, serve, uncapped, tmp_path):
    """One worker, one resolver and a reaper under a supervisor that notices within seconds."""
    site, legs = call_centre.site, LegAnswers()
    password = site.postgres.password("site_reaper") + "\n"
    site.run("admin", "db", "login", "site_reaper", "--role", "reaper", "--all-tenants", stdin=password)
    (tmp_path / "esl.secret").write_text(PASSWORD + "\n")
    (tmp_path / "esl.secret").chmod(0o400)
    with EventSocketDouble(legs) as switch:
        config = tmp_path / "reaper.toml"
        config.write_text(
            f'[database]\nurl = "{site.url("reaper")}"\n[reaper]\nrecord_wait_s = 0.5\n'
            f'[[reaper.switches]]\naddress = "{switch.address}"\npassword = "file:{tmp_path}/esl.secret"\n'
        )
        config.chmod(0o600)
        service = serve(workers=1, resolvers=1, also=("reaper 1 reaper.toml",), hang_timeout_s=3.0)
        yield Watched(service, legs)
    written = "".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert not [number for number in NUMBERS if number[-9:] in written]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_part_dies_under_calls(watched, trouble):
    """Calls that are redeeming, ringing and talking end as they truly did, each with one record; new ones go on."""
    told, at = TROUBLES[trouble], 10 * list(TROUBLES).index(trouble) % 50
    reached = Event()
    struck = Event()

    def redeem(redemption):
        reached.set()
        struck.wait()
        return watched.service.redeem(redemption)

    playing = {
        "redeeming": gevent.spawn(watched.place, at, Carrier(after_s=0.5), redeem),
        "ringing": gevent.spawn(watched.place, at + 1, Carrier(after_s=6.0)),
        "talking": gevent.spawn(watched.place, at + 2, Carrier(after_s=0.0)),
    }
    reached.wait(30)
    patiently(lambda: watched.events("permit.redeemed", at + 1))
    patiently(lambda: watched.service.live(at + 2))
    watched.strike(told)
    struck_at = time.monotonic()
    struck.set()
    if told == TROUBLES["supervisor killed"]:
        watched.restart()
    answered = patiently(lambda: (r := watched.place(at + 3, Carrier(after_s=0.0))).bridged and r)
    assert answered.status == 200
    back_s = time.monotonic() - struck_at - 3.0  # the call that shows it takes that long itself
    results = {moment: greenlet.get(timeout=60) for moment, greenlet in playing.items()}
    if told.number == signal.SIGSTOP and told.part == "supervisor":
        watched.service.supervisor.send(signal.SIGCONT)
    ends = {}
    for moment, result in results.items():
        (state,) = eventually(lambda r=result: (s := watched.states(r.uuid)) and not OPEN & set(s) and s)
        ends[moment] = (result.status, state)
    assert all(ends[moment] in getattr(told, moment) for moment in ends), ends
    for offset, result in enumerate(results.values()):
        assert len(result.wire) <= len(watched.events("permit.redeemed", at + offset))
    assert back_s < BACK_WITHIN_S
    print(f"{trouble}: back within {back_s:.1f} s, {ends}")  # noqa: T201 - told in reports
