"""What a call costs each process: CPU of worker, resolver and database, memory while it is open, bytes it leaves.

    python benchmarks/call_cost.py [--calls 1000] [--open 500]

A whole site is made in a folder of its own; calls come from the double of FreeSWITCH, edge delivery, answered and hung
up. CPU is user and system time out of /proc, so other work on the machine does not count; the double is a process of
its own and not counted.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import gevent
import psycopg2
from gevent.pool import Pool
from sqlalchemy.engine import make_url
from vault_bench import cpu_s

from esl_shield.esl import double
from esl_shield.esl.double import Agent, Call, Carrier, Gateway
from esl_shield.tryout.site import Site, Tenant

TENANT = Tenant("shop", "shop.example", "81", "GB")
GATEWAYS = '[[gateways]]\nname = "edge-a"\ndelivery = "edge"\n'
AT_ONCE = 20
TOKENS = 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--open", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Site(folder, [TENANT], GATEWAYS, {"resolver": '[destinations]\ncountries = ["GB"]\n'}) as site:
            measure(site, seed(site, folder), given.calls, given.open)


def seed(site: Site, folder: Path) -> list[str]:
    """Import numbers of fiction without caps; returns their tokens."""
    source, target = folder / "customers.csv", folder / "tokens.csv"
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([("number",), *((f"+4420794601{i:02d}",) for i in range(TOKENS))])
    site.run("seeder", "token", "import", str(source), "--tenant", TENANT.name, "--output", str(target))
    with target.open(newline="") as file:
        return [row["token"] for row in csv.DictReader(file)]


def measure(site: Site, tokens: list[str], calls: int, held: int) -> None:
    """Place calls and print what they took."""
    worker, resolver = site.start("worker"), site.start("resolver")
    redeem = double.HttpRedeem(
        f"http://{resolver.address}/redeem", edge_secret=site.edge_secret.encode(), lua_secret=site.lua_secret.encode()
    )
    url = make_url(site.postgres.url())
    database = psycopg2.connect(host=url.query["host"], user=url.username, password=url.password, dbname=url.database)
    database.autocommit = True
    cursor = database.cursor()
    cursor.execute("SELECT shield_api.set_caps('shop', NULL, NULL, NULL)")

    def ask(statement: str) -> int:
        cursor.execute(statement)
        return int(cursor.fetchone()[0])

    def place(position: int, talk_s: float) -> None:
        call = Call(
            tokens[position % TOKENS], Agent(domain=TENANT.domain),
            gateways={"edge-a": Gateway(Carrier(after_s=0.01))}, hangs_up_after_s=talk_s,
        )  # fmt: skip
        result = double.play(call, (worker.address.host, worker.address.port), redeem=redeem)
        if not result.bridged:
            message = f"a call was answered {result.status}"
            raise SystemExit(message)

    def run(count: int, at_once: int, talk_s: float) -> None:
        pool = Pool(at_once)
        for greenlet in [pool.spawn(place, position, talk_s) for position in range(count)]:
            greenlet.get()

    def backends() -> float:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE usename LIKE 'site%'")
        return sum(cpu_s(pid) for (pid,) in cursor.fetchall())

    run(200, AT_ONCE, 0.01)
    wal, rows = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')", "SELECT pg_database_size(current_database())"
    before = [cpu_s(worker.popen.pid), cpu_s(resolver.popen.pid), backends(), ask(wal), ask(rows)]
    run(calls, AT_ONCE, 0.01)
    gevent.sleep(1)
    after = [cpu_s(worker.popen.pid), cpu_s(resolver.popen.pid), backends(), ask(wal), ask(rows)]
    spent = [(new - old) / calls for old, new in zip(before, after, strict=True)]
    for name, seconds in zip(("worker", "resolver", "database"), spent, strict=False):
        print(f"{name:10} {seconds * 1000:.2f} ms CPU a call")
    print(f"WAL        {spent[3]:.0f} bytes a call\nrows       {spent[4]:.0f} bytes a call")
    empty = _resident(worker.popen.pid)
    holding = []
    for position in range(held):
        holding.append(gevent.spawn(place, position, 600.0))
        gevent.sleep(0.05)  # a rate the machine takes; the time is not what is measured
    while ask("SELECT count(*) FROM shield.calls WHERE state = 'ANSWERED'") < held:
        gevent.sleep(0.2)
    print(f"open call  {(_resident(worker.popen.pid) - empty) / held / 1024:.1f} KiB of the worker")
    gevent.killall(holding)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    main()
