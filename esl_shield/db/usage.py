"""What a pool of connections does, counted for whoever watches it; one addition each on a statement's way."""

from __future__ import annotations

from dataclasses import dataclass


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
