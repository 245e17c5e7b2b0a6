"""What the sealer publishes: its seals, and figures of the whole site that only the database knows.

Invariants: those of ``metrics``; a figure nobody read again is not published any more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from esl_shield.service.metrics import NUMBER, OTHER, Bounded, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_KINDS = 200


class SealerMetrics(Metrics):
    """How far the audit trail is sealed, and what only the database knows of the whole site."""

    def __init__(self) -> None:
        super().__init__("sealer")
        self._active = self.gauge("esl_shield_sealer_active")
        self._lag = self.gauge("esl_shield_sealer_lag_seconds")
        self._waiting = self.gauge("esl_shield_sealer_waiting_events")
        self._held = self.gauge("esl_shield_sealer_held_events")
        self._unexported = self.gauge("esl_shield_sealer_unexported_heads")
        self._blocks = self.counter("esl_shield_sealer_blocks_total")
        self._events = self.counter("esl_shield_sealer_events_total")
        self._failures = self.counter("esl_shield_sealer_failures_total")
        self._kinds = Bounded(MOST_KINDS)
        self._figures = {
            figure: self.gauge(f"esl_shield_site_{figure}")
            for figure in (
                *("permits", "tokens", "locked", "rekeying_tokens", "rekeyed_tokens"),
                *("webhook_waiting_events", "webhook_oldest_waiting_seconds", "webhook_dead_events"),
            )
        }
        self._read_at = self.gauge("esl_shield_site_figures_timestamp_seconds")

    def active(self, *, mine: bool) -> None:
        """Say whether this process seals."""
        self._active.set(mine)

    def sealed(self, kinds: Mapping[str, int]) -> None:
        """Count one block's events by kind, unless there was nothing to seal."""
        if kinds:
            self._blocks.inc()
        for kind, events in kinds.items():
            self._events.labels(self._kinds.learn(kind)).inc(events)

    def behind(self, lag_s: float, waiting: int, held: int) -> None:
        """Say how far behind the seals are."""
        self._lag.set(lag_s)
        self._waiting.set(waiting)
        self._held.set(held)

    def unexported(self, to: str, heads: int) -> None:
        """Say how many heads wait, for ``file`` or ``url``."""
        self._unexported.labels(to).set(heads)

    def failed(self, what: str) -> None:
        """Count a failure."""
        self._failures.labels(what).inc()

    def site(self, rows: Iterable[tuple[str, str, float]]) -> None:
        """Publish figures of the whole site, each with its label, in place of those before."""
        for gauge in self._figures.values():
            gauge.clear()
        seen: dict[tuple[str, str], float] = {}
        for figure, label, value in rows:
            key = figure, OTHER if NUMBER.search(label) else label
            known = seen.get(key, 0.0)
            seen[key] = max(known, value) if figure.endswith("_seconds") else known + value
        for (figure, label), value in seen.items():
            self._figures[figure].labels(label).set(value)
        self._read_at.set(time.time())
