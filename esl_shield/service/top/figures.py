"""What a person wants to see, out of two moments' metrics: rates and quantiles of what happened between them.

Invariants: a counter that went down began anew and counts from nothing; a process seen for the first time has no rate
yet; a quantile is None when nothing happened, never a zero; a figure no process published is None.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esl_shield.service.top.pages import Page

_MS = 1000.0


@dataclass(frozen=True)
class Away:
    """A target that said nothing, and why."""

    target: str
    problem: str


@dataclass(frozen=True)
class Figures:
    """One moment's figures: rates a second, times in milliseconds, the rest as it is now."""

    seconds: float = 0.0
    targets: Mapping[str, int] = field(default_factory=dict)  # role -> processes that answered
    away: Sequence[Away] = ()
    handoffs_per_s: float | None = None
    handoff_p50_ms: float | None = None
    handoff_p99_ms: float | None = None
    redemptions_per_s: float | None = None
    redeem_p50_ms: float | None = None
    redeem_p99_ms: float | None = None
    open_calls: float | None = None
    call_slots: float | None = None
    overflow_calls: float | None = None
    untold_records: float | None = None
    connections_in_use: float | None = None
    connections: float | None = None
    waiting_calls: float | None = None
    database_away_per_s: float | None = None
    sealing_lag_s: float | None = None
    outcomes_per_s: Mapping[str, float] = field(default_factory=dict)
    refusals_per_s: Mapping[str, float] = field(default_factory=dict)
    tenants_per_s: Mapping[str, float] = field(default_factory=dict)
    gateways_down: Sequence[str] = ()

    def plain(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


class Moment:
    """What all targets said at one time."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = {page.target: page for page in pages}

    def answering(self) -> list[Page]:
        """Return the pages of targets that answered."""
        return [page for page in self.pages.values() if not page.problem]

    def now(self, name: str, **labels: str) -> float | None:
        """Add a gauge up over all processes; None when none has it."""
        values = [value for page in self.answering() for _, value in page.of(name, **labels)]
        return sum(values) if values else None


def compare(before: Moment, after: Moment) -> Figures:
    """Return what happened between two moments, and what is now."""
    pairs = [
        (old, page) for page in after.answering() if (old := before.pages.get(page.target)) and not old.problem
    ]  # fmt: skip
    handoffs = _histogram(pairs, "esl_shield_worker_handoff_seconds")
    redeems = _histogram(pairs, "esl_shield_resolver_answer_seconds", answer="number")
    roles: dict[str, int] = defaultdict(int)
    for page in after.answering():
        roles[page.role] += 1
    lags = [value for page in after.answering() for _, value in page.of("esl_shield_sealer_lag_seconds")]
    return Figures(
        seconds=round(max((page.at - old.at for old, page in pairs), default=0.0), 3),
        targets=dict(roles),
        away=[Away(page.target, page.problem) for page in after.pages.values() if page.problem],
        handoffs_per_s=_rate(pairs, "esl_shield_worker_handoff_seconds_count"),
        handoff_p50_ms=_quantile(handoffs, 0.5),
        handoff_p99_ms=_quantile(handoffs, 0.99),
        redemptions_per_s=_rate(pairs, "esl_shield_resolver_answer_seconds_count", answer="number"),
        redeem_p50_ms=_quantile(redeems, 0.5),
        redeem_p99_ms=_quantile(redeems, 0.99),
        open_calls=after.now("esl_shield_worker_open_calls"),
        call_slots=after.now("esl_shield_worker_call_slots"),
        overflow_calls=after.now("esl_shield_worker_overflow_calls"),
        untold_records=after.now("esl_shield_worker_untold_records"),
        connections_in_use=after.now("esl_shield_database_connections_in_use"),
        connections=after.now("esl_shield_database_connections"),
        waiting_calls=after.now("esl_shield_database_waiting_calls"),
        database_away_per_s=_rate(pairs, "esl_shield_database_away_total"),
        sealing_lag_s=max(lags, default=None),
        outcomes_per_s=_rates(pairs, "esl_shield_worker_calls_total", "outcome"),
        refusals_per_s=_rates(pairs, "esl_shield_worker_refusals_total", "reason"),
        tenants_per_s=_rates(pairs, "esl_shield_worker_calls_total", "tenant"),
        gateways_down=sorted(
            {
                labels["gateway"]
                for page in after.answering()
                for labels, up in page.of("esl_shield_gateway_up")
                if not up
            }
        ),
    )


_Pairs = list[tuple["Page", "Page"]]


def _since(old: Page, name: str, labels: Mapping[str, str], value: float) -> float:
    """Return how much a counter grew; one that is smaller than before began anew."""
    before = old.values.get((name, tuple(sorted(labels.items()))), 0.0)
    return value - before if value >= before else value


def _rates(pairs: _Pairs, name: str, label: str, **wanted: str) -> dict[str, float]:
    """Return a counter's rates by a label's values, busiest first; those at rest are left out."""
    found: dict[str, float] = defaultdict(float)
    for old, page in pairs:
        for labels, value in page.of(name, **wanted):
            found[labels.get(label, "")] += _since(old, name, labels, value) / _elapsed(old, page)
    busiest = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {key: round(rate, 3) for key, rate in busiest if rate > 0}


def _rate(pairs: _Pairs, name: str, **wanted: str) -> float | None:
    """Return a counter's rate over all processes; None when none that was seen twice has it."""
    if not any(True for _, page in pairs for _ in page.of(name, **wanted)):
        return None
    return round(sum(_rates(pairs, name, "", **wanted).values()), 3)


def _elapsed(old: Page, page: Page) -> float:
    return max(page.at - old.at, 1e-3)


def _histogram(pairs: _Pairs, name: str, **wanted: str) -> list[tuple[float, float]]:
    """Return how many observations fell below each bucket's end, over all processes."""
    ends: dict[float, float] = defaultdict(float)
    for old, page in pairs:
        for labels, value in page.of(f"{name}_bucket", **wanted):
            ends[float(labels["le"])] += _since(old, f"{name}_bucket", labels, value)
    return sorted(ends.items())


def _quantile(buckets: Iterable[tuple[float, float]], share: float) -> float | None:
    """Estimate a quantile in milliseconds as Prometheus does: evenly within its bucket, beyond the last its start."""
    listed = list(buckets)
    total = listed[-1][1] if listed else 0.0
    if not total:
        return None
    below, start = 0.0, 0.0
    for end, count in listed:
        if count >= share * total:
            if end == float("inf"):
                return start * _MS
            return round((start + (end - start) * (share * total - below) / (count - below)) * _MS, 3)
        below, start = count, end
    return None
