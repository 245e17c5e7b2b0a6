"""The worker's parts put together: listener, database, ledger, scripts, metrics.

Invariants: a worker that can read the KEK named in its configuration does not start; draining closes the listener
first, then lets calls end, then has their records written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from esl_shield.calls.records import Ledger
from esl_shield.calls.script import Script, refuse_overflow
from esl_shield.calls.signs import HEADERS
from esl_shield.config import Address
from esl_shield.db.engine import Database
from esl_shield.errors import WorkerMisplaced
from esl_shield.esl.server import Server
from esl_shield.service.pages import Pages

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.esl.session import Session
    from esl_shield.service.metrics import WorkerMetrics

LEDGER_DRAIN_S = 10.0


class Worker:
    """Takes parked calls until it is stopped."""

    def __init__(self, config: Config, database: Database, metrics: WorkerMetrics) -> None:
        self._config = config
        self._database = database
        self._metrics = metrics
        self._ledger = Ledger(database, metrics)
        self._server = Server(
            config.esl, self._handle, self._overflow, keep=HEADERS,
            on_event=lambda event: metrics.count("connection", event),
        )  # fmt: skip
        self._pages = Pages(config.metrics.listen, metrics.page) if config.metrics.listen else None
        metrics.watch("calls_in_progress", "Calls this worker holds now.", lambda: self._server.active)
        metrics.watch("untold_records", "Statements the database has not taken yet.", lambda: self._ledger.untold)

    @classmethod
    def from_config(cls, config: Config, metrics: WorkerMetrics) -> Worker:
        """Check what a worker must and must not have; raises WorkerMisplaced."""
        if not config.gateways:
            raise WorkerMisplaced(problem="no [[gateways]] are configured, so no call could go anywhere")
        if config.keys and _readable(config.keys.kek):
            raise WorkerMisplaced(problem="it can read the KEK; run it as a Unix user who cannot")
        return cls(config, Database(config.database, application_name="esl-shield-worker"), metrics)

    @property
    def address(self) -> Address:
        """Where FreeSWITCH connects."""
        return Address(*self._server.address)

    def start(self) -> None:
        """Accept calls."""
        if self._pages:
            self._pages.start()
        self._server.start()

    def stop(self, drain_s: float) -> None:
        """Accept no more calls, give live ones ``drain_s`` seconds to end, write what is known of them."""
        self._server.drain(drain_s)
        self._ledger.close(LEDGER_DRAIN_S)
        if self._pages:
            self._pages.stop()
        self._database.close()

    def _handle(self, session: Session) -> None:
        Script(session, self._config, self._ledger, self._metrics).run()

    def _overflow(self, session: Session) -> None:
        refuse_overflow(session, self._metrics)


def _readable(kek: str) -> bool:
    scheme, _, place = kek.partition(":")
    return os.access(place, os.R_OK) if scheme == "file" else place in os.environ
