"""How long each question of docs/dba.md takes in a vault of ten million tokens and millions of calls.

    python benchmarks/vault_questions.py [--tokens 10000000] [--calls 3000000] [--days 10] [--rounds 3]

The rows are made up by the server; calls are spread evenly over the last days, with the events a real call leaves. Each
question is asked as an auditor. The anchor is the time a plain count of all events takes, which an index has to beat.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import time
from pathlib import Path
from typing import Any

from vault_bench import bench
from vault_rows import fill_calls, fill_tokens

PAGE = Path(__file__).parents[1] / "docs" / "dba.md"
QUESTION = re.compile(r"^\*\*(.+?)\*\*[^\n]*\n\n```sql\n(.*?)```", re.MULTILINE | re.DOTALL)
ANCHOR = "SELECT count(*) FROM dba.audit_events"


def questions() -> dict[str, str]:
    """Return the page's SQL by question, in its order, after the anchor."""
    found = QUESTION.findall(PAGE.read_text(encoding="utf-8").split("## Questions\n")[1])
    return {"(anchor: how many events are there at all?)": ANCHOR, **dict(found)}


def ask(cursor: Any, sql: str) -> tuple[float, int]:
    """Return how long an answer took, in seconds, and how many rows it had."""
    started = time.perf_counter()
    cursor.execute(sql)
    rows = cursor.fetchall()
    return time.perf_counter() - started, len(rows)


def main() -> None:
    """Print a line for each question: the median of its rounds, the first, and the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=3_000_000)
    parser.add_argument("--days", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plans", action="store_true", help="print how each question was answered")
    options = parser.parse_args()
    with bench() as made:
        print(f"{options.tokens} tokens filled in {fill_tokens(made, options.tokens):.0f} s", flush=True)
        took_s = fill_calls(made, options.calls, options.days, options.tokens)
        print(f"{options.calls} calls of {options.days:g} days filled in {took_s:.0f} s", flush=True)
        auditor = made.login("auditor")
        for question, sql in questions().items():
            with contextlib.closing(made.connect(auditor)) as connection, connection.cursor() as cursor:
                answers = [ask(cursor, sql) for _ in range(options.rounds)]
                median_s = statistics.median(took_s for took_s, _ in answers)
                print(
                    f"{median_s:9.3f} s  {answers[0][0]:9.3f} s first  {answers[0][1]:>8} rows  {question}", flush=True
                )
                if options.plans:
                    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {sql}")
                    print(*(f"    {line}" for (line,) in cursor.fetchall()), sep="\n")


if __name__ == "__main__":
    main()
