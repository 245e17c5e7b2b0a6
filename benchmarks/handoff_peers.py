"""Other event-socket libraries doing the same hand-off, without a database: fetched into a folder, run, gone afterwards.

What cannot be had here (no Node, no package) is said and left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

APPS = Path(__file__).parent / "peers"
FETCH_S = 240.0
START_S = 30.0


class Peer(NamedTuple):
    """One library: its name with the version, and the command that runs its application on a port."""

    name: str
    command: list[str]
    environment: dict[str, str]


def fetch(folder: Path) -> Iterator[Peer]:
    """Fetch each library and yield it; prints which are missing and why."""
    for fetched in (_python("greenswitch", folder), _python("genesis", folder), _node("drachtio-modesl", folder)):
        if isinstance(fetched, Peer):
            yield fetched
        else:
            print(f"left out    {fetched}", flush=True)


def _python(package: str, folder: Path) -> Peer | str:
    place = folder / package
    if problem := _run([sys.executable, "-m", "venv", str(place)]):
        return f"{package}: {problem}"
    python = str(place / "bin" / "python")
    if problem := _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]):
        return f"{package}: {problem}"
    ask = f"import importlib.metadata as m; print(m.version('{package}'))"
    version = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    return Peer(f"{package} {version}", [python, str(APPS / f"{package}_app.py")], {})


def _node(package: str, folder: Path) -> Peer | str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return f"{package}: there is no Node here (Debian: nodejs, npm)"
    place = folder / package
    place.mkdir()
    if problem := _run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(place), package]):
        return f"{package}: {problem}"
    ask = f"console.log(require('{place}/node_modules/{package}/package.json').version)"
    version = subprocess.run([node, "-e", ask], capture_output=True, text=True, check=True).stdout.strip()
    command = [node, "--no-deprecation", str(APPS / "modesl_app.js")]
    return Peer(f"{package} {version}", command, {"NODE_PATH": str(place / "node_modules")})


def _run(command: list[str]) -> str:
    """Run a command; returns what is wrong, nothing if all is well."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=FETCH_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"not fetched within {FETCH_S:.0f} s"
    return (done.stderr.strip().splitlines() or ["it failed"])[-1] if done.returncode else ""


@contextlib.contextmanager
def running(peer: Peer, folder: Path) -> Iterator[tuple[int, int]]:
    """Run a peer's application; yields its process id and port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            [*peer.command, str(port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, **peer.environment}, cwd=folder,
        )  # fmt: skip
    try:
        _wait(process, port, folder / "peer.log")
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.1)
    sys.exit(f"a peer did not start: {log.read_text()[-500:]}")
