"""How long to wait before a process that died is started again."""

from __future__ import annotations

import random

FIRST_S = 0.2
STEADY_S = 30.0


class Backoff:
    """Doubles from FIRST_S to ``most_s``, less up to a half by chance, and begins anew after STEADY_S of good work."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self.deaths = 0  # one after another, without good work between

    def pause_s(self, worked_s: float, *, refused: bool) -> float:
        """Return the seconds to wait after a death; ``refused`` one that starting again does not mend (exit code 2)."""
        self.deaths = 1 if worked_s >= STEADY_S else self.deaths + 1
        if refused:
            return self._most_s
        # 1 << 30 is beyond any cap, and a process that dies for months makes no float overflow
        longest = min(self._most_s, FIRST_S * float(1 << min(self.deaths - 1, 30)))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
