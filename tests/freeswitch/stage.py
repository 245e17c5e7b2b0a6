"""One test's cast around the running FreeSWITCH: carriers, agents, a resolver, workers; all ended when it is over."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import scenarios
from lab import AGENT_PASSWORD, DOMAIN
from ports import HOST, free_port
from recorder import ALARM_S, Attempt, Recording, RecordingWorker, StandInResolver
from sipp import Agent, Carrier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from lab import FreeSwitch

CARRIER_A, CARRIER_B, EMERGENCY = "carrier-a", "carrier-b", "emergency"
TITLE = 'Worker lines start with "> ", FreeSWITCH lines with "< ". FreeSWITCH 1.11.1, socket async full.'


class Stage(contextlib.ExitStack):
    """Starts the parts; leaving the context ends them, last started first."""

    def __init__(self, switch: FreeSwitch, folder: Path) -> None:
        super().__init__()
        self.switch, self.ports, self.folder = switch, switch.ports, folder
        self._agents = 0

    def __enter__(self) -> Self:
        return self

    def port_of(self, gateway: str) -> int:
        """Where the gateway of that name sends its calls; port 9 (discard) for an unknown one."""
        ports = {CARRIER_A: self.ports.carrier_a, CARRIER_B: self.ports.carrier_b, EMERGENCY: self.ports.emergency}
        return ports.get(gateway, 9)

    def carrier(self, gateway: str, scenario: str) -> Carrier:
        """Start the carrier behind a gateway."""
        carrier = Carrier(self.folder, gateway, scenario, port=self.port_of(gateway))
        self.callback(carrier.stop)
        return carrier

    def agent(self, scenario: str, *, dialled: str, user: str = "1001", password: str | None = None) -> Agent:
        """Start an agent's phone making one call."""
        self._agents += 1
        secret = AGENT_PASSWORD.format(user=user) if password is None else password
        agent = Agent(
            self.folder, f"agent-{self._agents}", scenario, dialled=dialled, password=secret, user=user,
            to=self.ports.agents,
        )  # fmt: skip
        self.callback(agent.stop)
        return agent

    def desk(self, scenario: str, *, user: str = "1001") -> Carrier:
        """Register an agent's phone and start it at the same port: FreeSWITCH calls where it registered from."""
        port = free_port()
        register = scenarios.desk_registers(user, DOMAIN, port)
        phone = Agent(
            self.folder, f"register-{user}", register, dialled=user, password=AGENT_PASSWORD.format(user=user),
            user=user, to=self.ports.agents, port=port,
        )  # fmt: skip
        self.callback(phone.stop)
        if phone.wait():
            raise RuntimeError(phone.statuses)
        desk = Carrier(self.folder, f"desk-{user}", scenario, port=port)
        self.callback(desk.stop)
        return desk

    def customer(self, scenario: str, *, did: str, to: int) -> Agent:
        """Start a customer who calls a DID through the edge's outside port."""
        self._agents += 1
        customer = Agent(
            self.folder, f"customer-{self._agents}", scenario, dialled=did, password="", user="", to=to
        )  # fmt: skip
        self.callback(customer.stop)
        return customer

    def resolver(self, uri: Callable[[str], str], *, status: int = 200, text: str = "") -> StandInResolver:
        """Start a stand-in for the resolver; ``uri`` makes its answer for a gateway."""
        resolver = StandInResolver(self.ports.resolver, uri, status=status, text=text)
        self.callback(resolver.stop)
        return resolver

    def knowing(self, number: str) -> StandInResolver:
        """Start a stand-in for the resolver that gives ``number`` at the gateway's address."""
        return self.resolver(lambda gateway: f"sip:{number}@{HOST}:{self.port_of(gateway)}")

    def worker(
        self, attempts: Sequence[Attempt], *, port: int | None = None, timeout_s: int = 60, alarm_s: int = ALARM_S
    ) -> RecordingWorker:
        """Start a worker that takes one call through ``attempts`` by rote."""
        worker = RecordingWorker(
            port or self.ports.worker_a, Recording(TITLE), list(attempts), timeout_s=timeout_s, alarm_s=alarm_s
        )
        self.callback(worker.stop)
        return worker

    def listener(self, port: int) -> socket.socket:
        """Occupy a worker's port: the kernel accepts connections, nobody answers."""
        listener = socket.create_server((HOST, port))
        self.callback(listener.close)
        return listener
