"""Everything a call goes through end to end, as processes of their own on one machine, and what each of them used.

PostgreSQL with fsync on, one resolver, a worker for each delivery, the edge's Kamailio where it is installed, one
FreeSWITCH and one carrier. The static way uses the last two of them only.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import edge_lab
from handoff_site import MOST_CALLS, Process, fill, running
from lab import LUA_SECRET, Ports
from polling import until
from ports import HOST
from stage import CARRIER_A
from switch_calls import Heard, carrier, dial
from switch_lab import DIRECT, EDGE, STATIC, MeasuredSwitch
from vault_bench import DOMAIN, Bench, bench, cpu_s, tree_cpu_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_RESPONSE_MS = 4000  # as the edge is shipped; the laboratory's is shorter
DIALLED = 20_000  # distinct tokens, or numbers, at most
_CALLER_ID = f'caller_id = ["+862100000000"]\ndomains = ["{DOMAIN}"]\n'


@dataclass
class Measured:
    """One run: what was heard, and CPU microseconds a call of each part."""

    way: str
    rate: int
    heard: Heard
    cpu_us: dict[str, int]
    load: float


@dataclass
class SwitchSite:
    """One site; ``ways`` are the dialplans it has."""

    made: Bench
    folder: Path
    switch: MeasuredSwitch
    edge: edge_lab.Edge | None
    resolver: Process
    workers: list[Process]
    dialled: dict[str, list[str]]

    @property
    def ways(self) -> tuple[str, ...]:
        """The dialplans that can be measured here."""
        return (STATIC, DIRECT, EDGE) if self.edge else (STATIC, DIRECT)

    def run(self, way: str, rate: int, seconds: int) -> Measured:
        """Have agents call by one of the ways; no call is left when it returns."""
        self.made.checkpoint()
        before = self._spent()
        heard = dial(
            self.folder, to=self.switch.ports.agents, way=way, dialled=self.dialled[way], rate=rate, seconds=seconds
        )
        if heard.failed and self.switch.esl:
            self.switch.esl.api("hupall NORMAL_CLEARING")
        self.switch.quiet()
        spent = {part: round((after - before[part]) / heard.calls * 1e6) for part, after in self._spent().items()}
        return Measured(way, rate, heard, spent, os.getloadavg()[0])

    def recorded(self) -> dict[str, int]:
        """How many calls our records show, by state and cause, once all have ended; those that have not in 10 s show as they are."""
        with contextlib.suppress(TimeoutError):
            until(lambda: not self._states().keys() & {"AUTHORIZED", "ANSWERED"}, "all records are final")
        return self._states()

    def _states(self) -> dict[str, int]:
        with contextlib.closing(self.made.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT concat_ws(' ', state, nullif(hangup_cause::text, 'NORMAL_CLEARING')), count(*) FROM dba.calls"
                " GROUP BY 1 ORDER BY 1"
            )
            return dict(cursor.fetchall())

    def _spent(self) -> dict[str, float]:
        return {
            "FreeSWITCH": cpu_s(self.switch.process.pid),
            "worker": sum(cpu_s(worker.pid) for worker in self.workers),
            "resolver": cpu_s(self.resolver.pid),
            "PostgreSQL": self.made.server_cpu_s(),
            "edge": tree_cpu_s(self.edge.process.pid) if self.edge and self.edge.process else 0.0,
        }


@contextlib.contextmanager
def switch_site(binary: str, tokens: int, folder: Path) -> Iterator[SwitchSite]:
    """Run a site around a FreeSWITCH binary; ``folder`` keeps what its processes say."""
    ports = Ports()
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(bench(max_connections="100"))
        fill(made, folder / "tokens", tokens)
        lines = (folder / "tokens").read_text().splitlines()
        picked = [line.split(",") for line in random.sample(lines, min(tokens, DIALLED))]
        secret = secrets.token_hex(16)
        gateways = {
            DIRECT: f'[[gateways]]\nname = "{CARRIER_A}"\ndelivery = "direct"\nproxy = "{HOST}:{ports.carrier_a}"\n'
            + _CALLER_ID,
            EDGE: f'[[gateways]]\nname = "edge"\ndelivery = "edge"\n{_CALLER_ID}',
        }
        keys = ", ".join(
            f'{name} = "file:{_kept(made, name, text)}"' for name, text in (("edge", secret), ("lua", LUA_SECRET))
        )
        resolver = f'[resolver]\nlisten = "{HOST}:{ports.resolver}"\nsecrets = {{ {keys} }}\n'
        served = stack.enter_context(running(made, "resolver", resolver + "".join(gateways.values())))
        workers = [
            stack.enter_context(
                running(made, "worker", f'[esl]\nlisten = "{HOST}:{port}"\nmax_calls = {MOST_CALLS}\n{gateways[way]}')
            )
            for way, port in ((DIRECT, ports.worker_a), (EDGE, ports.worker_b))
        ]
        switch = MeasuredSwitch(binary, _new(folder / "freeswitch"), ports)
        stack.callback(switch.stop)
        stack.enter_context(carrier(folder, ports.carrier_a))
        edge = _edge(folder, ports, secret)
        if edge:
            stack.callback(edge.stop)
        numbers, dialled = [number for _, number in picked], [token for token, _ in picked]
        yield SwitchSite(made, folder, switch, edge, served, workers, {STATIC: numbers, DIRECT: dialled, EDGE: dialled})


def _kept(made: Bench, name: str, text: str) -> Path:
    path = made.folder / f"{name}-secret"
    path.touch(0o600)
    path.write_text(text + "\n")
    return path


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _edge(folder: Path, ports: Ports, secret: str) -> edge_lab.Edge | None:
    """Run the edge in front of the carrier; none where Kamailio is not installed."""
    if not shutil.which(edge_lab.KAMAILIO):
        return None
    carriers = [f"1 sip:{HOST}:{ports.carrier_a} 0 9 name={CARRIER_A}"]
    url = f"http://{HOST}:{ports.resolver}/redeem"
    return edge_lab.Edge(
        folder / "edge", url, carriers, inside=ports.edge, secret=secret, no_response_ms=NO_RESPONSE_MS
    )
