"""The intake of FreeSWITCH's call records: posts, and files of those that could not be posted.

Invariants: a process without keys; nobody is heard without the secret; of a record only what ``calls.legs`` keeps goes
on, and nothing of it is logged; FreeSWITCH is told 200 only when the database has committed, so what was not taken is
in its spool; a file is removed only after that as well. What waiting cannot mend is refused (4xx) and set aside, what
it can is left (503).
"""

from __future__ import annotations

import base64
import hmac
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

import gevent

from esl_shield.calls import legs
from esl_shield.config.secretfile import read_secret
from esl_shield.db.engine import Database
from esl_shield.db.health import Health, refuse_foreign_right
from esl_shield.errors import ShieldError
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.endings import CdrRejected
from esl_shield.http.healthpages import OK
from esl_shield.http.listener import Listener
from esl_shield.http.messages import Reply, reply
from esl_shield.service.inherited import LISTEN, check
from esl_shield.service.pages import adopted, pages
from esl_shield.service.spool import Spool

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.endings import IntakeConfig
    from esl_shield.config.values import Address
    from esl_shield.http.healthpages import Parts
    from esl_shield.http.messages import Request
    from esl_shield.service.inherited import Inherited
    from esl_shield.service.metrics import IntakeMetrics

LOG = logging.getLogger(__name__)

KEY = "[intake] listen"
SETTLE_S = 1.0
SETTLE_MOST = 200  # in one transaction, for which workers that end such a call wait
_NOBODY = -1


class Observer(Protocol):
    """Whoever counts verdicts."""

    def count(self, verdict: str) -> None:
        """Count one."""


class Records:
    """Takes records, one leg each, into the database; ``database`` has an intake's login."""

    def __init__(self, database: Database, observe: Observer) -> None:
        self._database = database
        self._observe = observe

    def take(self, data: bytes) -> None:
        """Take one record; raises CdrRejected for what is none, DatabaseAway and DatabaseRefused."""
        try:
            rows = self._database.call("take_cdr", *legs.read(data).values())
        except CdrRejected:
            self._observe.count("rejected")
            raise
        except (DatabaseAway, DatabaseRefused):
            self._observe.count("away")
            raise
        for _call, verdict in rows or [(None, "UNKNOWN")]:
            self._observe.count(verdict.lower())

    def settle(self) -> int:
        """Look again at calls that were not clear when their records came; returns how many are now."""
        rows = self._database.call("settle_cdrs", SETTLE_MOST)
        for _call, verdict in rows:
            self._observe.count(verdict.lower())
        return len(rows)

    def ready(self) -> None:
        """Return if records could be taken now; raises LoginMisplaced, DatabaseRefused, DatabaseAway."""
        self._database.call("settle_cdrs", 0)
        refuse_foreign_right(self._database, "intake", "tenant_data_key", _NOBODY, 0)


class _Answer(NamedTuple):
    status: str
    text: str


_TAKEN = _Answer("200 OK", "taken")
_REFUSED = _Answer("401 Unauthorized", "refused")
_AWAY = _Answer("503 Service Unavailable", "away")
_NOT_FOUND = _Answer("404 Not Found", "refused")


