"""A circuit breaker: what failed several times in a row is left alone for a while, then tried by one caller.

Invariants: closed, it lets everybody through; open, nobody; after its rest it lets one through, whose success closes
it and whose failure opens it again; an attempt that was let through is settled once, however it ended.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 5
REST_S = 2.0


class Breaker:
    """Opens after ``failures`` in a row for ``rest_s`` seconds."""

    def __init__(
        self, *, failures: int = FAILURES, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether it has opened and no attempt succeeded since."""
        return self._opened_at is not None

    def admit(self) -> bool:
        """Let an attempt through or not; one that was is settled later."""
        if self._opened_at is None:
            return True
        if self._trying or self._clock() < self._opened_at + self._rest_s:
            return False
        self._trying = True
        return True

    def settle(self, *, well: bool) -> None:
        """Say how an attempt that was let through ended."""
        self._trying = False
        if well:
            self._failures, self._opened_at = 0, None
            return
        self._failures += 1
        if self._failures >= self._most:
            self._opened_at = self._clock()
