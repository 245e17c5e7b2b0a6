"""A token bucket for each key.

Invariants: memory is bounded whatever keys are tried; a key that is forgotten for room was idle longest and its bucket
full, or nearly. The rate holds for one process: with two, a key may ask twice as often.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from esl_shield.errors.api import ApiTooMany

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_KEYS = 10_000


class Limits:
    """Lets each key ask ``rate`` times a second, and ``burst`` times at once."""

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, key: bytes) -> None:
        """Take one; raises ApiTooMany with the whole seconds to wait."""
        now = self._clock()
        left, since = self._buckets.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise ApiTooMany(rate=f"{self._rate:g}", seconds=max(1, math.ceil((1 - left) / self._rate)))
