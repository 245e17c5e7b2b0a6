"""What a pool of connections does, counted for whoever watches it; one addition each on a statement's way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Usage:
    """Figures of one pool since its process began; the first three are of now."""

    connections: int
    connections_in_use: int = 0
    waiting_calls: int = 0
    calls: int = 0
    waits: int = 0
    wait_seconds: float = 0.0
    away: int = 0
    waiting_since: dict[int, float] = field(default_factory=dict)  # a slot's place in the queue and when it came

    def oldest_wait_s(self) -> float:
        """Return how long the first in the queue has waited for a connection; 0 when nobody waits."""
        for since in self.waiting_since.values():
            return time.monotonic() - since
        return 0.0
