"""A part of a supervised site is killed or stopped at each moment of a call: what is heard, what the record says.

Whatever happens, nobody puts a hand to it but systemd, which starts a supervisor that died.
"""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple
from uuid import uuid4

import pytest
from event_socket_double import PASSWORD, EventSocketDouble, LegAnswers
from fix_serve import patiently
from fix_site import BANK
from moments import MOMENTS, PARKED, REFUSED, UNHEARD, UNKNOWN, WELL, End, Held, eventually, numbers_in

from esl_shield.esl.double import Agent, Carrier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # every process is started, and some again

BACK_WITHIN_S = 40.0  # five on a machine that has nothing else to do


class Trouble(NamedTuple):
    """Whom it befalls, how, and which ends are true for a call that was held at each of MOMENTS."""

    part: str
    number: int
    true_ends: tuple


# Nobody heard a dead worker's authorisation: its permit is unknown, its record, if it was granted, one nobody saw end.
NOT_FOLLOWED = ({UNHEARD, End(503, "LOST")}, {UNKNOWN}, {UNKNOWN}, {UNKNOWN})
RESOLVER_AWAY = ({WELL, REFUSED}, {WELL, REFUSED}, {WELL}, {WELL})
TROUBLES = {
    "worker killed": Trouble("worker", signal.SIGKILL, NOT_FOLLOWED),
    "worker stopped": Trouble("worker", signal.SIGSTOP, NOT_FOLLOWED),
    "resolver killed": Trouble("resolver", signal.SIGKILL, RESOLVER_AWAY),
    "resolver stopped": Trouble("resolver", signal.SIGSTOP, RESOLVER_AWAY),
    "supervisor killed": Trouble("supervisor", signal.SIGKILL, RESOLVER_AWAY),
    "supervisor stopped": Trouble("supervisor", signal.SIGSTOP, ({WELL},) * 4),
}


class Watched:
    """A supervised site whose FreeSWITCH the reaper may ask."""

    def __init__(self, service, legs):
        self.service, self.legs, self.centre = service, legs, service.call_centre

    def place(self, position, carrier, redeem=None):
        """Have an agent call; the leg is up for FreeSWITCH until the call is over."""
        channel = str(uuid4())
        self.legs.up.add(channel)
        try:
            agent = Agent(username=str(3000 + position), domain=BANK.domain)
            return self.service.place(
                position, carrier, redeem, agent=agent, uuid=channel, hangs_up_after_s=3.0, max_s=30.0,
                sched_hangup_s=2.0,
            )  # fmt: skip
        finally:
            self.legs.up.discard(channel)

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
    assert not numbers_in(tmp_path)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_part_dies_under_calls(watched, trouble):
    """Calls at each moment end as they truly did, each accepted one with one record; new ones go on."""
    told, at = TROUBLES[trouble], 10 * list(TROUBLES).index(trouble) % 50
    with Held(watched.centre, at, watched.place, watched.service.redeem) as held:
        watched.strike(told)
        struck_at = time.monotonic()
        held.go_on()
        if trouble == "supervisor killed":
            watched.restart()
        answered = patiently(lambda: (r := watched.place(at + 4, Carrier(after_s=0.0))).bridged and r)
        back_s = time.monotonic() - struck_at - 3.0  # the call that shows it takes that long itself
        eventually(lambda: held.is_over(*MOMENTS))
        if trouble == "supervisor stopped":
            watched.service.supervisor.send(signal.SIGCONT)
        ends = held.ends()
    assert answered.status == 200
    assert all(end in true for end, true in zip(ends.values(), told.true_ends, strict=True)), ends
    assert held.results[PARKED].timings_s["ended"] < 3.0 or ends[PARKED] == WELL
    assert back_s < BACK_WITHIN_S
    print(f"{trouble}: back within {back_s:.1f} s, {ends}")  # noqa: T201 - told in reports
