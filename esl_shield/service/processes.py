"""How a long-running role is composed: logs, hardening, its parts, signals, readiness.

Invariants: a process is hardened before it opens a key; it says it is ready (one line on stderr, and to systemd or the
supervisor) only when callers can connect, and from then on that it is alive, as long as its hub turns; SIGTERM and
SIGINT let what is under way finish, a second one gives calls no more time, a third ends the process; the exit code is 1
if anything was lost.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event

from esl_shield.db.engine import use_gevent
from esl_shield.service import inherited, log
from esl_shield.service.hardening import harden
from esl_shield.service.housekeeping import HousekeeperService
from esl_shield.service.intake import Intake
from esl_shield.service.metrics import ApiMetrics, IntakeMetrics, ResolverMetrics, WorkerMetrics
from esl_shield.service.notify import Notifier
from esl_shield.service.resolving import ResolverService
from esl_shield.service.sealer import SealerService
from esl_shield.service.sitemetrics import SealerMetrics
from esl_shield.service.supervisor.kinds import HOUSEKEEPER_DRAIN_S, INTAKE_DRAIN_S, SEALER_DRAIN_S
from esl_shield.service.worker import Worker

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.values import Address
    from esl_shield.service.inherited import Inherited

INTERRUPTED = 130
MOST_SIGNALS = 2
STOP_MARGIN_S = 15.0
LOST = 1


class Service(Protocol):
    """A role's listener and what is behind it."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    def start(self) -> None:
        """Accept callers."""

    def stop(self, drain_s: float) -> int:
        """Accept no more, finish within ``drain_s`` seconds; returns how many things were lost."""

    def hasten(self) -> None:
        """Cut the rest of ``drain_s`` short where that is long."""


@dataclass(frozen=True)
class Given:
    """What a process was started with, by the supervisor or by systemd."""

    notifier: Notifier
    listeners: Inherited


def run_resolver(config: Config) -> int:
    """Run the resolver until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    given = prepare("resolver")
    metrics = ResolverMetrics()
    resolver = ResolverService(config, metrics, given.listeners)
    return serve("resolver", resolver, drain_s=config.resolver.drain_timeout_s, notifier=given.notifier)


def run_worker(config: Config) -> int:
    """Run the worker until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    given = prepare("worker")
    gateways = [gateway.name for gateway in config.gateways]
    metrics = WorkerMetrics(tenants=config.metrics.tenants, gateways=gateways)
    worker = Worker.from_config(config, metrics, given.listeners)
    return serve("worker", worker, drain_s=config.esl.drain_timeout_s, notifier=given.notifier)


def run_sealer(config: Config, *, restore_reason: str = "") -> int:
    """Run the sealer until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    given = prepare("sealer")
    sealer = SealerService.from_config(
        config, SealerMetrics(), restore_reason=restore_reason, inherited=given.listeners
    )
    return serve("sealer", sealer, drain_s=SEALER_DRAIN_S, notifier=given.notifier)


def run_housekeeper(config: Config, every_s: float) -> int:
    """Run the housekeeper until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    given = prepare("housekeeper")
    housekeeper = HousekeeperService(config, every_s)
    return serve("housekeeper", housekeeper, drain_s=HOUSEKEEPER_DRAIN_S, notifier=given.notifier)


def run_intake(config: Config) -> int:
    """Run the intake until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    given = prepare("intake")
    intake = Intake.from_config(config, IntakeMetrics(), given.listeners)
    return serve("intake", intake, drain_s=INTAKE_DRAIN_S, notifier=given.notifier)


def run_api(config: Config) -> int:
    """Run the HTTP API until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    from esl_shield.service.api import api_service  # noqa: PLC0415 - keeps its framework out of other processes

    given = prepare("api")
    service = api_service(config, ApiMetrics("api"), given.listeners)
    return serve("api", service, drain_s=config.api.drain_timeout_s, notifier=given.notifier)


def run_tokeniser(config: Config) -> int:
    """Run the tokeniser until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    from esl_shield.service.api import tokeniser_service  # noqa: PLC0415 - keeps its framework out of other processes

    given = prepare("tokeniser")
    service = tokeniser_service(config, ApiMetrics("tokeniser"), given.listeners)
    return serve("tokeniser", service, drain_s=config.tokeniser.drain_timeout_s, notifier=given.notifier)


def prepare(name: str) -> Given:
    """Do what every role does before it opens keys or sockets; raises NotHardened, ConfigError."""
    log.set_up(name)
    given = Given(Notifier.from_environment(), inherited.take())
    harden()
    use_gevent()
    log.quiet_hub(gevent.get_hub())
    return given


def serve(name: str, service: Service, *, drain_s: float, notifier: Notifier) -> int:
    """Start a service, say so, wait for a signal, drain; returns the exit code."""
    told = Event()
    signals: list[int] = []

    def tell(number: int) -> None:
        signals.append(number)
        told.set()
        if len(signals) > MOST_SIGNALS:
            os._exit(128 + number)
        if len(signals) > 1:
            service.hasten()

    handlers = [gevent.signal_handler(number, tell, number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        service.start()
        print(f"{name} ready on {service.address}", file=sys.stderr, flush=True)  # noqa: T201 - scripts wait for it
        notifier.ready(f"ready on {service.address}")
        pinging = gevent.spawn(_ping, notifier)
        told.wait()
        notifier.stopping("draining", within_s=drain_s + STOP_MARGIN_S)
        lost = service.stop(drain_s)
    finally:
        for handler in handlers:
            handler.cancel()
    pinging.kill()
    if lost:
        return LOST
    return INTERRUPTED if signals[0] == signal.SIGINT else 0


def _ping(notifier: Notifier) -> None:
    """Say again and again that the hub turns."""
    while notifier.ping_every_s is not None:
        notifier.alive()
        gevent.sleep(notifier.ping_every_s)
