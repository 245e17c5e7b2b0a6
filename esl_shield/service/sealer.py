"""The sealer's process: a look at the database every second, heads out, figures of the site, pages.

Invariants: one connection seals, and its session holds the lock; figures are read over another, by the sealer that
seals; whatever goes wrong is logged when it begins and when it ends, counted, and tried again, save what waiting does
not mend, which ends the process before it is ready; heads that cannot be written or sent stay in the database and go
out later, in order.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from esl_shield.audit.heads import HeadFile
from esl_shield.audit.sealing import Lag, Sealer
from esl_shield.audit.sending import HeadSender
from esl_shield.audit.signing import PublicKey, Signer
from esl_shield.config.secretfile import read_secret
from esl_shield.config.values import Address
from esl_shield.db.engine import Database
from esl_shield.errors import ShieldError
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway
from esl_shield.http.healthpages import OK
from esl_shield.service.pages import pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config import Config
    from esl_shield.config.database import DatabaseConfig
    from esl_shield.config.sealing import SealingConfig
    from esl_shield.http.healthpages import Parts
    from esl_shield.service.inherited import Inherited
    from esl_shield.service.sitemetrics import SealerMetrics

STATEMENT_TIMEOUT_S = 30.0
MOST_BACKOFF_S = 60.0
FIGURES_EVERY_S = 15.0
WELL_WITHIN_S = 30.0  # seals older than this, or a look that takes longer, make /healthz say so

LOG = logging.getLogger(__name__)


class SealerService:
    """Seals until it is stopped."""

    def __init__(
        self, config: Config, sealing: SealingConfig, *, sealer: Sealer, heads: HeadFile, sender: HeadSender | None,
        database: Database, metrics: SealerMetrics, inherited: Inherited,
    ) -> None:  # fmt: skip
        self._sealing = sealing
        self._sealer = sealer
        self._heads = heads
        self._sender = sender
        self._database = database
        self._metrics = metrics
        self._stopping = Event()
        self._problems: dict[str, str] = {}
        self._seals = False
        self._looked_at = time.monotonic()
        self._lag = Lag()
        self._greenlets: list[gevent.Greenlet[..., None]] = []
        self._pages = pages(config.metrics.listen, inherited, metrics.page, self._parts)
        self._tenants = config.metrics.tenants
        self._figures = Database(_one_connection(config), application_name="esl-shield sealer, figures")

    @classmethod
    def from_config(
        cls, config: Config, metrics: SealerMetrics, *, restore_reason: str = "", inherited: Inherited | None = None
    ) -> SealerService:
        """Open the key and the pool; raises ConfigError, SealingKeyUnusable. Connects to nothing."""
        sealing, signer = read_key(config)
        heads = HeadFile(sealing.heads)
        database = Database(_one_connection(config), application_name="esl-shield sealer")
        older = [PublicKey.parse(key, source="[sealing] older_keys") for key in sealing.older_keys]
        sealer = Sealer(
            database, signer, heads, most_events=sealing.most_events, restore_reason=restore_reason, older_keys=older
        )
        return cls(
            config, sealing, sealer=sealer, heads=heads, sender=_sender(config, sealing, signer), database=database,
            metrics=metrics, inherited=inherited or {},
        )  # fmt: skip

    @property
    def address(self) -> Address:
        """Where the pages are; port 0 when there are none."""
        return self._pages.address if self._pages else Address("127.0.0.1", 0)

    def start(self) -> None:
        """Take a first look, then go on every second.

        Raises ConfigError, ChainUnknown, HeadLost, NothingLost, DatabaseRefused and OSError for what waiting does not
        mend. A database that is away is waited for.
        """
        try:
            self._look()
        except DatabaseAway as error:
            self._fail("sealing", error)
        if self._pages:
            self._pages.start()
            figures = gevent.spawn(self._repeat, self._read_figures, "figures", FIGURES_EVERY_S, first_s=0.0)
            self._greenlets.append(figures)
        self._greenlets.append(gevent.spawn(self._repeat, self._look, "sealing", self._sealing.every_s))
        if self._sender:
            self._greenlets.append(gevent.spawn(self._repeat, self._send, "sending", self._sealing.every_s))

    def stop(self, drain_s: float) -> int:
        """Finish the block under way within ``drain_s`` seconds; what is not sealed is sealed by the next sealer."""
        self._stopping.set()
        gevent.joinall(self._greenlets, timeout=drain_s)
        gevent.killall(self._greenlets)
        if self._pages:
            self._pages.stop()
        if self._sender:
            self._sender.close()
        self._figures.close()
        self._database.close()
        return 0

    def hasten(self) -> None:
        """Let the block under way be finished: that takes moments."""

    def _repeat(self, work: Callable[[], bool], what: str, every_s: float, *, first_s: float | None = None) -> None:
        """Do one thing again and again: at once while there is more, ever slower while it fails."""
        pause_s = every_s if first_s is None else first_s
        while not self._stopping.wait(pause_s):
            try:
                pause_s = 0 if work() else every_s
            except (ShieldError, OSError) as error:
                self._fail(what, error)
                pause_s = min(max(pause_s, every_s) * 2, 5.0 if what == "sealing" else MOST_BACKOFF_S)
            else:
                self._untell(what)

    def _look(self) -> bool:
        step = self._sealer.step()
        self._looked_at = time.monotonic()
        self._metrics.active(mine=step.mine)
        self._seals = step.mine
        if not step.mine:
            self._lag = Lag()
            return False
        self._metrics.sealed(step.kinds)
        self._export()
        if not step.full:
            self._lag = self._sealer.lag()
            self._metrics.behind(self._lag.seconds, self._lag.waiting, self._lag.held)
        return step.full

    def _export(self) -> None:
        """Write heads; a file that cannot be written holds up no seal."""
        try:
            self._sealer.export()
            self._metrics.unexported("file", self._sealer.newest - self._heads.written.number)
        except OSError as error:
            self._fail("heads", error)
        else:
            self._untell("heads")

    def _send(self) -> bool:
        """Send what is in the file and was not sent; a stand-by sends nothing."""
        written = self._heads.written
        self._metrics.unexported("url", written.number - written.sent)
        if self._sender is None or not self._sealer.newest or written.sent >= written.number:
            return False
        self._heads.note_sent(self._sender.send(written.sent, written.number))
        return True

    def _read_figures(self) -> bool:
        rows = []
        if self._seals:
            ask, tenants = self._figures.call, self._tenants
            rows = [*ask("site_figures", tenants), *ask("locked_figures"), *ask("webhook_figures", tenants)]
        self._metrics.site(rows)
        return False

    def _parts(self) -> Parts:
        """Whether seals are where they must be: a look under way counts, or a database that hangs would look well."""
        behind = self._lag.seconds + time.monotonic() - self._looked_at > WELL_WITHIN_S
        parts = {what: "failing" if what in self._problems else OK for what in ("sealing", "heads")}
        return parts | {"lag": "behind" if behind else OK}

    def _fail(self, what: str, error: ShieldError | OSError) -> None:
        problem = str(error.args[0]) if isinstance(error, ShieldError) else (error.strerror or type(error).__name__)
        if self._problems.get(what) != problem:
            LOG.warning("sealer.problem", extra={"fields": {"what": what, "problem": problem}})
        self._problems[what] = problem
        self._metrics.failed(what)

    def _untell(self, what: str) -> None:
        if self._problems.pop(what, None) is not None:
            LOG.warning("sealer.well", extra={"fields": {"what": what}})


def read_key(config: Config) -> tuple[SealingConfig, Signer]:
    """Return the section and the key that signs; raises ConfigError, SealingKeyUnusable."""
    sealing = config.sealing
    if sealing is None:
        raise ConfigError(source="file", problem="it has no [sealing], which the sealer needs")
    secret = read_secret("key", sealing.key, table="[sealing] ")
    return sealing, Signer.from_secret(secret, source=sealing.key)


def _one_connection(config: Config) -> DatabaseConfig:
    """Return the database as a process asks it that may wait: one connection, long statements."""
    timeout_s = max(config.database.statement_timeout_s, STATEMENT_TIMEOUT_S)
    return dataclasses.replace(config.database, pool_size=1, statement_timeout_s=timeout_s)


def _sender(config: Config, sealing: SealingConfig, signer: Signer) -> HeadSender | None:
    if sealing.heads_url is None:
        return None
    secret = read_secret("heads_secret", sealing.heads_secret, table="[sealing] ") if sealing.heads_secret else None
    database = Database(_one_connection(config), application_name="esl-shield sealer, heads")
    return HeadSender(sealing.heads_url, secret, database, signer.public.hex)
