"""What the vault's benchmarks share: a PostgreSQL of their own, a tenant, logins, and what is printed of the machine.

The cluster's files lie in the folder TMPDIR names: put them on the disk that is to be measured. fsync is on; the other
settings are what a server of some gigabytes has, and are printed with the time one fsync takes there.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.embedded import ADMIN, EmbeddedPostgres
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.logins import make_login
from esl_shield.db.upgrade import make_roles, upgrade
from esl_shield.vault.keys import create_kek, open_kek
from esl_shield.vault.provisioning import Caps, NewTenant, add_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.vault.keys import Kek

SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",
}
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", *SETTINGS)
TENANT, DOMAIN, PREFIX, LENGTH = "bench", "bench.example", "91", 16
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Bench:
    """One cluster with a tenant; ``folder`` holds its configuration files and what a benchmark writes."""

    postgres: EmbeddedPostgres
    folder: Path
    kek: Kek
    described: list[str] = field(default_factory=list)
    _numbers: int = 0

    @property
    def admin(self) -> DatabaseConfig:
        """The administrator's login."""
        return DatabaseConfig(self.postgres.url(), connect_timeout_s=5, statement_timeout_s=600)

    def connect(self, login: DatabaseConfig | None = None) -> Any:
        """Open a plain connection in autocommit."""
        user = login.url.split("//")[1].split(":")[0] if login else ADMIN
        connection = psycopg2.connect(
            host=str(self.postgres.socket_folder), user=user, password=self.postgres.password(user), dbname="postgres"
        )
        connection.autocommit = True
        return connection

    def login(self, role: str) -> DatabaseConfig:
        """Make a login of this role, without a limit to its rate."""
        name = f"bench_{role}"
        make_login(sqlalchemy_engine(self.admin), name, self.postgres.password(name), role=role, tenants=None)
        return DatabaseConfig(self.postgres.url(name), connect_timeout_s=5, statement_timeout_s=60)

    def config(self, login: DatabaseConfig, more: str = "") -> Path:
        """Write a role's configuration."""
        self._numbers += 1
        path = self.folder / f"role{self._numbers}.toml"
        path.write_text(f'[database]\nurl = "{login.url}"\n[keys]\nkek = "file:{self.folder}/kek"\n{more}')
        path.chmod(0o600)
        return path

    def checkpoint(self) -> None:
        """Write out what an earlier run left, so that it does not count against the next."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")

    def server_cpu_s(self) -> float:
        """CPU seconds of all the cluster's processes so far, those that ended included."""
        return tree_cpu_s(self.postgres.pid)


@contextlib.contextmanager
def bench(binaries: Path | None = None, **settings: str) -> Iterator[Bench]:
    """Run a cluster with our schema and a tenant, gone afterwards; prints machine and settings.

    ``binaries`` is a folder with ``initdb`` and ``postgres``; by default what is installed.
    """
    with tempfile.TemporaryDirectory(prefix="esl-shield-bench-") as name:
        folder = Path(name)
        postgres = EmbeddedPostgres(binaries=binaries, settings={**SETTINGS, **settings})
        with postgres:
            engine = sqlalchemy_engine(DatabaseConfig(postgres.url()))
            make_roles(engine)
            upgrade(engine)
            create_kek(f"file:{folder}/kek")
            made = Bench(postgres, folder, open_kek(f"file:{folder}/kek"))
            tenant = NewTenant(TENANT, DOMAIN, PREFIX, LENGTH, "CN", Caps(None, None, None))
            add_tenant(made.admin, made.kek, tenant)
            describe(made)
            yield made


def describe(made: Bench) -> None:
    """Print the machine, the server's settings and how long an fsync takes; the lines stay in ``described``."""
    with contextlib.closing(made.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s) AS name", (list(SHOWN),))
        shown = dict(cursor.fetchall())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    made.described = [
        f"machine     {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}",
        f"load        {os.getloadavg()[0]:.1f} before the first run (0 is a machine to itself)",
        f"Python      {platform.python_version()}",
        f"PostgreSQL  {', '.join(f'{name}={shown[name]}' for name in SHOWN)}",
        f"fsync       {fsync_ms(made.postgres.folder):.2f} ms for 8 kB, median of 50, in {made.postgres.folder.parent}",
    ]
    print(*made.described, sep="\n", flush=True)


def fsync_ms(folder: Path) -> float:
    """Measure the median time of one 8 kB write and fsync in a folder."""
    path, times = folder / "fsync.bench", []
    with path.open("wb") as file:
        for _ in range(50):
            started = time.perf_counter()
            file.write(bytes(8192))
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return statistics.median(times)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _children(pid: int) -> list[int]:
    text = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in text.split()]


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children, running and waited for."""
    return sum(cpu_s(each) for each in (pid, *_children(pid)))


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and the children it waited for; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS
