"""What each process publishes, out of the catalogue.

Invariants: each process has a registry of its own; a label holds only what ``catalogue`` allows, whatever is passed
here: a cause nobody listed is ``OTHER``, a tenant beyond the bound or with a number in its domain is ``other``.
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from esl_shield import __version__
from esl_shield.calls.states import CAUSES, Elsewhere
from esl_shield.service.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric as Family

    from esl_shield.calls.states import Cause
    from esl_shield.config.resolver import ResolverConfig
    from esl_shield.db.engine import Database
    from esl_shield.resolver.app import Resolver
    from esl_shield.resolver.methods.choice import Methods

OTHER = "other"
DOWN_AFTER = 3  # attempts in a row
NUMBER = re.compile(r"[0-9]{7}")

disable_created_metrics()  # type: ignore[no-untyped-call]


class Bounded:
    """A label's values: the first ``most`` that come, and ``other`` for the rest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def learn(self, value: str) -> str:
        """Return the label of a value that may have one of its own."""
        if len(self._known) < self._most and value and not NUMBER.search(value):
            self._known.add(value)
        return self.of(value)

    def of(self, value: str) -> str:
        """Return the label of a value nobody vouches for."""
        return value if value in self._known else OTHER


class Metrics:
    """A registry with what the operating system knows of the process."""

    def __init__(self, role: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self.gauge("esl_shield_build_info").labels(role, __version__).set(1)

    def page(self) -> bytes:
        """Spell all metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def counter(self, name: str) -> Counter:
        """Make a counter of the catalogue."""
        metric = CATALOGUE[name]
        return Counter(name, metric.meaning, metric.labels, registry=self.registry)

    def gauge(self, name: str) -> Gauge:
        """Make a gauge of the catalogue."""
        metric = CATALOGUE[name]
        return Gauge(name, metric.meaning, metric.labels, registry=self.registry)

    def histogram(self, name: str) -> Histogram:
        """Make a histogram of the catalogue."""
        metric = CATALOGUE[name]
        return Histogram(name, metric.meaning, metric.labels, buckets=metric.buckets, registry=self.registry)

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Publish a number that is read when the page is asked for."""
        self.gauge(name).set_function(read)

    def watch_databases(self, databases: Mapping[str, Database]) -> None:
        """Publish what pools do, each under its name."""
        self.registry.register(_Pools(databases))


class _Pools:
    """Reads pools' figures when the page is asked for, so that a statement pays for additions only."""

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self._databases = databases

    def collect(self) -> Iterator[Family]:
        """Yield the families."""
        for what in ("connections", "connections_in_use", "waiting_calls", "calls", "waits", "wait_seconds", "away"):
            counts = what in ("calls", "waits", "wait_seconds", "away")
            name = f"esl_shield_database_{what}{'_total' if counts else ''}"
            metric = CATALOGUE[name]
            family: Any = CounterMetricFamily if counts else GaugeMetricFamily
            made = family(name, metric.meaning, labels=metric.labels)
            for pool, database in self._databases.items():
                made.add_metric([pool], getattr(database.usage, what))
            yield made


class ResolverMetrics(Metrics):
    """What the resolver answered and how fast."""

    def __init__(self) -> None:
        super().__init__("resolver")
        # prometheus_client takes long to find a child by its labels, which are a fixed few words.
        self._answers_of = cache(self.counter("esl_shield_resolver_answers_total").labels)
        self._seconds_of = cache(self.histogram("esl_shield_resolver_answer_seconds").labels)
        self._ciphertexts_of = cache(self.counter("esl_shield_resolver_ciphertexts_total").labels)
        self._attempts_of = cache(self.counter("esl_shield_resolver_method_attempts_total").labels)
        self._attempt_seconds_of = cache(self.histogram("esl_shield_resolver_method_seconds").labels)

    def attempted(self, method: str, outcome: str, duration_s: float) -> None:
        """Count one attempt of a method; both are words of ours."""
        self._attempts_of(method, outcome).inc()
        self._attempt_seconds_of(method).observe(duration_s)

    def answered(self, answer: str, reason: str, duration_s: float) -> None:
        """Count one answer."""
        self._answers_of(answer, reason).inc()
        self._seconds_of(answer).observe(duration_s)

    def ciphertext(self, what: str) -> None:
        """Count what the journal counts."""
        self._ciphertexts_of(what).inc()

    def watch_resolver(self, resolver: Resolver, config: ResolverConfig) -> None:
        """Publish what it does now."""
        self.watch_databases(dict(zip(("redeeming", "masking"), resolver.databases, strict=False)))
        breakers, methods = self.gauge("esl_shield_resolver_open_breakers"), resolver.methods
        for method in methods.open_breakers:
            breakers.labels(method).set_function(partial(_open_breakers, methods, method))
        self.watch("esl_shield_resolver_open_requests", lambda: resolver.open_requests)
        self.watch("esl_shield_resolver_request_slots", lambda: config.max_requests)
        if journal := resolver.journal:
            self.watch("esl_shield_resolver_journal_unwritten_records", lambda: journal.journal.unwritten)
            self.watch("esl_shield_resolver_journal_failing", lambda: journal.failing)


class IntakeMetrics(Metrics):
    """What records of FreeSWITCH said of our calls."""

    def __init__(self) -> None:
        super().__init__("intake")
        self._records = self.counter("esl_shield_intake_records_total")

    def count(self, verdict: str) -> None:
        """Count one record; ``verdict`` is a word of ours."""
        self._records.labels(verdict).inc()


class ApiMetrics(Metrics):
    """What is asked of the HTTP API, or of the tokeniser."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self._requests = self.counter("esl_shield_api_requests_total")
        self._seconds = self.histogram("esl_shield_api_request_seconds")

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Note one answer; ``operation`` is one of the API's, or none."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)


class WorkerMetrics(Metrics):
    """What one worker does with the calls FreeSWITCH parks into it."""

    def __init__(self, *, tenants: int = 50, gateways: Iterable[str] = ()) -> None:
        super().__init__("worker")
        self._tenants = Bounded(tenants)
        self._calls = self.counter("esl_shield_worker_calls_total")
        self._refusals = self.counter("esl_shield_worker_refusals_total")
        self._handoff_seconds = self.histogram("esl_shield_worker_handoff_seconds")
        self._attempts = self.counter("esl_shield_gateway_attempts_total")
        self._up = self.gauge("esl_shield_gateway_up")
        self._faults = dict.fromkeys(gateways, 0)
        for gateway in self._faults:
            self._up.labels(gateway).set(1)
        self._by_kind = {
            kind: self.counter(f"esl_shield_worker_{name}_total")
            for kind, name in {
                "authorized": "authorizations", "accepted": "inbound_calls", "gone": "gone",
                "failover": "failovers", "passed_on": "passed_on", "connection": "connections",
                "cdr_lost": "record_losses", "unreported": "beats_missed",
            }.items()
        }  # fmt: skip
        self._transfers = self.counter("esl_shield_worker_transfers_total")
        self._delays = self.counter("esl_shield_worker_record_delays_total")

    def count(self, kind: str, reason: str, domain: str = "") -> None:
        """Count one occurrence; ``reason`` is a word of ours or a hangup cause."""
        match kind:
            case "finished":
                self._calls.labels(self._tenants.of(domain), reason.lower()).inc()
                if reason == "REFUSED":  # by the destination rules; we refused the others before they were calls
                    self._refusals.labels("destination").inc()
            case "refused":
                self._calls.labels(self._tenants.of(domain), kind).inc()
                self._refusals.labels(reason).inc()
            case "transferred":
                self._transfers.inc()
            case "cdr_delayed":
                self._delays.inc()
            case "failover" | "passed_on":
                self._by_kind[kind].labels(_cause(reason)).inc()
            case _:
                if domain:
                    self._tenants.learn(domain)
                self._by_kind[kind].labels(reason).inc()

    def attempted(self, gateway: str, cause: Cause | None) -> None:
        """Count an attempt that was answered (None) or failed, and judge the gateway by it."""
        self._attempts.labels(gateway, _cause(cause.name) if cause else "answered").inc()
        own_fault = cause is not None and cause.elsewhere is Elsewhere.ALWAYS
        self._faults[gateway] = self._faults.get(gateway, 0) + 1 if own_fault else 0
        self._up.labels(gateway).set(self._faults[gateway] < DOWN_AFTER)

    def handed_off(self, duration_s: float) -> None:
        """Record how long FreeSWITCH waited for its bridge command."""
        self._handoff_seconds.observe(duration_s)


def _open_breakers(methods: Methods, method: str) -> int:
    return methods.open_breakers[method]


def _cause(name: str) -> str:
    return name if name in CAUSES else OTHER.upper()
