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
        self._of: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def answered(self, answer: str, reason: str, duration_s: float) -> None:
        """Count one answer."""
        found = self._of.get((answer, reason))
        if found is None:
            found = self._of[answer, reason] = self._answers.labels(answer, reason), self._seconds.labels(answer)
        answers, seconds = found
        answers.inc()
        seconds.observe(duration_s)


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


class SealerMetrics(Metrics):
    """How far the audit trail is sealed."""

    def __init__(self) -> None:
        super().__init__()
        gauge = self._gauge
        self._active = gauge("active", "1 for the sealer that holds the lock, 0 for a stand-by.")
        self._lag = gauge("lag_seconds", "Age of the oldest event that is in no block.")
        self._waiting = gauge("waiting_events", "Events in no block, at most 100000.")
        self._held = gauge("held_events", "Those of them that wait for a transaction still open.")
        self._unexported = Gauge(
            "esl_shield_sealer_unexported_heads",
            "Blocks whose head has not gone to the file or the address yet.",
            ("to",),
            registry=self.registry,
        )
        self._blocks = Counter("esl_shield_sealer_blocks", "Blocks sealed.", registry=self.registry)
        self._events = Counter("esl_shield_sealer_events", "Events sealed.", registry=self.registry)
        self._failures = Counter(
            "esl_shield_sealer_failures",
            "What failed and will be tried again: sealing, heads, sending.",
            ("what",),
            registry=self.registry,
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"esl_shield_sealer_{name}", text, registry=self.registry)

    def active(self, *, mine: bool) -> None:
        """Say whether this process seals."""
        self._active.set(mine)

    def sealed(self, events: int) -> None:
        """Count one block, unless there was nothing to seal."""
        if events:
            self._blocks.inc()
            self._events.inc(events)

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
