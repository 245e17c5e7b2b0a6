"""Months of calls, their agents and audit events: made before they come, detached when retention is over.

Invariants: one step is one transaction that waits for its locks a fifth of a second, so a call never waits for
housekeeping longer; of many housekeepers one works at a time; what is busy is left for the next run; nothing is
dropped unless the configuration says so, and under a legal hold nothing is even detached. A database that is away ends
a run, not the housekeeper.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from esl_shield.config.values import Address
from esl_shield.db.engine import Database
from esl_shield.errors.database import DatabaseAway, DatabaseRefused, LoginRefused, RightMissing

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.database import DatabaseConfig
    from esl_shield.config.retention import RetentionConfig

LOG = logging.getLogger(__name__)

FUNCTION = "keep_months"
NEEDS = "a housekeeper"
BUSY = "busy"
OTHER = "another housekeeper or an erasure"
MOST_STEPS = 1000
JITTER = 0.1
# Making a month with rows that strayed into the default partition takes longer than a call may wait.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Step:
    """What was done (made, detached, dropped) or not (busy, kept), and with which partition."""

    step: str
    name: str


class Housekeeper:
    """Keeps the months as one configuration wants them; ``database`` has a housekeeper's login and NEEDS it."""

    def __init__(self, database: Database, retention: RetentionConfig) -> None:
        self._database = database
        self._retention = retention

    def run(self, *, dry_run: bool = False) -> list[Step]:
        """Take every step there is to take, or say which these would be.

        Raises RightMissing, DatabaseAway, DatabaseRefused.
        """
        steps: list[Step] = []
        while len(steps) < MOST_STEPS:
            rows = self._ask([step.name for step in steps], dry_run=dry_run)
            if not rows:
                break
            steps.append(Step(*rows[0]))
            if steps[-1] == Step(BUSY, OTHER):
                break
        return steps

    def _ask(self, done: list[str], *, dry_run: bool) -> list[tuple[str, str]]:
        keep = self._retention
        return self._database.call(
            FUNCTION, keep.months_ahead, keep.calls_months, keep.audit_months, not keep.legal_hold,
            keep.drop and not keep.legal_hold, done, dry_run,
        )  # fmt: skip


class HousekeeperService:
    """Keeps house until it is stopped: at the start, and then about every ``every_s`` seconds."""

    def __init__(self, config: Config, every_s: float) -> None:
        self._database = Database(patient(config.database), application_name="esl-shield housekeeping", needs=NEEDS)
        self._housekeeper = Housekeeper(self._database, config.retention)
        self._every_s = every_s
        self._stopping = Event()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    @property
    def address(self) -> Address:
        """It listens nowhere."""
        return Address("127.0.0.1", 0)

    def start(self) -> None:
        """Keep house once, then go on; raises RightMissing, LoginRefused. A database that is away is waited for."""
        self._keep(may_refuse=True)
        self._greenlet = gevent.spawn(self._repeat)

    def stop(self, drain_s: float) -> int:
        """Finish the step under way within ``drain_s`` seconds; one that is cut off is rolled back and done again."""
        self._stopping.set()
        if self._greenlet is not None:
            self._greenlet.join(drain_s)
            self._greenlet.kill()
        self._database.close()
        return 0

    def hasten(self) -> None:
        """Let the step under way finish: it is short."""

    def _repeat(self) -> None:
        # Spread, so that the housekeepers of several machines do not always meet.
        while not self._stopping.wait(self._every_s * random.uniform(1 - JITTER, 1 + JITTER)):  # noqa: S311
            self._keep()

    def _keep(self, *, may_refuse: bool = False) -> None:
        try:
            for step in self._housekeeper.run():
                LOG.info("housekeeping.step", extra={"fields": {"step": step.step, "partition": step.name}})
        except (RightMissing, LoginRefused) as error:
            if may_refuse:
                raise
            self._complain(error.error_id)
        except (DatabaseAway, DatabaseRefused) as error:
            self._complain(error.error_id)

    @staticmethod
    def _complain(error_id: str) -> None:
        LOG.warning("housekeeping.failed", extra={"fields": {"error_id": error_id}})


def patient(database: DatabaseConfig) -> DatabaseConfig:
    """Return the database as a housekeeper asks it."""
    return dataclasses.replace(database, pool_size=1, statement_timeout_s=PATIENCE_S)
