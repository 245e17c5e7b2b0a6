"""Driving the load generator: building it, running it, reading what it says; CPU and memory of processes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vault_bench import cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCES = Path(__file__).parent / "load"
LONGER_S = 60.0  # than a run's calls last: the generator ends by itself long before


def build(folder: Path) -> Path:
    """Compile the generator and its helpers into a folder; raises CalledProcessError."""
    subprocess.run(
        ["make", "--quiet", "-C", str(SOURCES), f"BUILD={folder.resolve()}"], check=True, stdin=subprocess.DEVNULL
    )
    return folder


@dataclass
class Load:
    """The generator with what every run of it needs: recorded messages, tokens, and how permits are redeemed."""

    programs: Path
    messages: Path
    tokens: Path
    resolver: list[str] = field(default_factory=list)

    def run(self, port: int, rate: float, calls: int, *more: str) -> dict[str, Any]:
        """Offer ``calls`` calls at ``rate`` a second; returns the generator's account."""
        command = self._command(port, rate, calls, *more)
        limit_s = calls / rate + LONGER_S
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=limit_s, stdin=subprocess.DEVNULL)
        account: dict[str, Any] = json.loads(done.stdout)
        return account

    @contextlib.contextmanager
    def held(self, port: int, rate: float, calls: int) -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
        """Open calls and keep them; yields how many are up and what ends them and returns the account."""
        command = self._command(port, rate, calls, "--held", "--hold-ms", "3600000", "--patience-ms", "30000")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if process.stdout is None:
            raise AssertionError

        def end() -> dict[str, Any]:
            process.send_signal(signal.SIGUSR1)
            output, _ = process.communicate(timeout=LONGER_S * 2)
            account: dict[str, Any] = json.loads(output)
            return account

        try:
            yield json.loads(process.stdout.readline())["open"], end
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _command(self, port: int, rate: float, calls: int, *more: str) -> list[str]:
        return [
            str(self.programs / "generator"), "--port", str(port), "--messages", str(self.messages),
            "--tokens", str(self.tokens), "--rate", str(rate), "--calls", str(calls), *self.resolver, *more,
        ]  # fmt: skip


def rss_kib(pid: int) -> int:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def open_files(pid: int) -> int:
    """Open descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def idle_share(pid: int, seconds: float) -> float:
    """How much of a core a process takes over some seconds, in percent."""
    before, started = cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - started) * 100


@contextlib.contextmanager
def null_server(load: Load) -> Iterator[int]:
    """Run the server that decides nothing; yields its port."""
    files = [str(load.messages / name) for name in ("prepare", "bridge")]
    with subprocess.Popen(
        [str(load.programs / "null_server"), *files], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        if process.stdout is None:
            raise AssertionError
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()
