"""The site that is measured: PostgreSQL, a vault of real tokens, one worker and one resolver as an operator runs them."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import secrets
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handoff_load import Load, build
from handoff_messages import write
from vault_bench import DOMAIN, LENGTH, TENANT, Bench, bench, cpu_s
from vault_import import write_csv

from esl_shield.db.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GATEWAY = f'[[gateways]]\nname = "carrier"\ndelivery = "edge"\ncaller_id = ["+862100000000"]\ndomains = ["{DOMAIN}"]\n'
MOST_CALLS = 12_000
READY_S = 60.0
# Runs PostgreSQL with our fsync in front of the C library's; initdb stays as it is.
WRAPPER = '#!/bin/sh\nLD_PRELOAD={library} SLOW_FSYNC={switch} exec {binaries}/postgres "$@"\n'


@dataclass
class Site:
    """One site; ``load`` plays its FreeSWITCH and its edge."""

    made: Bench
    load: Load
    slowness: mmap.mmap
    worker: Process
    resolver: Process

    def slow_fsync(self, us: int) -> None:
        """Make each fsync of the server take so many microseconds longer, from now on."""
        self.slowness[:8] = us.to_bytes(8, "little")

    def commit_ms(self) -> float:
        """Measure the median time of one small durable commit."""
        times = []
        with contextlib.closing(self.made.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS public.commits (at int)")
            for at in range(50):
                started = time.perf_counter()
                cursor.execute("INSERT INTO public.commits VALUES (%s)", (at,))
                times.append((time.perf_counter() - started) * 1000)
        return statistics.median(times)

    def connections(self) -> int:
        """How many connections the worker's and the resolver's logins hold."""
        with contextlib.closing(self.made.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename IN ('bench_worker', 'bench_resolver')")
            return int(cursor.fetchone()[0])

    def run(self, rate: float, calls: int, *more: str) -> dict[str, Any]:
        """Offer calls to the worker; adds each process's CPU microseconds a call to the generator's account."""
        before = self._spent()
        account = self.load.run(self.worker.port, rate, calls, *more)
        spent = {name: after - before[name] for name, after in self._spent().items()}
        account["rate"] = rate
        account["cpu_us"] = {name: round(spent_s / calls * 1e6) for name, spent_s in spent.items()}
        account["cpu_us"]["generator"] = round(account["cpu_s"] / calls * 1e6)
        account["load"] = os.getloadavg()[0]
        return account

    def _spent(self) -> dict[str, float]:
        return {
            "worker": cpu_s(self.worker.pid),
            "resolver": cpu_s(self.resolver.pid),
            "postgresql": self.made.server_cpu_s(),
        }


@dataclass
class Process:
    """A role's process and the port it listens on."""

    pid: int
    port: int


@contextlib.contextmanager
def site(tokens: int, folder: Path) -> Iterator[Site]:
    """Run a site with a vault of so many tokens."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the worker, which inherits it
    folder.chmod(0o755)  # PostgreSQL runs as another user and loads our library
    programs = build(folder / "programs")
    switch = folder / "slow-fsync"
    switch.write_bytes(bytes(mmap.PAGESIZE))
    switch.chmod(0o644)
    with switch.open("r+b") as file, bench(binaries=_wrapped(folder, programs, switch), max_connections="100") as made:
        slowness = mmap.mmap(file.fileno(), 8)
        load = Load(programs, folder / "messages", folder / "tokens")
        load.messages.mkdir()
        write(load.messages, domain=DOMAIN, token_length=LENGTH)
        fill(made, load.tokens, tokens)
        secret = made.folder / "edge-secret"
        secret.write_text(secrets.token_hex(16) + "\n")
        secret.chmod(0o600)
        with (
            running(
                made,
                "resolver",
                f'[resolver]\nlisten = "127.0.0.1:0"\nsecrets = {{ edge = "file:{secret}" }}\n{GATEWAY}',
            ) as r,
            running(made, "worker", f'[esl]\nlisten = "127.0.0.1:0"\nmax_calls = {MOST_CALLS}\n{GATEWAY}') as w,
        ):
            load.resolver = ["--resolver", str(r.port), "--secret", str(secret)]
            yield Site(made, load, slowness, w, r)


def _wrapped(folder: Path, programs: Path, switch: Path) -> Path:
    """Make a folder of binaries whose ``postgres`` has our fsync."""
    binaries, wrapped = find_binaries(), folder / "binaries"
    wrapped.mkdir()
    (wrapped / "initdb").write_text(f'#!/bin/sh\nexec {binaries}/initdb "$@"\n')
    library = programs / "slow_fsync.so"
    (wrapped / "postgres").write_text(WRAPPER.format(library=library, switch=switch, binaries=binaries))
    for name in ("initdb", "postgres"):
        (wrapped / name).chmod(0o755)
    return wrapped


def fill(made: Bench, tokens: Path, count: int) -> None:
    """Import invented numbers as an operator does; writes each token and its number."""
    source, output = made.folder / "in.csv", made.folder / "out.csv"
    write_csv(source, count)
    config, started = made.config(made.login("seeder")), time.perf_counter()
    command = [sys.executable, "-m", "esl_shield", "--config", str(config), "token", "import", str(source)]
    subprocess.run(
        [*command, "--tenant", TENANT, "--quiet", "--output", str(output)], check=True, stdin=subprocess.DEVNULL
    )
    numbers = (line.split(",")[0] for line in source.read_text().splitlines()[1:])
    found = (line.split(",")[1] for line in output.read_text().splitlines()[1:])
    with tokens.open("w", encoding="ascii") as file:
        file.writelines(f"{token},+86{number}\n" for token, number in zip(found, numbers, strict=True))
    with contextlib.closing(made.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) shield.tokens, shield.number_refs, shield.aliases")
    print(f"vault       {count} tokens of real numbers, imported in {time.perf_counter() - started:.0f} s", flush=True)


@contextlib.contextmanager
def running(made: Bench, role: str, more: str) -> Iterator[Process]:
    """Run one of our processes until the block ends; its log is shown when it does not start."""
    path = made.config(made.login(role), more)
    if role == "worker":  # which refuses to start beside a KEK it can read
        path.write_text("".join(line for line in path.open() if not line.startswith(("[keys]", "kek "))))
    log = path.with_suffix(".log")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "esl_shield", "--config", str(path), role], stderr=stderr, stdin=subprocess.DEVNULL
        )
    try:
        yield Process(process.pid, _port(process, log))
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        if process.poll() is None:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if " ready on 127.0.0.1:" in line:
                return int(line.rsplit(":", 1)[1])
        time.sleep(0.05)
    sys.exit(f"not ready: {log.read_text()[-500:]}")
