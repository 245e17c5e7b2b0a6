"""A tenant, its KEK and the command line as a user runs it: a process, a configuration file, a login for each role."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from esl_shield.vault.keys import create_kek, open_kek
from esl_shield.vault.provisioning import NewTenant, add_tenant
from esl_shield.vault.seeder import Seeder
from esl_shield.vault.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fix_postgres import ShieldDatabase

    from esl_shield.config.database import DatabaseConfig

TENANT = "acme"
ROOT = Path(__file__).resolve().parent.parent


class VaultLab:
    """One test's tenant ``acme`` (prefix 77, 14 digits, region CN) and what a user needs to run commands for it."""

    def __init__(self, database: ShieldDatabase, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.kek_uri = f"file:{folder}/kek"
        create_kek(self.kek_uri)
        self.kek = open_kek(self.kek_uri)
        self.add_tenant(TENANT, "77")
        self.seeder_login = database.login("seeder", tenants=[TENANT])
        self._stores: list[Store] = []

    def add_tenant(self, name: str, prefix: str, length: int = 14, region: str = "CN") -> None:
        """Add a tenant of this name at the domain ``NAME.example``."""
        add_tenant(self.database.admin, self.kek, NewTenant(name, f"{name}.example", prefix, length, region, caps=None))

    def seeder(self, tenant: str = TENANT, login: DatabaseConfig | None = None) -> Seeder:
        """A seeder with a store of its own."""
        store = Store(login or self.seeder_login)
        self._stores.append(store)
        return Seeder(store, self.kek, tenant)

    def config(self, login: DatabaseConfig | None = None, *, keys: bool = True, kek: str | None = None) -> Path:
        """Write the configuration of one role and return its path."""
        path = self.folder / "role.toml"
        section = f'[keys]\nkek = "{kek or self.kek_uri}"\n' if keys else ""
        path.write_text(f'[database]\nurl = "{(login or self.seeder_login).url}"\nconnect_timeout_s = 5\n{section}')
        path.chmod(0o600)
        return path

    def command(self, *arguments: str, config: Path | None = None) -> list[str]:
        """The command line of one run."""
        return [sys.executable, "-m", "esl_shield", "--config", str(config or self.config()), *arguments]

    def run(
        self, *arguments: str, stdin: bytes = b"", config: Path | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(*arguments, config=config), input=stdin, capture_output=True, check=False, cwd=self.folder,
            env=self.environment(), timeout=100, **more,
        )  # fmt: skip
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def run_at_a_terminal(self, *arguments: str, config: Path | None = None) -> tuple[int, bytes]:
        """Run a command whose stderr is a terminal of 100 columns; the exit code, and what it showed there."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        process = subprocess.Popen(
            self.command(*arguments, config=config), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=theirs, env=self.environment(), cwd=self.folder,
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's end of file
            while part := os.read(ours, 10_000):
                shown += part
        os.close(ours)
        return process.wait(timeout=60), shown

    def environment(self) -> dict[str, str]:
        """The environment of commands: this source tree, nothing else of ours."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ESL_SHIELD")}
        return {**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.folder)}

    def write(self, name: str, header: str, rows: Sequence[str]) -> Path:
        """Write a CSV."""
        path = self.folder / name
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    def import_(self, file: Path | str, *more: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``token import`` with the output ``out.csv``."""
        out = str(self.folder / "out.csv")
        return self.run("token", "import", str(file), "--tenant", TENANT, "--output", out, *more, **options)

    def output(self, name: str = "out.csv") -> list[dict[str, str]]:
        """The rows of an output."""
        with (self.folder / name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def count(self, table: str) -> int:
        """How many rows one of our tables has."""
        return int(self.database.query(f"SELECT count(*) FROM shield.{table}")[0][0])

    def imported(self) -> set[int]:
        """How many tokens, numbers and aliases there are, and are counted, in one snapshot: alike if nothing is lost.

        A killed import's server may still commit its last batch, so counts of several statements can differ.
        """
        tables = ", ".join(f"(SELECT count(*) FROM shield.{table})" for table in ("tokens", "number_refs", "aliases"))
        counts = self.database.query(f"SELECT {tables}, (SELECT sum(tokens) FROM shield.token_space)")[0]
        return {int(count) for count in counts}

    def close(self) -> None:
        """Close what this test opened."""
        for store in self._stores:
            store.close()


@pytest.fixture
def vault(database: ShieldDatabase, tmp_path: Path) -> Iterator[VaultLab]:
    lab = VaultLab(database, tmp_path)
    try:
        yield lab
    finally:
        lab.close()
