"""How a long-running role is composed: logs, hardening, its parts, signals, readiness.

Invariants: a process is hardened before it opens a key; it says it is ready (one line on stderr) only when callers can
connect; SIGTERM and SIGINT let what is under way finish, a second one does not; the exit code is 1 if anything was
lost.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event

from esl_shield.db.engine import use_gevent
from esl_shield.resolver.app import Resolver
from esl_shield.service import log
from esl_shield.service.hardening import harden
from esl_shield.service.intake import Intake, IntakeMetrics
from esl_shield.service.metrics import ResolverMetrics, SealerMetrics, WorkerMetrics
from esl_shield.service.sealer import SealerService
from esl_shield.service.worker import Worker

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.values import Address

INTERRUPTED = 130
SEALER_DRAIN_S = 10.0
INTAKE_DRAIN_S = 5.0
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


def run_resolver(config: Config) -> int:
    """Run the resolver until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    prepare("resolver")
    metrics = ResolverMetrics()
    resolver = Resolver.from_config(config, observe=metrics.answered, metrics_page=metrics.page)
    return serve("resolver", resolver, drain_s=config.resolver.drain_timeout_s)


def run_worker(config: Config) -> int:
    """Run the worker until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    prepare("worker")
    worker = Worker.from_config(config, WorkerMetrics())
    return serve("worker", worker, drain_s=config.esl.drain_timeout_s)


def run_sealer(config: Config, *, restore_reason: str = "") -> int:
    """Run the sealer until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    prepare("sealer")
    sealer = SealerService.from_config(config, SealerMetrics(), restore_reason=restore_reason)
    return serve("sealer", sealer, drain_s=SEALER_DRAIN_S)


def run_intake(config: Config) -> int:
    """Run the intake until a signal ends it; returns the exit code. Raises ShieldError when it cannot start."""
    prepare("intake")
    return serve("intake", Intake.from_config(config, IntakeMetrics()), drain_s=INTAKE_DRAIN_S)


def prepare(name: str) -> None:
    """Do what every role does before it opens keys or sockets; raises NotHardened."""
    log.set_up(name)
    harden()
    use_gevent()
    log.quiet_hub(gevent.get_hub())


def serve(name: str, service: Service, *, drain_s: float) -> int:
    """Start a service, say so, wait for a signal, drain; returns the exit code."""
    told = Event()
    signals: list[int] = []

    def tell(number: int) -> None:
        if signals:
            os._exit(128 + number)
        signals.append(number)
        told.set()

    handlers = [gevent.signal_handler(number, tell, number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        service.start()
        print(f"{name} ready on {service.address}", file=sys.stderr, flush=True)  # noqa: T201 - scripts wait for it
        told.wait()
        lost = service.stop(drain_s)
    finally:
        for handler in handlers:
            handler.cancel()
    if lost:
        return LOST
    return INTERRUPTED if signals[0] == signal.SIGINT else 0
