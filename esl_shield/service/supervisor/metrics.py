"""What the supervisor counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.service.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping


class SupervisorMetrics(Metrics):
    """Children by role and state, their deaths, reloads."""

    def __init__(self) -> None:
        super().__init__("supervisor")
        self._children = self.gauge("esl_shield_serve_children")
        self._deaths = self.counter("esl_shield_serve_deaths_total")
        self._failing = self.gauge("esl_shield_serve_failing")
        self._reloads = self.counter("esl_shield_serve_reloads_total")

    def population(self, counts: Mapping[tuple[str, str], int], failing: Mapping[str, int]) -> None:
        """Say how many processes there are of each role in each state, and how many of a role keep dying."""
        self._children.clear()
        for labels, count in counts.items():
            self._children.labels(*labels).set(count)
        for role, count in failing.items():
            self._failing.labels(role).set(count)

    def died(self, role: str, reason: str) -> None:
        """Count a process that ended untold."""
        self._deaths.labels(role, reason).inc()

    def reloaded(self, outcome: str) -> None:
        """Count a reload."""
        self._reloads.labels(outcome).inc()
