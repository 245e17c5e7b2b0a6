"""Whether a process could do its work now, as far as the database goes.

Invariants: however many ask, the database is asked at most once in MAX_AGE_S and by one greenlet at a time; an answer
older than that is never given as fresh; whatever is wrong is logged when it begins and when it ends, not each time. The
question is one only the process's own role may ask, so a wrong password, a wrong role, a missing right, a schema that
was not upgraded and a database that is away are all seen.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from gevent.lock import BoundedSemaphore

from esl_shield.errors import ShieldError
from esl_shield.errors.database import NO_RIGHT, DatabaseAway, DatabaseRefused, LoginMisplaced

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.db.engine import Database

MAX_AGE_S = 1.0

LOG = logging.getLogger(__name__)


class Health:
    """Asks a question that raises a ShieldError when the process could not do its work."""

    def __init__(self, ask: Callable[[], object], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._asking = BoundedSemaphore(1)
        self._asked_at = float("-inf")
        self._problem: ShieldError | None = None

    def is_well(self) -> bool:
        """Say whether the process could do its work."""
        with self._asking:
            if self._clock() - self._asked_at >= MAX_AGE_S:
                self._keep(self._problem_now())
            return self._problem is None

    def check(self) -> bool:
        """Say the same before the process begins; raises what will not mend by itself: all but DatabaseAway."""
        problem = self._problem_now()
        if problem is not None and not isinstance(problem, DatabaseAway):
            raise problem
        self._keep(problem)
        return problem is None

    def _keep(self, problem: ShieldError | None) -> None:
        self._tell(problem)
        self._problem = problem
        self._asked_at = self._clock()

    def _problem_now(self) -> ShieldError | None:
        try:
            self._ask()
        except ShieldError as error:
            return error
        return None

    def _tell(self, problem: ShieldError | None) -> None:
        if problem is None:
            if self._problem is not None:
                LOG.warning("health.well")
        elif self._problem is None or self._problem.error_id != problem.error_id:
            fields = {"error_id": problem.error_id, "problem": problem.args[0]}
            LOG.warning("health.unwell", extra={"fields": fields})


def refuse_foreign_right(database: Database, process: str, function: str, *arguments: object) -> None:
    """Call another role's function, which must be refused.

    Raises LoginMisplaced when it is not, DatabaseAway, and DatabaseRefused when it is for any other reason.
    """
    try:
        database.call(function, *arguments)
    except DatabaseRefused as error:
        if error.sqlstate != NO_RIGHT:
            raise
    else:
        raise LoginMisplaced(process=process, function=f"shield_api.{function}")
