"""What authorising a call and redeeming its permit cost with 10 thousand tokens and with 10 million.

    python benchmarks/vault_calls.py [--small 10000] [--big 10000000] [--calls 2000] [--rounds 5] [--plans]

Two clusters of the same settings; rounds alternate between them, so that whatever else the machine does meets both. The
rows are made up by the server (tokens, aliases, ciphertext of the right size that opens to nothing, blind indexes): the
call path reads them as it reads real ones. CPU is that of the backends alone. `--plans` prints the plans and buffers of
one call's statements in the big one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import re
import secrets
import statistics
import time
from typing import Any

from vault_bench import DOMAIN, Bench, bench, cpu_s
from vault_rows import fill_tokens, token

WANTED_RATIO = 1.2
AUTHORISE = (
    "SELECT verdict FROM shield_api.authorize_call(gen_random_uuid(), %s, %s, %s, NULL, NULL, %s, 'carrier', 'edge',"
    " NULL, NULL)"
)
REDEEM = (
    "SELECT octet_length(ciphertext) FROM shield_api.redeem_permits(ARRAY[%s], ARRAY[%s], '{carrier}', '{edge}', '{NULL}',"
    " false)"
)
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_analyze = on;
SET auto_explain.log_buffers = on; SET auto_explain.log_timing = off; SET client_min_messages = log;
"""


class Side:
    """One size: a cluster, a worker's and a resolver's connection, and what its rounds took."""

    def __init__(self, made: Bench, rows: int) -> None:
        self.made, self.rows = made, rows
        self.worker, self.resolver = (made.connect(made.login(role)) for role in ("worker", "resolver"))
        self.cpu_us: list[float] = []
        self.wall_us: list[float] = []

    def round(self, calls: int) -> None:
        """Authorise and redeem for tokens drawn at random over all of them."""
        pids = self.worker.info.backend_pid, self.resolver.info.backend_pid
        drawn = [token(random.randrange(self.rows)) for _ in range(calls)]
        before, started = sum(map(cpu_s, pids)), time.perf_counter()
        with self.worker.cursor() as worker, self.resolver.cursor() as resolver:
            for at, dialled in enumerate(drawn):
                call(worker, resolver, dialled, f"agent{at % 500}")
        self.wall_us.append((time.perf_counter() - started) / calls * 1e6)
        self.cpu_us.append((sum(map(cpu_s, pids)) - before) / calls * 1e6)

    def plans(self) -> list[str]:
        """Give the plans of one call's statements, with the nodes that ran."""
        found = []
        for role, work in (("worker", self._authorise), ("resolver", self._redeem)):
            with contextlib.closing(self.made.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(EXPLAIN)
                cursor.execute(f"SET SESSION AUTHORIZATION bench_{role}")
                for _ in range(2):  # the second time shows no catalog reads of a fresh session
                    connection.notices.clear()
                    work(cursor)
                found += [notice.split("plan:\n", 1)[1] for notice in connection.notices if "plan:\n" in notice]
        return [re.sub(r"\n?[^\n]*never executed[^\n]*(\n +(Index|Filter|Heap)[^\n]*)*", "", plan) for plan in found]

    def _authorise(self, cursor: Any) -> None:
        self._digest = secrets.token_bytes(32)
        cursor.execute(AUTHORISE, (DOMAIN, "agent1", token(7), self._digest))

    def _redeem(self, cursor: Any) -> None:
        with self.worker.cursor() as worker:
            self._authorise(worker)
        cursor.execute(REDEEM, (self._digest, token(7)))


def call(worker: Any, resolver: Any, dialled: str, agent: str) -> None:
    """One call's two statements."""
    digest = hashlib.sha256(secrets.token_bytes(16)).digest()
    worker.execute(AUTHORISE, (DOMAIN, agent, dialled, digest))
    if worker.fetchone() != ("ALLOWED",):
        raise SystemExit("a call was refused")
    resolver.execute(REDEEM, (digest, dialled))
    if resolver.fetchone() != (50,):
        raise SystemExit("a permit was refused")


def main() -> None:
    """Print a line for each size, the ratio of medians and, if asked for, the plans."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--big", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    settings = {"shared_buffers": "4GB"}
    with bench(**settings) as first, bench(**settings) as second:
        sides = [Side(first, options.small), Side(second, options.big)]
        for side in sides:
            print(f"{side.rows} rows filled in {fill_tokens(side.made, side.rows):.0f} s", flush=True)
            side.round(options.calls)
            side.cpu_us.clear()
            side.wall_us.clear()
        for _ in range(options.rounds):
            for side in sides:
                side.round(options.calls)
        for side in sides:
            cpu, wall = statistics.median(side.cpu_us), statistics.median(side.wall_us)
            print(f"{side.rows:>10} rows: authorise + redeem {cpu:6.0f} us CPU, {wall:6.0f} us wall (medians)")
        ratio = statistics.median(b / s for s, b in zip(sides[0].cpu_us, sides[1].cpu_us, strict=True))
        wall_ratio = statistics.median(b / s for s, b in zip(sides[0].wall_us, sides[1].wall_us, strict=True))
        print(f"ratio of interleaved rounds: CPU {ratio:.2f}, wall {wall_ratio:.2f}; wanted {WANTED_RATIO} at most")
        if options.plans:
            print(*sides[1].plans(), sep="\n")


if __name__ == "__main__":
    main()
