"""How many permits a second the resolver's own process redeems over HTTP keep-alive.

    python benchmarks/vault_redeem.py [--permits 20000] [--connections 32] [--rounds 3]

Permits are minted in the database beforehand; then each connection of a caller's process posts one after the other, as
an edge does, and every answer is compared with the number it must hold. An edge as shipped has 32 redeemers.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import multiprocessing
import os
import secrets
import select
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

from vault_bench import DOMAIN, TENANT, TICKS, Bench, bench

from esl_shield.vault.seeder import Seeder
from esl_shield.vault.store import Store

WANTED_PER_S = 2500
SECRET = secrets.token_hex(16)
NUMBERS = 1000
GATEWAY = "carrier"
# Long enough that none of them ends before its turn, and redeemed by a function that believes in so long a life.
TTL = """
UPDATE shield.permits SET expires_at = now() + interval '1 hour';
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('shield_api.redeem_permits'::regproc), '''15 seconds''', '''1 hour''');
END
$$
"""


class Permit(NamedTuple):
    """What a caller posts, and what must come back."""

    request: bytes
    number: bytes


def seed(made: Bench) -> dict[str, str]:
    """Seed invented numbers; returns number by token."""
    with contextlib.closing(Store(made.login("seeder"))) as store:
        seeder = Seeder(store, made.kek, TENANT)
        return {seeder.add(f"1380013{n:04d}", None, None)[0]: f"+861380013{n:04d}" for n in range(NUMBERS)}


def mint(made: Bench, numbers: dict[str, str], count: int) -> list[Permit]:
    """Mint permits as a worker does, and let them live long enough."""
    permits, tokens = [], list(numbers)
    with contextlib.closing(made.connect(made.login("worker"))) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        for at in range(count):
            permit, token = secrets.token_hex(16), tokens[at % len(tokens)]
            digest = hashlib.sha256(bytes.fromhex(permit)).digest()
            cursor.execute(
                "SELECT verdict FROM shield_api.authorize_call(gen_random_uuid(), %s, '1001', %s, NULL, NULL, %s, %s,"
                " 'edge', NULL, NULL)",
                (DOMAIN, token, digest, GATEWAY),
            )
            if cursor.fetchone() != ("ALLOWED",):
                sys.exit("a permit was not minted")
            permits.append(Permit(_request(permit, token), numbers[token].encode("ascii")))
            if at % 500 == 0:
                connection.commit()
        connection.commit()
    with contextlib.closing(made.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(TTL)
    return permits


def _request(permit: str, token: str) -> bytes:
    body = urllib.parse.urlencode({"permit": permit, "token": token, "gateway": GATEWAY, "call": "bench@edge"})
    return (
        f"POST /redeem HTTP/1.1\r\nHost: resolver\r\nAuthorization: Bearer {SECRET}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


@contextlib.contextmanager
def resolver(made: Bench) -> Any:
    """Run the resolver as a site does; yields its process and port."""
    secret = made.folder / "edge-secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    config = made.config(
        made.login("resolver"),
        f'[resolver]\nlisten = "127.0.0.1:0"\nsecrets = {{ edge = "file:{secret}" }}\n'
        f'[[gateways]]\nname = "{GATEWAY}"\ndelivery = "edge"\n',
    )
    log = made.folder / "resolver.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "esl_shield", "--config", str(config), "resolver"], stderr=stderr
        )
    try:
        yield process, _port(process, log)
    finally:
        process.terminate()
        process.wait(30)


def _port(process: subprocess.Popen[bytes], log: Any) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if "ready" in line and "127.0.0.1:" in line:
                return int(line.split("127.0.0.1:")[1].split()[0].strip('"'))
        time.sleep(0.05)
    sys.exit(f"the resolver is not ready: {log.read_text()[-500:]}")


def call(port: int, permits: list[Permit], connections: int, answers: Any) -> None:
    """Post all permits over some connections, a request on each at a time; a caller's process, as lean as Python is."""
    poll, left, times, wrong, clock = select.epoll(), iter(permits), [], 0, time.perf_counter
    under_way: dict[int, tuple[socket.socket, Permit, float]] = {}
    spent, started = time.process_time(), clock()
    for permit in itertools.islice(left, connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock.fileno(), select.EPOLLIN)
        under_way[sock.fileno()] = sock, permit, clock()
        sock.send(permit.request)
    while under_way:
        for descriptor, _ in poll.poll():
            sock, permit, began = under_way[descriptor]
            answer = sock.recv(4096)
            times.append(clock() - began)
            wrong += not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n" + permit.number))
            following = next(left, None) if answer else None
            if following is None:
                poll.unregister(descriptor)
                del under_way[descriptor]
            else:
                under_way[descriptor] = sock, following, clock()
                sock.send(following.request)
    answers.put((len(times), wrong, clock() - started, times, time.process_time() - spent))


def main() -> None:
    """Print a line for each round and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--permits", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with bench() as made:
        numbers = seed(made)
        rates = []
        with resolver(made) as (process, port):
            for _ in range(options.rounds):
                permits = mint(made, numbers, options.permits)
                answers: Any = multiprocessing.SimpleQueue()
                before = _cpu(process.pid), made.server_cpu_s()
                caller = multiprocessing.Process(target=call, args=(port, permits, options.connections, answers))
                caller.start()
                count, wrong, wall_s, times, client = answers.get()
                caller.join()
                spent = _cpu(process.pid) - before[0], made.server_cpu_s() - before[1]
                if wrong:
                    sys.exit(f"{wrong} answers of {count} did not hold the number")
                rates.append(count / wall_s)
                cuts = statistics.quantiles(times, n=100)
                together = count / commits(made, permits)
                each = [cpu_s / count * 1e6 for cpu_s in (*spent, client)]
                print(
                    f"{count} permits over {options.connections} connections: {rates[-1]:6.0f}/s, p50 {cuts[49] * 1e3:.2f}"
                    f" p99 {cuts[98] * 1e3:.2f} ms; CPU us each: resolver {each[0]:.0f}, PostgreSQL {each[1]:.0f},"
                    f" client {each[2]:.0f}, on {os.cpu_count()} cores {os.cpu_count() / sum(each) * 1e6:.0f}/s at most;"
                    f" {together:.1f} permits a commit;"
                    f" load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
        print(f"median {statistics.median(rates):.0f}/s, wanted {WANTED_PER_S}/s")


def commits(made: Bench, permits: list[Permit]) -> int:
    """Count the transactions that redeemed the latest permits."""
    with contextlib.closing(made.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT e.xid) FROM (SELECT a.xid FROM shield.audit_events a"
            " WHERE a.kind = 'permit.redeemed' ORDER BY a.id DESC LIMIT %s) e",
            (len(permits),),
        )
        return int(cursor.fetchone()[0])


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


if __name__ == "__main__":
    main()
