"""How fast a call is handed off, against what other event-socket libraries do on the same machine in the same run.

    python benchmarks/handoff.py [--quick] [--minutes 30] [--json FILE] [--markdown docs/performance.md]

A load generator in C plays FreeSWITCH and the edge: it parks calls at a given rate whatever becomes of earlier ones,
counts from when a call should have begun until the bridge command arrives, redeems the call's permit at a resolver and
plays the call to its end. PostgreSQL, one worker, one resolver and the generator share the machine. `--minutes` adds a
soak at 28 calls/s; `--markdown` writes the tables and plots into the document's generated section. It ends with 1 when
a call failed where none may.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from handoff_load import Load, idle_share, null_server, open_files, rss_kib
from handoff_peers import Peer, fetch, running
from handoff_report import markdown, show, table
from handoff_site import Site, site
from vault_calls import CHUNK, FILL

BUSIEST = 28.0  # 100,000 calls an hour
SLOW_US = 2000
SETTLE_S = 3.0
HELD_A_S = 150.0


class Plan(NamedTuple):
    """What a run measures: rates are calls a second, durations seconds."""

    tokens: int
    vaults: tuple[int, ...]
    base_s: int
    rates: tuple[int, ...]
    slow_rates: tuple[int, ...]
    held: int
    held_peers: int
    peer_rates: tuple[int, ...]
    idle_s: int
    run_s: int
    null_rates: tuple[int, ...]


FULL = Plan(
    tokens=100_000, vaults=(100_000, 1_000_000), base_s=40, rates=(200, 400, 600, 800, 1000), slow_rates=(400, 800),
    held=10_000, held_peers=2000, peer_rates=(28, 400, 800), idle_s=15, run_s=10, null_rates=(28, 1000, 2000),
)  # fmt: skip
QUICK = Plan(
    tokens=20_000, vaults=(), base_s=8, rates=(400, 800), slow_rates=(), held=1000, held_peers=300, peer_rates=(28,),
    idle_s=5, run_s=5, null_rates=(1000,),
)  # fmt: skip


def ours(place: Site, plan: Plan) -> dict[str, Any]:
    """Everything that is measured of this product."""
    found: dict[str, Any] = {"commit_ms": place.commit_ms()}
    place.run(BUSIEST, 100)  # the first calls open connections and fill caches
    found["rates"] = [_at(place, BUSIEST, plan.base_s), *(_at(place, rate, plan.run_s) for rate in plan.rates)]
    found["held"] = held(place.load, place.worker.pid, place.worker.port, plan.held, plan.idle_s)
    show("held open", found["held"])
    place.slow_fsync(SLOW_US)
    found["slow_commit_ms"] = place.commit_ms()
    found["slow"] = [_at(place, rate, plan.run_s, "fsync + 2 ms") for rate in (BUSIEST, *plan.slow_rates)]
    place.slow_fsync(0)
    found["vaults"] = []
    for size in plan.vaults:
        _grow(place, plan.tokens, size)
        found["vaults"].append({"tokens": size, "run": _at(place, 200, plan.run_s, f"vault of {size}")})
    return found


def _at(place: Site, rate: float, seconds: int, what: str = "worker") -> dict[str, Any]:
    """One run, its first two seconds not counted."""
    place.made.checkpoint()
    time.sleep(SETTLE_S)
    account = place.run(rate, int(rate * (seconds + 2)), "--warm-up", str(int(rate * 2)))
    show(what, account)
    return account


def _grow(place: Site, tokens: int, size: int) -> None:
    """Add rows the server makes up: nobody dials them, they are only in the way."""
    with contextlib.closing(place.made.connect()) as connection, connection.cursor() as cursor:
        for first in range(tokens, size, CHUNK):
            cursor.execute(FILL, {"first": first, "last": min(first + CHUNK, size) - 1})
        cursor.execute("VACUUM (ANALYZE) shield.tokens, shield.number_refs, shield.aliases")


def held(load: Load, pid: int, port: int, calls: int, idle_s: float) -> dict[str, Any]:
    """Open calls and keep them: memory and idle CPU, then all end at once."""
    before = rss_kib(pid)
    with load.held(port, HELD_A_S, calls) as (up, end):
        time.sleep(SETTLE_S)
        found: dict[str, Any] = {"open": up, "idle_percent": idle_share(pid, idle_s)}
        found["kib_each"] = (rss_kib(pid) - before) / max(up, 1)
        found["account"] = end()
    return found


def generator_limit(load: Load, rates: tuple[int, ...]) -> list[dict[str, Any]]:
    """Measure what the generator reaches against a server that decides nothing."""
    bare, found = Load(load.programs, load.messages, load.tokens), []
    with null_server(load) as port:
        for rate in rates:
            found.append({**bare.run(port, rate, rate * 4, "--warm-up", str(rate)), "rate": rate})
            show("null server", found[-1])
    return found


def peer(load: Load, one: Peer, plan: Plan, folder: Path) -> dict[str, Any]:
    """One library doing the same hand-off, without a database."""
    bare = Load(load.programs, load.messages, load.tokens)
    found: dict[str, Any] = {"name": one.name, "rates": []}
    for rate in plan.peer_rates:
        with running(one, folder) as (_, port):
            bare.run(port, BUSIEST, 30)
            found["rates"].append({**bare.run(port, rate, rate * plan.run_s, "--warm-up", str(rate)), "rate": rate})
        show(one.name, found["rates"][-1])
    with running(one, folder) as (pid, port):
        bare.run(port, BUSIEST, 30)
        found["held"] = held(bare, pid, port, plan.held_peers, plan.idle_s)
    show(one.name, found["held"])
    return found


def soak(place: Site, minutes: float) -> dict[str, Any]:
    """Run 28 calls/s for long; what must stay flat is read after the first tenth and at the end."""
    first = place.run(BUSIEST, int(BUSIEST * minutes * 6))
    before = _grown(place)
    last = place.run(BUSIEST, int(BUSIEST * minutes * 54))
    show("soak", last)
    return {
        "minutes": minutes,
        "failed": first["failed"] + last["failed"],
        "before": before,
        "after": _grown(place),
        "run": last,
    }


def _grown(place: Site) -> dict[str, int]:
    return {
        "worker_rss_kib": rss_kib(place.worker.pid),
        "resolver_rss_kib": rss_kib(place.resolver.pid),
        "worker_files": open_files(place.worker.pid),
        "resolver_files": open_files(place.resolver.pid),
        "connections": place.connections(),
    }


def main() -> None:
    """Run the plan, print a line as each part ends, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two minutes: fewer rates, fewer calls held")
    parser.add_argument("--minutes", type=float, default=0, help="a soak of so many minutes after the rest")
    parser.add_argument("--no-peers", action="store_true", help="fetch no other library")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    parser.add_argument("--markdown", type=Path, help="replace the generated section of this document")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    found: dict[str, Any] = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="minutes")}
    with tempfile.TemporaryDirectory(prefix="esl-shield-handoff-") as name:
        folder = Path(name)
        with site(plan.tokens, folder) as place:
            found["machine"] = place.made.described
            found["null"] = generator_limit(place.load, plan.null_rates)
            found["ours"] = ours(place, plan)
            load = place.load
            peers = [] if options.no_peers else fetch(folder)
            found["peers"] = [peer(load, one, plan, folder) for one in peers]
            if options.minutes:
                found["soak"] = soak(place, options.minutes)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.markdown:
        markdown(found, options.markdown)
    runs = [*found["ours"]["rates"], *([found["soak"]["run"]] if options.minutes else [])]
    lost = sum(run["failed"] for run in runs if run["rate"] == BUSIEST)
    if lost:
        sys.exit(f"{lost} calls failed at {BUSIEST:g} calls/s")


if __name__ == "__main__":
    main()
