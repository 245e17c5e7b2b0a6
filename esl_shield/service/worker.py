"""The worker's parts put together: listener, database, ledger, scripts, metrics.

Invariants: a worker that can read a KEK named in its configuration, or the PIN of its device, or whose database login
is not a worker's alone, does not start; one whose database is away does, and says that it is not well; stopping closes
the listener first, then lets calls end, then has their records written, and what could not be written is counted,
logged and in the exit code.
"""

from __future__ import annotations

import logging
import os
import secrets
from typing import TYPE_CHECKING
from uuid import uuid4

import gevent

from esl_shield.calls import arrivals, handoff
from esl_shield.calls.records import Ledger
from esl_shield.calls.script import Script, refuse_overflow
from esl_shield.calls.signs import EVENT_HEADERS
from esl_shield.config.values import Address
from esl_shield.db.engine import Database
from esl_shield.db.health import Health, refuse_foreign_right
from esl_shield.errors import ShieldError
from esl_shield.errors.config import ConfigError
from esl_shield.errors.process import WorkerMisplaced
from esl_shield.esl.server import Server
from esl_shield.http.healthpages import OK
from esl_shield.service.inherited import LISTEN, METRICS, Inherited, check
from esl_shield.service.pages import adopted, pages

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.resolver import KeysConfig
    from esl_shield.esl.session import Session
    from esl_shield.http.healthpages import Parts
    from esl_shield.service.metrics import WorkerMetrics

LEDGER_DRAIN_S = 10.0
BEAT_S = 1.0  # a third of what shield.worker_is_gone waits for
_NO_TENANT = -1

LOG = logging.getLogger(__name__)


class Worker:
    """Takes parked calls until it is stopped."""

    def __init__(
        self, config: Config, database: Database, health: Health, metrics: WorkerMetrics, inherited: Inherited
    ) -> None:
        self._config = config
        self._inherited = inherited
        self._database = database
        self._health = health
        self._metrics = metrics
        self._ledger = Ledger(database, metrics)
        self._server = self._listen()
        self._pages = pages(config.metrics.listen, inherited, metrics.page, self._parts)
        self._beating: gevent.Greenlet[[], None] | None = None
        server, limits = self._server, config.esl
        for name, read in (
            ("open_calls", lambda: server.active),
            ("call_slots", lambda: limits.max_calls),
            ("overflow_calls", lambda: server.overflowing),
            ("overflow_slots", lambda: limits.reserve),
            ("untold_records", lambda: self._ledger.untold),
            ("draining", lambda: not server.accepting),
        ):
            metrics.watch(f"esl_shield_worker_{name}", read)
        metrics.watch_databases({"calls": database})

    @classmethod
    def from_config(cls, config: Config, metrics: WorkerMetrics, inherited: Inherited | None = None) -> Worker:
        """Check what a worker must and must not have, ask the database, then bind, unless it was given a listener.

        Raises WorkerMisplaced, ConfigError, LoginMisplaced and DatabaseRefused for what waiting does not mend. A
        database that is away is waited for: until then calls are answered with 503.
        """
        refuse_misplaced(config)
        database = Database(config.database, application_name=f"esl-shield-worker {secrets.token_hex(4)}")
        health = Health(Readiness(database))
        health.check()
        return cls(config, database, health, metrics, inherited or {})

    @property
    def address(self) -> Address:
        """Where FreeSWITCH connects."""
        return Address(*self._server.address)

    def start(self) -> None:
        """Accept calls; raises ConfigError when the address of the pages cannot be had."""
        if self._pages:
            self._pages.start()
        self._beating = gevent.spawn(self._beat)
        self._server.start()

    def stop(self, drain_s: float) -> int:
        """Accept no more calls, give live ones ``drain_s`` seconds to end, write what is known of them.

        A call that is up for longer is recorded as LOST and goes on without us. Returns how many statements were lost.
        """
        if self._pages and METRICS in self._inherited:
            self._pages.stop()  # the worker that takes this one's place answers there
        left = self._server.drain(drain_s)
        if left:
            LOG.warning("worker.calls_abandoned", extra={"fields": {"count": left}})
            left = self._server.abandon()
        lost = self._ledger.close(LEDGER_DRAIN_S) + left
        if self._beating:
            self._beating.kill()
        if lost:
            LOG.error("worker.records_lost", extra={"fields": {"count": lost}})
        if self._pages:
            self._pages.stop()
        self._database.close()
        return lost

    def hasten(self) -> None:
        """Give calls that are drained no more time."""
        self._server.hasten()

    def _listen(self) -> Server:
        listener = self._inherited.get(LISTEN)
        if listener is not None:
            check(listener, self._config.esl.listen, key="[esl] listen")
        try:
            return Server(
                self._config.esl, self._handle, self._overflow, keep=handoff.HEADERS | arrivals.HEADERS,
                keep_events=EVENT_HEADERS, on_event=lambda event: self._metrics.count("connection", event),
                listener=adopted(listener),
            )  # fmt: skip
        except OSError as error:
            problem = f"the address cannot be had ({os.strerror(error.errno or 0)})"
            raise ConfigError(source="[esl] listen", problem=problem) from None

    def _beat(self) -> None:
        """Report again and again: the calls of a worker that does not are looked after by the reaper."""
        while True:
            try:
                self._database.call("worker_beat")
            except ShieldError as error:
                self._metrics.count("unreported", error.error_id)
            gevent.sleep(BEAT_S)

    def _parts(self) -> Parts:
        """Whether a call handed over now could go through, part by part."""
        problem = self._health.problem()
        return {
            "database": problem.error_id if problem else OK,
            "listener": OK if self._server.accepting else "draining",
            "slots": OK if self._server.active < self._config.esl.max_calls else "full",
        }

    def _handle(self, session: Session) -> None:
        Script(session, self._config, self._ledger, self._metrics).run()

    def _overflow(self, session: Session) -> None:
        full = self._server.active >= self._config.esl.max_calls
        refuse_overflow(session, self._metrics, "worker_full" if full else "overloaded")


class Readiness:
    """The question of the worker's Health: asked with a right only a worker has, about a call that does not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rights_checked = False

    def __call__(self) -> None:
        """Return if a call could be authorised now; raises LoginMisplaced, DatabaseRefused, DatabaseAway."""
        self._database.call("finish_calls", [{"call": str(uuid4()), "state": "LOST"}])
        if not self._rights_checked:
            refuse_foreign_right(self._database, "worker", "tenant_data_key", _NO_TENANT, 0)
            self._rights_checked = True


def refuse_misplaced(config: Config) -> None:
    """Raise WorkerMisplaced when a worker with this configuration has what it must not have, or lacks what it needs."""
    if not config.gateways:
        raise WorkerMisplaced(problem="no [[gateways]] are configured, so no call could go anywhere")
    if config.keys and (secret := _readable(config.keys)):
        raise WorkerMisplaced(problem=f"it can read {secret}; run it as a Unix user who cannot")


def _readable(keys: KeysConfig) -> str:
    """Return what of a KEK this process could read, nothing if all is well."""
    for number, (uri, device) in enumerate(keys.places):
        which = "an earlier KEK" if number else "the KEK"
        scheme, _, place = uri.partition(":")
        if device:
            found, what = os.access(device.pin_file, os.R_OK), f"the PIN of {which}'s device"
        else:
            found, what = os.access(place, os.R_OK) if scheme == "file" else place in os.environ, which
        if found:
            return what
    return ""
