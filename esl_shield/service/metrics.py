"""Every metric, for Prometheus.

Invariants: a label's values are a fixed few words of ours; none holds a token, an agent, a tenant or a number. Each
process has a registry of its own. Names carry their unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

_CALL_PATH_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class Metrics:
    """A registry with what the operating system knows of the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)

    def page(self) -> bytes:
        """Spell all metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)


class ResolverMetrics(Metrics):
    """What the resolver answered and how fast."""

    def __init__(self) -> None:
        super().__init__()
        self._answers = Counter(
            "esl_shield_resolver_answers",
            "Answers by kind (number, refused, destination, away) and reason.",
            ("answer", "reason"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "esl_shield_resolver_answer_seconds",
            "Time from a read request to its answer.",
            ("answer",),
            buckets=_CALL_PATH_S,
            registry=self.registry,
        )

    def answered(self, answer: str, reason: str, duration_s: float) -> None:
        """Count one answer."""
        self._answers.labels(answer, reason).inc()
        self._seconds.labels(answer).observe(duration_s)


class WorkerMetrics(Metrics):
    """What one worker does with the calls FreeSWITCH parks into it."""

    def __init__(self) -> None:
        super().__init__()
        self._events = Counter(
            "esl_shield_worker_events",
            "What happened to calls by kind (authorized, refused, failover, finished, ...) and reason.",
            ("kind", "reason"),
            registry=self.registry,
        )
        self._handoff_seconds = Histogram(
            "esl_shield_worker_handoff_seconds",
            "Time from the accepted connection to the bridge command.",
            buckets=_CALL_PATH_S,
            registry=self.registry,
        )

    def count(self, kind: str, reason: str) -> None:
        """Count one occurrence; ``reason`` is a word of ours or a hangup cause."""
        self._events.labels(kind, reason).inc()

    def handed_off(self, duration_s: float) -> None:
        """Record how long FreeSWITCH waited for its bridge command."""
        self._handoff_seconds.observe(duration_s)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Publish a number that is read when the page is asked for."""
        Gauge(f"esl_shield_worker_{name}", text, registry=self.registry).set_function(read)
