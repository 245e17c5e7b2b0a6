"""What the end-to-end benchmark prints: a line for each run, one table of medians, and what each way holds."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from switch_lab import STATIC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switch_site import Measured

ANSWERED, P99_MS = 0.999, 500.0
PARTS = ("FreeSWITCH", "worker", "resolver", "PostgreSQL", "edge")


def show(run: Measured) -> None:
    """Print one run as it ends."""
    heard = run.heard
    cpu = ", ".join(f"{part} {us}" for part, us in run.cpu_us.items())
    print(
        f"{run.way:8} {run.rate:5d}/s p50 {heard.p50_ms:.1f} p99 {heard.p99_ms:.1f} ms, {heard.failed} of {heard.calls}"
        f" failed; CPU us a call: {cpu}; load {run.load:.1f}",
        flush=True,
    )


def holds(runs: Sequence[Measured]) -> bool:
    """Whether a way holds a rate: by the medians of its rounds nearly all calls are answered and none waits long."""
    return (
        median(runs, lambda run: run.heard.answered / run.heard.calls) >= ANSWERED
        and median(runs, lambda run: run.heard.p99_ms) < P99_MS
    )


def median(runs: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    """Take the median of a figure over rounds."""
    return statistics.median(figure(run) for run in runs)


def table(runs: Sequence[Measured], limit: int) -> str:
    """Write the table: medians of the rounds of each rate and way, and how many times the static way's they are.

    ``limit`` is the highest rate SIPp held against itself, calls a second.
    """
    head = ["way", "calls/s", "PDD p50 ms", "p99 ms", "failed", "of", *(f"{part} us" for part in PARTS), "all us",
            "p50 / static", "p99 / static", "CPU / static", "holds"]  # fmt: skip
    rows = [head, ["---"] * len(head)]
    ways = list(dict.fromkeys(run.way for run in runs))
    held = dict.fromkeys(ways, 0)
    for rate in dict.fromkeys(run.rate for run in runs):
        static = [run for run in runs if (run.way, run.rate) == (STATIC, rate)]
        for way in ways:
            if mine := [run for run in runs if (run.way, run.rate) == (way, rate)]:
                rows.append(_row(mine, static))
                held[way] = rate if holds(mine) else held[way]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    for way in ways:
        ratio = f", {held[way] / held[STATIC]:.2f} of static" if way != STATIC and held[STATIC] else ""
        lines.append(f"{way}: holds {held[way]} calls/s{ratio}")
    lines.append(f"SIPp against itself: holds {limit} calls/s")
    return "\n".join(["", *lines])


def _row(runs: Sequence[Measured], static: Sequence[Measured]) -> list[str]:
    figures: tuple[Callable[[Measured], float], ...] = (
        lambda run: run.heard.p50_ms,
        lambda run: run.heard.p99_ms,
        lambda run: sum(run.cpu_us.values()),
    )
    p50, p99, cpu = (median(runs, figure) for figure in figures)
    ratios = [f"{_ratio(runs, static, figure):.2f}" if static else "" for figure in figures]
    parts = [f"{median(runs, lambda run, part=part: run.cpu_us[part]):.0f}" for part in PARTS]  # type: ignore[misc]
    failed, calls = sum(run.heard.failed for run in runs), sum(run.heard.calls for run in runs)
    return [
        runs[0].way, str(runs[0].rate), f"{p50:.1f}", f"{p99:.1f}", str(failed), str(calls), *parts, f"{cpu:.0f}",
        *ratios, "yes" if holds(runs) else "no",
    ]  # fmt: skip


def _ratio(runs: Sequence[Measured], static: Sequence[Measured], figure: Callable[[Measured], float]) -> float:
    """Compare round by round, each with the static run beside it: what else the machine did weighs on both."""
    pairs = zip(runs, static, strict=True)
    return statistics.median(figure(mine) / figure(theirs) if figure(theirs) else 0.0 for mine, theirs in pairs)
