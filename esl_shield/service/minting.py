"""Watches what workers' logins mint: permits nobody redeems, or somebody else does, are a stolen login's.

Invariants: who is locked is decided in the database; here it is only asked, about the events of the last window; a
login that is spared because it is one of the last is logged each time, never silently.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config.endings import MintingConfig
    from esl_shield.db.engine import Database

LOG = logging.getLogger(__name__)


class MintWatch:
    """Asks every ``every_s`` seconds; ``database`` has a reaper's login."""

    def __init__(
        self, database: Database, config: MintingConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._config = config
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()

    def look(self) -> None:
        """Look at the window if it is time to; raises DatabaseAway, DatabaseRefused."""
        now, config = self._clock(), self._config
        if self._marks and now < self._marks[-1][0] + config.every_s:
            return
        self._marks.append((now, int(self._database.call("mint_mark")[0][0])))
        while len(self._marks) > 1 and self._marks[1][0] <= now - config.window_s:
            self._marks.popleft()
        rows = self._database.call(
            "watch_minting", self._marks[0][1], config.least, config.unredeemed, config.elsewhere, config.lock_all
        )
        for login, calls, unredeemed, elsewhere, verdict in rows:
            fields = {"login": login, "calls": calls, "unredeemed": unredeemed, "elsewhere": elsewhere}
            LOG.warning("minting.locked" if verdict == "LOCKED" else "minting.spared", extra={"fields": fields})
