"""A whole site in one folder: database, keys, tenant, logins, one configuration per role, worker and resolver.

Invariants: it is set up through the same commands an operator types; each role has its own database login and its own
configuration file; worker and resolver are processes of their own; whatever happens, nothing is left running.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from esl_shield.config.values import Address
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.errors.process import SiteFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

DATABASE = "postgres"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 300.0
MINT_PER_S = 2000


class Tenant(NamedTuple):
    """What ``tenant add`` is told."""

    name: str
    domain: str
    prefix: str
    region: str


class Process(NamedTuple):
    """A running role and the address its ready line named."""

    popen: subprocess.Popen[bytes]
    address: Address
    log: Path


class Site:
    """A context manager; ``folder`` holds everything the site writes except the database cluster.

    ``gateways`` is TOML with the ``[[gateways]]`` tables, ``extra`` further TOML by role.
    """

    def __init__(self, folder: Path, tenants: Sequence[Tenant], gateways: str, extra: dict[str, str]) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres()
        self.lua_secret = secrets.token_hex(32)
        self.edge_secret = secrets.token_hex(32)
        self._tenants = tenants
        self._gateways = gateways
        self._extra = extra
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, then the database."""
        for name in list(self._processes):
            self.stop(name)
        self.postgres.stop()

    def run(self, role: str, *arguments: str, stdin: str = "") -> str:
        """Run one command with a role's configuration; returns its stdout. Raises SiteFailed with its last line."""
        done = subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, "-m", "esl_shield", "--config", str(self.config(role)), *arguments],
            input=stdin, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        with (self.folder / "commands.log").open("a") as log:
            log.write(done.stderr)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it said nothing"]
            raise SiteFailed(step=f"esl-shield {' '.join(arguments[:2])}", problem=lines[-1])
        return done.stdout

    def start(self, role: str, *, config: Path | None = None, name: str = "") -> Process:
        """Start ``worker`` or ``resolver`` and wait for its ready line; raises SiteFailed.

        A second process of a role needs a ``name`` of its own, and may have a ``config`` of its own.
        """
        name = name or role
        log = self.folder / f"{name}.log"
        with log.open("ab") as stderr:
            began = stderr.tell()
            popen = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "esl_shield", "--config", str(config or self.config(role)), role],
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True,
            )  # fmt: skip
        process = Process(popen, self._ready(role, popen, log, began), log)
        self._processes[name] = process
        return process

    def stop(self, name: str) -> int:
        """Ask a process to drain and wait for it; returns its exit code."""
        popen = self._processes.pop(name).popen
        popen.send_signal(signal.SIGTERM)
        try:
            return popen.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            return popen.wait()

    def url(self, role: str) -> str:
        """Return the database URL of a role's login, for tests that look at the site as that login."""
        return self.postgres.url(f"site_{role}", DATABASE)

    def config(self, role: str) -> Path:
        """Return the path of a role's configuration."""
        return self.folder / f"{role}.toml"

    def _set_up(self) -> None:
        self.postgres.start()
        for name, secret in (("lua", self.lua_secret), ("edge", self.edge_secret)):
            self._write(f"{name}.secret", secret + "\n")
        self._write_config("admin", self.postgres.url(dbname=DATABASE), keys=True)
        for arguments in (("db", "roles"), ("db", "upgrade"), ("keys", "init")):
            self.run("admin", *arguments)
        for tenant in self._tenants:
            self._add(tenant)
        for role in ("worker", "resolver", "seeder", "auditor"):
            self._add_login(role)

    def _add(self, tenant: Tenant) -> None:
        self.run(
            "admin", "tenant", "add", tenant.name,
            "--domain", tenant.domain, "--prefix", tenant.prefix, "--region", tenant.region,
        )  # fmt: skip

    def _add_login(self, role: str) -> None:
        tenants = [word for tenant in self._tenants for word in ("--tenant", tenant.name)]
        user = f"site_{role}"
        # Agents who do not wait for one another call faster than a login may mint by default.
        rate = ("--mint-per-s", str(MINT_PER_S)) if role == "worker" else ()
        password = self.postgres.password(user) + "\n"
        self.run("admin", "db", "login", user, "--role", role, *rate, *tenants, stdin=password)
        self._write_config(role, self.url(role), keys=role in ("resolver", "seeder"))

    def _write_config(self, role: str, url: str, *, keys: bool) -> None:
        parts = [f'[database]\nurl = "{url}"\n']
        if keys:
            parts.append(f'[keys]\nkek = "file:{self.folder / "kek"}"\n')
        if role == "worker":
            # Two hundred calls at once on whatever machine: none is too many.
            parts.append('[esl]\nlisten = "127.0.0.1:0"\nadmission_timeout_s = 60\n')
        if role == "resolver":
            files = ", ".join(f'{name} = "file:{self.folder / name}.secret"' for name in ("edge", "lua"))
            parts.append(f'[resolver]\nlisten = "127.0.0.1:0"\nsecrets = {{ {files} }}\n')
        if role in ("worker", "resolver"):
            parts.append(self._gateways)
        parts.append(self._extra.get(role, ""))
        self._write(f"{role}.toml", "\n".join(parts))

    def _write(self, name: str, text: str) -> None:
        with os.fdopen(os.open(self.folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    def _ready(self, role: str, popen: subprocess.Popen[bytes], log: Path, began: int) -> Address:
        deadline = time.monotonic() + READY_TIMEOUT_S
        marker = f"{role} ready on "
        while time.monotonic() < deadline and popen.poll() is None:
            with log.open() as lines:
                lines.seek(began)
                for line in lines:
                    if line.startswith(marker) and line.endswith("\n"):
                        return Address.parse(line.removeprefix(marker).strip())
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            popen.kill()
        popen.wait()
        said = log.read_text().strip().splitlines() or ["it said nothing"]
        raise SiteFailed(step=f"esl-shield {role}", problem=said[-1])
