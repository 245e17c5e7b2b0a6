"""A live vault with three pgBackRest repositories, in memory where the system lets us: fsync would take the time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from fix_postgres import ShieldDatabase
from polling import until
from vault_lab import TENANT, VaultLab

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.spawning import server_user
from esl_shield.db.upgrade import make_roles, upgrade

if TYPE_CHECKING:
    import datetime as dt
    import pwd
    from collections.abc import Iterator

STANZA = "shield"
MEMORY = Path("/dev/shm")  # noqa: S108
DATABASE = "vault"


class BackupLab:
    """One site: ``numbers()`` are imported in batches, calls go on, three repositories are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user: pwd.struct_passwd = server_user()
        for name in ("", "repo1", "repo2", "repo3", "log", "lock", "spool"):
            (folder / name).mkdir(exist_ok=True)
            os.chown(folder / name, self.user.pw_uid, self.user.pw_gid)
        folder.chmod(0o755)
        hba = self.write("hba.conf", "local all all trust\n")
        settings = {"archive_mode": "on", "archive_timeout": "60", "hba_file": str(hba), "max_wal_size": "128MB"}
        before, tempfile.tempdir = tempfile.tempdir, str(folder.parent)
        try:
            self.cluster = EmbeddedPostgres(settings=settings)
            self.cluster.start()
        finally:
            tempfile.tempdir = before
        self.conf = self.configure("pgbackrest.conf", {n: folder / f"repo{n}" for n in (1, 2, 3)})
        self._make_database()
        self.imported = 0

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o640)
        os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return path

    def configure(self, name: str, repositories: dict[int, Path], *, encrypted: bool = True, more: str = "") -> Path:
        """A configuration of pgBackRest over these repositories."""
        lines = ["[global]", "start-fast=y", "compress-type=lz4", "log-level-file=off", "archive-timeout=20"]
        lines += [f"{kind}-path={self.folder / kind}" for kind in ("log", "lock", "spool")]
        for number, path in repositories.items():
            lines += [f"repo{number}-path={path}", f"repo{number}-retention-full=2"]
            if encrypted:
                lines += [f"repo{number}-cipher-type=aes-256-cbc", f"repo{number}-cipher-pass=pass-phrase-{number}"]
        lines += [f"[{STANZA}]", f"pg1-path={self.cluster.folder / 'data'}", "pg1-user=shield_admin"]
        lines += [f"pg1-socket-path={self.cluster.socket_folder}", f"pg1-database={DATABASE}", more]
        return self.write(name, "\n".join(lines) + "\n")

    def pgbackrest(self, *arguments: str, conf: Path | None = None) -> str:
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        command = ["pgbackrest", f"--config={conf or self.conf}", f"--stanza={STANZA}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=100, **identity)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def back_up(self, kind: str, *repositories: int) -> None:
        for number in repositories:
            self.pgbackrest(f"--repo={number}", f"--type={kind}", "backup")

    def archive(self, command: str) -> None:
        """Have the server archive so."""
        self.database.query(f"ALTER SYSTEM SET archive_command = '{command}'")
        self.database.query("SELECT pg_reload_conf()")

    @property
    def archive_push(self) -> str:
        return f"pgbackrest --config={self.conf} --stanza={STANZA} archive-push %p"

    def archived(self) -> str:
        """End the WAL segment and wait until it is in every repository."""
        # An empty segment is not ended, so this one gets a record.
        name = self.database.query("SELECT pg_walfile_name(pg_create_restore_point('archived'))")[0][0]
        self.database.query("SELECT pg_switch_wal()")
        last = "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver"
        until(lambda: self.database.query(last)[0][0] >= name, f"{name} is archived", within_s=40)
        return str(name)

    def now(self) -> dt.datetime:
        return self.database.query("SELECT clock_timestamp()")[0][0]  # type: ignore[no-any-return]

    def import_numbers(self, count: int) -> None:
        rows = [f"+861380013{8000 + self.imported + n}" for n in range(count)]
        self.imported += count
        file = self.vault.write(f"in-{self.imported}.csv", "number", rows)
        output = self.folder / f"out-{self.imported}.csv"
        done = self.vault.run("token", "import", str(file), "--tenant", TENANT, "--output", str(output))
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def calls_going_on(self) -> Iterator[None]:
        """Authorise calls, one after the other, until the block ends."""
        worker = self.database.open(self.database.login("worker"))
        token = self.database.query("SELECT token FROM shield.tokens LIMIT 1")[0][0]
        over = threading.Event()
        verdicts: list[str] = []

        def call() -> None:
            while not over.wait(0.02):
                row = worker.call(
                    "authorize_call", uuid.uuid4(), f"{TENANT}.example", "1001", token, "digits", len(token),
                    uuid.uuid4().bytes + uuid.uuid4().bytes, "carrier", "direct", None, uuid.uuid4(),
                )  # fmt: skip
                verdicts.append(row[0][0])

        thread = threading.Thread(target=call)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert verdicts
        assert set(verdicts) == {"ALLOWED"}

    def config(self, **backup: object) -> Path:
        """The administrator's configuration; ``backup`` are keys of its section."""
        values = {"stanza": STANZA, "config": str(self.conf), "user": self.user.pw_name, **backup}
        lines = [f"{key} = {value if not isinstance(value, str) else repr(value)}" for key, value in values.items()]
        text = f'[database]\nurl = "{self.database.admin.url}"\nconnect_timeout_s = 5\n'
        text += f'[keys]\nkek = "{self.vault.kek_uri}"\n[backup]\n' + "\n".join(lines) + "\n"
        path = self.folder / f"admin-{uuid.uuid4().hex}.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def run(self, *arguments: str, **backup: object) -> subprocess.CompletedProcess[str]:
        return self.vault.run("backup", *arguments, config=self.config(**backup))

    def close(self) -> None:
        self.vault.close()
        self.database.close()
        self.cluster.stop()
        shutil.rmtree(self.folder)

    def _make_database(self) -> None:
        connection = psycopg2.connect(host=str(self.cluster.socket_folder), user="shield_admin", dbname="postgres")
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
        engine = sqlalchemy_engine(DatabaseConfig(self.cluster.url(dbname=DATABASE)))
        make_roles(engine)
        upgrade(engine)
        self.database = ShieldDatabase(self.cluster, DATABASE)
        role = self.folder / "role"
        role.mkdir(mode=0o700)
        self.vault = VaultLab(self.database, role)
        self.database.query("SELECT shield_api.set_caps(%s, NULL, NULL, NULL)", TENANT)


@pytest.fixture(scope="session")
def backups() -> Iterator[BackupLab]:
    """A site with a full and an incremental backup in each repository, calls going on while they were made."""
    if shutil.which("pgbackrest") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pgbackrest is not installed")
        pytest.skip("pgbackrest is not installed")
    folder = Path(tempfile.mkdtemp(prefix="esb-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    lab = BackupLab(folder)
    try:
        lab.import_numbers(20)
        lab.pgbackrest("stanza-create")
        lab.archive(lab.archive_push)
        with lab.calls_going_on():
            lab.back_up("full", 1, 2, 3)
            lab.back_up("incr", 1, 2, 3)
        yield lab
    finally:
        lab.close()
