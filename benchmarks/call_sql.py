"""What each statement of a call costs PostgreSQL: CPU of the backends, beside a committed one-row insert as the anchor.

    python benchmarks/call_sql.py [--tokens 20000] [--calls 1000] [--rounds 5] [--together 1]

Each round takes so many calls through all their statements, first all authorisations, then all redemptions and so on, and
writes as many rows of the anchor; the medians of the rounds are printed, and their ratio to the anchor, which other work
on the machine leaves about as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import secrets
import statistics
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg2.extras import Json
from vault_bench import DOMAIN, Bench, bench
from vault_calls import FILL, _token

ANCHOR = "anchor"
STATEMENTS = {
    "authorize_dial": (
        "SELECT * FROM shield_api.authorize_dial(%(call)s, %(domain)s, %(agent)s, %(token)s, NULL, NULL, %(digest)s,"
        " 'carrier', 'edge', %(leg)s, %(channel)s)"
    ),
    "redeem_permits": (
        "SELECT * FROM shield_api.redeem_permits(ARRAY[%(digest)s], ARRAY[%(token)s], ARRAY['carrier'], ARRAY['edge'],"
        " ARRAY[%(leg)s], false)"
    ),
    "calls_answered": "SELECT * FROM shield_api.calls_answered(%(answers)s)",
    "finish_calls": "SELECT * FROM shield_api.finish_calls(%(ends)s)",
    ANCHOR: "INSERT INTO bench_anchor VALUES (%(call)s, %(token)s)",
}


def main() -> None:
    """Print a line for each statement and their sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--together", type=int, default=1, help="answers and ends in one statement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with bench() as made:
        _fill(made, options.tokens)
        connections = {name: made.connect(_login(made, name)) for name in STATEMENTS}
        rounds = [_round(connections, options) for _ in range(options.rounds + 1)][1:]
    spent = {name: statistics.median(each[name] for each in rounds) for name in STATEMENTS}
    anchor = spent.pop(ANCHOR)
    for name, cpu_us in {**spent, "a call": sum(spent.values()), ANCHOR: anchor}.items():
        print(f"{name:16} {cpu_us:6.0f} us CPU, {cpu_us / anchor:5.2f} anchors")


def _fill(made: Bench, tokens: int) -> None:
    with made.connect() as connection, connection.cursor() as cursor:
        cursor.execute(FILL, {"first": 0, "last": tokens - 1})
        cursor.execute("CREATE TABLE bench_anchor (id uuid PRIMARY KEY, token text)")
        cursor.execute("UPDATE shield.token_space SET tokens = %s", (tokens,))
    with made.connect().cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) shield.tokens, shield.number_refs, shield.aliases")


def _login(made: Bench, name: str) -> Any:
    return None if name == ANCHOR else made.login("resolver" if name == "redeem_permits" else "worker")


def _round(connections: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    calls = [
        {
            "call": str(uuid.uuid4()), "channel": str(uuid.uuid4()), "leg": str(uuid.uuid4()), "domain": DOMAIN,
            "agent": f"agent{random.randrange(500)}", "token": _token(random.randrange(options.tokens)),
            "digest": hashlib.sha256(secrets.token_bytes(16)).digest(),
        }
        for _ in range(options.calls)
    ]  # fmt: skip
    return {name: _cost_us(connections[name], name, calls, options.together) for name in STATEMENTS}


def _told(name: str, calls: list[dict[str, Any]], together: int) -> list[dict[str, Any]]:
    """Group what is told of calls in the background as a busy worker does."""
    now = datetime.now(UTC).isoformat()
    end = {"state": "COMPLETED", "cause": "NORMAL_CLEARING", "sip_code": 200, "gateway": "carrier", "attempts": 1}
    rows = {
        "calls_answered": [{"call": call["call"], "gateway": "carrier"} for call in calls],
        "finish_calls": [
            {"call": call["call"], **end, "ringing_at": now, "answered_at": now, "ended_at": now} for call in calls
        ],
    }.get(name)
    if rows is None:
        return calls
    groups = [rows[at : at + together] for at in range(0, len(rows), together)]
    return [{"answers": Json(group), "ends": Json(group), "done": len(group)} for group in groups]


def _cost_us(connection: Any, name: str, calls: list[dict[str, Any]], together: int) -> float:
    pid = connection.info.backend_pid
    before = _cpu_ns(pid)
    with connection.cursor() as cursor:
        for told in _told(name, calls, together):
            cursor.execute(STATEMENTS[name], told)
            answer = cursor.fetchone() if name != ANCHOR else ("ALLOWED",)
            if answer is None or (name != "redeem_permits" and answer[0] not in ("ALLOWED", told.get("done"))):
                message = f"{name} refused a call"
                raise SystemExit(message)
    return (_cpu_ns(pid) - before) / len(calls) / 1000


def _cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


if __name__ == "__main__":
    main()