class Intake:
    """Takes posts and spooled files until it is stopped."""

    def __init__(
        self, config: Config, intake: IntakeConfig, *, secret: bytes, database: Database, metrics: IntakeMetrics,
        inherited: Inherited,
    ) -> None:  # fmt: skip
        self._database = database
        self._records = Records(database, metrics)
        self._health = Health(self._records.ready)
        self._authorization = b"Basic " + base64.b64encode(intake.user.encode() + b":" + secret)
        listener = inherited.get(LISTEN)
        if listener is not None:
            check(listener, intake.listen, key=KEY)
        self._listener = Listener(intake, self, key=KEY, listener=adopted(listener), max_body_bytes=legs.MAX_BYTES)
        self._spools = [Spool(folder) for folder in intake.spool]
        self._spool_every_s = intake.spool_every_s
        self._problems: dict[str, str] = {}
        self._greenlets: list[gevent.Greenlet[..., None]] = []
        self._pages = pages(config.metrics.listen, inherited, metrics.page, self._parts)
        metrics.watch_databases({"records": database})

    @classmethod
    def from_config(cls, config: Config, metrics: IntakeMetrics, inherited: Inherited | None = None) -> Intake:
        """Read the secret, ask the database; raises ConfigError, LoginMisplaced, DatabaseRefused, not DatabaseAway."""
        intake = section(config)
        secret = read_secret("secret", intake.secret, table="[intake] ")
        made = cls(
            config, intake, secret=secret, database=Database(config.database, application_name="esl-shield intake"),
            metrics=metrics, inherited=inherited or {},
        )  # fmt: skip
        made._health.check()
        return made

    @property
    def address(self) -> Address:
        """Where FreeSWITCH posts."""
        return self._listener.address

    def start(self) -> None:
        """Listen; raises ConfigError when an address cannot be had."""
        self._listener.start()
        if self._pages:
            self._pages.start()
        self._greenlets.append(gevent.spawn(self._settle_forever))
        self._greenlets.extend(gevent.spawn(self._watch, spool) for spool in self._spools)

    def stop(self, drain_s: float) -> int:
        """Take no more; what is under way is finished, the rest FreeSWITCH spools."""
        gevent.killall(self._greenlets)
        self._listener.stop(drain_s)
        if self._pages:
            self._pages.stop()
        self._database.close()
        return 0

    def hasten(self) -> None:
        """Nothing takes long."""

    def answer(self, request: Request, *, closing: bool) -> Reply:
        """Answer one post."""
        answer = self._answer(request)
        close = closing or answer is not _TAKEN
        return Reply(reply(answer.status, answer.text.encode(), close=close), close=close)

    def reject(self, reason: str) -> Reply:
        """Refuse what is no request; a record too long says so."""
        status = "413 Content Too Large" if reason == "body_too_large" else "400 Bad Request"
        return Reply(reply(status, CdrRejected.error_id.encode(), close=True), close=True)

    def turn_away(self) -> Reply:
        """Say 503 to a connection too many."""
        return Reply(reply(_AWAY.status, _AWAY.text.encode(), close=True), close=True)

    def shut_out(self) -> None:
        """Take no note: who is not on the list gets nothing."""

    def _parts(self) -> Parts:
        """Whether records could be taken now."""
        problem = self._health.problem()
        return {"database": problem.error_id if problem else OK}

    def _answer(self, request: Request) -> _Answer:
        if request.method != "POST" or request.target.partition("?")[0] != "/cdr":
            return _NOT_FOUND
        if not hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), self._authorization):
            return _REFUSED
        try:
            self._records.take(request.body)
        except CdrRejected as error:
            LOG.warning("intake.rejected", extra={"fields": {"error_id": error.error_id, "reason": error.reason}})
            return _Answer("400 Bad Request", f"{error.error_id}: {error.reason}")
        except (DatabaseAway, DatabaseRefused) as error:
            self._note("database", error)
            return _AWAY
        self._note("database", None)
        return _TAKEN

    def _settle_forever(self) -> None:
        while True:
            settled = 0
            try:
                settled = self._records.settle()
            except ShieldError as error:
                self._note("database", error)
            gevent.sleep(0 if settled == SETTLE_MOST else SETTLE_S)

    def _watch(self, spool: Spool) -> None:
        while True:
            try:
                spool.sweep(self._records.take)
            except ShieldError as error:
                self._note(spool.folder, error)
            else:
                self._note(spool.folder, None)
            gevent.sleep(self._spool_every_s)

    def _note(self, what: str, error: ShieldError | None) -> None:
        """Log a problem when it begins and when it ends."""
        if error is None:
            if self._problems.pop(what, None):
                LOG.warning("intake.well", extra={"fields": {"what": what}})
        elif self._problems.get(what) != error.error_id:
            self._problems[what] = error.error_id
            LOG.warning("intake.problem", extra={"fields": {"what": what, "error_id": error.error_id}})


def section(config: Config) -> IntakeConfig:
    """Return the [intake] of a configuration; raises ConfigError."""
    if config.intake is None:
        raise ConfigError(source="file", problem="it has no [intake], which the intake needs")
    return config.intake
