"""How many distinct numbers a second `esl-shield token import` takes, and how much memory, with each cipher library.

    python benchmarks/vault_import.py [--rows 1000000] [--small 100000] [--rounds 3] [--known]

The command is run as an operator runs it: a process, a CSV of `number,alias`, fsync on. Beside it COPY of the same
rows into a table without keys, in the same cluster. `--known` imports, instead, files that are there in part.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from vault_bench import TENANT, Bench, bench

from esl_shield.vault import cipher
from esl_shield.vault.seeding import BATCH_ROWS

if TYPE_CHECKING:
    from pathlib import Path

ANCHORS = "published: Skyflow's loader 9,800 records/s, Alibaba 5,000 binds/s"
WANTED = {"pycryptodome": 15_000, "cryptography [fast]": 30_000}
WITHOUT_FAST = """
import sys; sys.modules["cryptography"] = None
from esl_shield.cli.main import main; main()
"""


class Run(NamedTuple):
    """One import: what it took."""

    rows: int
    wall_s: float
    client_cpu_s: float
    server_cpu_s: float
    max_rss_mb: float


def write_csv(path: Path, rows: int, *, part: int = 0, known: int = 0) -> None:
    """Write distinct invented mobile numbers in random order, aliases with them; each part has others.

    With ``known``, the first row of each so many is the part's before, as it was there.
    """
    picked = random.Random(rows).sample(range(45_000_000), rows)
    with path.open("w", encoding="ascii") as file:
        file.write("number,alias\n")
        for at, n in enumerate(picked):
            mine = part - 1 if known and at % known == 0 else part
            file.write(f"138{10_000_000 + n + 45_000_000 * mine},C{mine}-{at}\n")


def run_import(made: Bench, config: Path, source: Path, *, fast: bool, rows: int) -> Run:
    """Import a file in a process of its own."""
    arguments = ["--config", str(config), "token", "import", str(source), "--tenant", TENANT, "--quiet"]
    start = [sys.executable, "-m", "esl_shield"] if fast else [sys.executable, "-c", WITHOUT_FAST]
    output = made.folder / "out.csv"
    before, started = made.server_cpu_s(), time.perf_counter()
    process = subprocess.Popen([*start, *arguments, "--output", str(output)], stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the import ended with {process.returncode}")
    lines = sum(1 for _ in output.open("rb")) - 1
    if lines != rows:
        sys.exit(f"{lines} rows came out of {rows}")
    output.unlink()
    return Run(rows, wall_s, usage.ru_utime + usage.ru_stime, made.server_cpu_s() - before, usage.ru_maxrss / 1024)


def empty(made: Bench) -> None:
    """Take all tokens out again and settle the server."""
    with made.connect() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE shield.aliases, shield.number_refs, shield.tokens")
        cursor.execute("UPDATE shield.token_space SET tokens = 0")
    connection.close()
    checkpoint(made)


def checkpoint(made: Bench) -> None:
    """Write out what earlier runs left, so that it does not count against the next."""
    connection = made.connect()
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    connection.close()


def copied(made: Bench, source: Path, rows: int) -> Run:
    """COPY the file into a table without keys."""
    connection = made.connect()
    with connection.cursor() as cursor, source.open("rb") as file:
        cursor.execute("CREATE TABLE IF NOT EXISTS public.plain (number text, alias text)")
        cursor.execute("TRUNCATE public.plain")
        before, started = made.server_cpu_s(), time.perf_counter()
        cursor.copy_expert("COPY public.plain FROM STDIN (FORMAT csv, HEADER)", file)
        wall_s = time.perf_counter() - started
    connection.close()
    return Run(rows, wall_s, 0.0, made.server_cpu_s() - before, 0.0)


def show(name: str, run: Run) -> None:
    """Print one line."""
    each = 1e6 / run.rows
    cpu = f"{run.client_cpu_s * each:5.1f} + {run.server_cpu_s * each:5.1f}"
    print(
        f"{name:28} {run.rows:>9} {run.rows / run.wall_s:>9.0f} rows/s {run.wall_s:>7.1f} s  CPU us/row {cpu}"
        f"  {run.max_rss_mb:6.0f} MB"
    )


def known(made: Bench, config: Path, rows: int) -> None:
    """Import a file, the same again, and one in which a number of each batch is known."""
    source = made.folder / "in.csv"
    empty(made)
    for name, options in (
        ("all new", {"part": 0}),
        ("the same again", {"part": 0}),
        ("one known in each batch", {"part": 1, "known": BATCH_ROWS}),
    ):
        write_csv(source, rows, **options)
        checkpoint(made)
        show(name, run_import(made, config, source, fast=cipher.FAST, rows=rows))


def main() -> None:
    """Print a line for each run and what was wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000, help="a smaller import, whose memory is compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--known", action="store_true", help="files whose numbers are there in part, in place of all this"
    )
    options = parser.parse_args()
    with bench() as made:
        config = made.config(made.login("seeder"))
        if options.known:
            for _ in range(options.rounds):
                known(made, config, options.rows)
            return
        runs: dict[str, list[Run]] = {}
        memory: dict[str, list[float]] = {}
        print(f"{'':28} {'rows':>9} {'':>16} {'wall':>9}  {'client + server':>25}  max RSS")
        for _ in range(options.rounds):
            for rows in (options.small, options.rows):
                source = made.folder / "in.csv"
                write_csv(source, rows)
                show("\\copy, no keys", copied(made, source, rows))
                for name, fast in (("pycryptodome", False), ("cryptography [fast]", True)):
                    if fast and not cipher.FAST:
                        print("cryptography [fast]: not installed")
                        continue
                    empty(made)
                    run = run_import(made, config, source, fast=fast, rows=rows)
                    show(name, run)
                    memory.setdefault(name, []).append(run.max_rss_mb)
                    if rows == options.rows:
                        runs.setdefault(name, []).append(run)
        for name, made_runs in runs.items():
            rates = [run.rows / run.wall_s for run in made_runs]
            grown = max(memory[name]) - min(memory[name])
            print(
                f"{name}: {statistics.median(rates):.0f} rows/s, median of {len(rates)}"
                f" ({min(rates):.0f} to {max(rates):.0f}), wanted {WANTED[name]}"
            )
            print(f"  memory differs by {grown:.0f} MB; load {os.getloadavg()[0]:.1f} after the last run; {ANCHORS}")


if __name__ == "__main__":
    main()
