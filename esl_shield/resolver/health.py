"""Whether this resolver could redeem a permit now.

Invariants: however many ask, the database is asked at most once in MAX_AGE_S and by one greenlet at a time; an answer
older than that is never given as fresh. The KEK was opened before the resolver came up, so only the database can go.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gevent.lock import BoundedSemaphore

from esl_shield.errors import DatabaseAway

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.resolver.redeem import Functions

MAX_AGE_S = 1.0
_NO_TENANT = -1


class Health:
    """Asks the database with a question that has no rows for an answer."""

    def __init__(self, database: Functions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._asking = BoundedSemaphore(1)
        self._asked_at = float("-inf")
        self._is_well = False

    def is_well(self) -> bool:
        """Say whether the database answers."""
        with self._asking:
            if self._clock() - self._asked_at >= MAX_AGE_S:
                self._is_well = self._ask()
                self._asked_at = self._clock()
            return self._is_well

    def _ask(self) -> bool:
        try:
            self._database.call("tenant_data_key", _NO_TENANT, 0)
        except DatabaseAway:
            return False
        return True
