"""Months of calls, their agents and audit events: made before they come, detached when retention is over.

Invariants: one step is one transaction that waits for its locks a fifth of a second, so a call never waits for
housekeeping longer; of many housekeepers one works at a time; what is busy is left for the next run; nothing is
dropped unless the configuration says so, and under a legal hold nothing is even detached. A database that is away ends
a run, not the housekeeper.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.errors.database import DatabaseAway, DatabaseRefused

if TYPE_CHECKING:
    import threading

    from esl_shield.config.retention import RetentionConfig
    from esl_shield.db.engine import Database

LOG = logging.getLogger(__name__)

FUNCTION = "keep_months"
NEEDS = "a housekeeper"
BUSY = "busy"
OTHER = "another housekeeper"
MOST_STEPS = 1000
JITTER = 0.1


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

    def run_until(self, stop: threading.Event, every_s: float) -> None:
        """Run now and then again about every ``every_s`` seconds until ``stop`` is set; raises RightMissing."""
        while True:
            try:
                for step in self.run():
                    LOG.info("housekeeping.step", extra={"fields": {"step": step.step, "partition": step.name}})
            except (DatabaseAway, DatabaseRefused) as error:
                LOG.warning("housekeeping.failed", extra={"fields": {"error_id": error.error_id}})
            # Spread, so that the housekeepers of several machines do not always meet.
            if stop.wait(every_s * random.uniform(1 - JITTER, 1 + JITTER)):  # noqa: S311 - not a secret
                return

    def _ask(self, done: list[str], *, dry_run: bool) -> list[tuple[str, str]]:
        keep = self._retention
        return self._database.call(
            FUNCTION, keep.months_ahead, keep.calls_months, keep.audit_months, not keep.legal_hold,
            keep.drop and not keep.legal_hold, done, dry_run,
        )  # fmt: skip
