"""The dispatcher: takes events that are due out of the outbox, posts them, and writes down what became of them.

Invariants: a process without keys but the master secret of signatures; an event is deleted only after its receiver
said 2xx, so it arrives at least once; a call's events go out one after the other, and so do an agent's locks; a
receiver that takes nothing is left alone longer and longer and holds up nobody else's events; several dispatchers may
run, each event is one's at a time.
One thread asks the database, the others only post. Nothing of an event or an answer is logged.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.config.secretfile import read_secret
from esl_shield.errors import ShieldError
from esl_shield.errors.config import ConfigError
from esl_shield.service.webhooks import signing
from esl_shield.service.webhooks.posting import Outcome, Post, Receiver

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from esl_shield.config import Config
    from esl_shield.config.webhooks import WebhooksConfig
    from esl_shield.db.engine import Database

LOG = logging.getLogger(__name__)

POLL_S = 0.5
TICK_S = 0.1
BURY_EVERY_S = 60.0
LEASE_MARGIN_S = 50.0
FIRST_PAUSE_S, MOST_PAUSE_S = 2.0, 300.0
FIRST_WAIT_S, MOST_WAIT_S = 30.0, 3600.0
MOST_REFUSALS = 12  # about six hours of an event its receiver does not want
DAY_S, HOUR_S = 86400.0, 3600.0
_JITTER = 0.2


@dataclass
class Sent:
    """What became of events since the dispatcher began."""

    taken: int = 0
    failed: int = 0
    given_up: int = 0


@dataclass(frozen=True)
class _Event:
    id: int
    webhook: int
    attempts: int
    failures: int


class Dispatcher:
    """Posts the events of one database; ``database`` has a dispatcher's login."""

    def __init__(self, database: Database, config: WebhooksConfig, *, master: bytes) -> None:
        """Read the certificates receivers are verified with; raises ConfigError."""
        self._database = database
        self._config = config
        self._master = master
        self._context = _context(config.ca_file)
        self._threads = ThreadPoolExecutor(config.at_once, thread_name_prefix="webhook")
        self._receivers: dict[int, Receiver] = {}
        self._flying: dict[Future[Outcome], tuple[_Event, Post]] = {}
        self._next_take = self._next_bury = float("-inf")
        self._problem = ""
        self.sent = Sent()

    @classmethod
    def from_config(cls, config: Config, database: Database) -> Dispatcher:
        """Read the master secret; raises ConfigError. Connects to nothing."""
        settings = section(config)
        return cls(database, settings, master=read_master(settings))

    def run_until(self, stop: threading.Event, alive: Callable[[], None]) -> None:
        """Work until ``stop`` is set, then let what is being posted end; what fails is tried again, and logged once."""
        while not stop.is_set() or self._flying:
            alive()
            try:
                self.step(take=not stop.is_set())
            except ShieldError as error:
                self._note(error.error_id)
                stop.wait(POLL_S)
            else:
                self._note("")

    def run_dry(self) -> Sent:
        """Work until nothing is due; raises DatabaseAway, DatabaseRefused."""
        dry = False
        while not dry:
            busy = bool(self._flying)
            self._next_take = float("-inf")
            dry = not (self.step(take=True) or busy or self._flying)
        return self.sent

    def step(self, *, take: bool) -> int:
        """Take what is due, wait a moment for posts, settle those that ended; returns how many were taken."""
        now = time.monotonic()
        taken = 0
        if take and now >= self._next_bury:
            self._bury()
            self._next_bury = now + BURY_EVERY_S
        if take and now >= self._next_take and len(self._flying) < self._config.at_once:
            taken = self._take()
            self._next_take = now if taken else now + POLL_S
        ended = wait(self._flying, timeout=TICK_S, return_when=FIRST_COMPLETED).done if self._flying else set()
        if not self._flying:
            time.sleep(TICK_S if take and not taken else 0)
        self._abort_overdue()
        self._settle(ended)
        return taken

    def close(self) -> None:
        """End every connection and thread."""
        for _, post in self._flying.values():
            post.abort()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for receiver in self._receivers.values():
            receiver.close()

    def _take(self) -> int:
        config = self._config
        busy = sorted({event.webhook for event, _ in self._flying.values()})
        rows = self._database.call(
            "take_webhook_events", config.at_once_each, config.at_once - len(self._flying), busy,
            config.timeout_s + LEASE_MARGIN_S,
        )  # fmt: skip
        for id_, webhook, tenant, name, url, version, both, failures, attempts, body in rows:
            post = self._post(id_, webhook, url, self._secrets(tenant, name, version, both=both), body.encode())
            self._flying[self._threads.submit(post.run)] = _Event(id_, webhook, attempts, failures), post
        return len(rows)

    def _secrets(self, tenant: str, name: str, version: int, *, both: bool) -> list[bytes]:
        versions = [version, version - 1] if both else [version]
        return [signing.derive(self._master, tenant, name, one) for one in versions]

    def _post(self, id_: int, webhook: int, url: str, secrets: list[bytes], body: bytes) -> Post:
        receiver = self._receivers.get(webhook)
        if receiver is None or receiver.url != url:
            receiver = self._receivers[webhook] = Receiver(url, self._context, self._config.timeout_s)
        return Post(receiver, body, signing.headers(secrets, f"evt_{id_}", int(time.time()), body))

    def _abort_overdue(self) -> None:
        latest = time.monotonic() - self._config.timeout_s
        for _, post in self._flying.values():
            if 0 < post.began < latest:
                post.abort()

    def _settle(self, ended: set[Future[Outcome]]) -> None:
        """Write down what became of posts; what cannot be written stays in flight and is written at the next step."""
        outcomes = {future: future.result() for future in ended}
        well = [future for future, outcome in outcomes.items() if not outcome.problem]
        if well:
            self._database.call("webhook_taken", [self._flying[future][0].id for future in well])
            self.sent.taken += len(well)
            for future in well:
                del self._flying[future]
        for future in outcomes.keys() - set(well):
            self._fail(self._flying[future][0], outcomes[future])
            del self._flying[future]

    def _fail(self, event: _Event, outcome: Outcome) -> None:
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - it spreads attempts, nothing more
        if outcome.unwell:
            pause_s = min(FIRST_PAUSE_S * 2 ** min(event.failures, 10), MOST_PAUSE_S) * jitter
            pause_s = max(pause_s, outcome.retry_after_s)
            self._database.call("webhook_failed", event.id, outcome.problem, pause_s, pause_s, False)
        else:
            dead = event.attempts >= MOST_REFUSALS
            wait_s = min(FIRST_WAIT_S * 2 ** min(event.attempts - 1, 10), MOST_WAIT_S) * jitter
            self._database.call("webhook_failed", event.id, outcome.problem, wait_s, None, dead)
            self.sent.given_up += dead
        self.sent.failed += 1

    def _bury(self) -> None:
        ((given_up, _),) = self._database.call(
            "bury_webhook_events", self._config.give_up_h * HOUR_S, self._config.keep_dead_days * DAY_S
        )
        self.sent.given_up += given_up
        if given_up:
            LOG.warning("dispatcher.given_up", extra={"fields": {"events": given_up}})

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            fields = {"error_id": problem} if problem else {}
            LOG.warning("dispatcher.problem" if problem else "dispatcher.well", extra={"fields": fields})
        self._problem = problem


def section(config: Config) -> WebhooksConfig:
    """Return the [webhooks] of a configuration; raises ConfigError."""
    if config.webhooks is None:
        raise ConfigError(source="file", problem="it has no [webhooks], which the dispatcher needs")
    return config.webhooks


def read_master(config: WebhooksConfig) -> bytes:
    """Read the master secret of signatures; raises ConfigError."""
    return read_secret("secret", config.secret, table="[webhooks] ")


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        problem = f"{ca_file} cannot be read as certificates ({error.strerror or type(error).__name__})"
        raise ConfigError(source="[webhooks] ca_file", problem=problem) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
