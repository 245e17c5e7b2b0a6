"""A second PostgreSQL that follows the first by streaming replication, as a site's stand-by does."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import psycopg2
from polling import until

from esl_shield.db.binaries import find_binaries
from esl_shield.db.embedded import ADMIN
from esl_shield.db.spawning import server_user, spawn

if TYPE_CHECKING:
    import subprocess

    from esl_shield.db.embedded import EmbeddedPostgres

NAME = "standby"
START_S = 40


class Standby:
    """A copy of ``primary`` that every commit there waits for; a context manager."""

    def __init__(self, primary: EmbeddedPostgres) -> None:
        self._primary = primary
        self._binaries = find_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="esl-standby-", dir="/tmp"))  # a socket's path must be short
        self._folder.chmod(0o711)
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_folder = self._folder / "s"

    def __enter__(self) -> Self:
        try:
            self._copy()
            self.start()
            self._primary_says("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self._primary_says("SELECT pg_reload_conf()")
            until(self.is_synchronous, "the stand-by is synchronous", within_s=START_S)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and remove its folder."""
        self.halt()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        user = server_user()
        data = self._folder / "data"
        command = [str(self._binaries / "postgres"), "-D", str(data), f"--unix_socket_directories={self.socket_folder}"]
        settings = ("listen_addresses=", "fsync=on", "max_connections=200", f"cluster_name={NAME}")
        with (self._folder / "server.log").open("ab") as log:
            self._process = spawn(
                [*command, *(f"--{setting}" for setting in settings)], log.fileno(), user=user, folder=self._folder
            )
        until(self._answers, "the stand-by answers", within_s=START_S)

    def halt(self) -> None:
        """Stop the server at once, as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)

    def promote(self) -> None:
        """Make it the primary: what a failover manager does once it has fenced the old one off."""
        # Nobody follows the new primary yet, so nothing it commits may wait for a stand-by.
        self._says("ALTER SYSTEM SET synchronous_standby_names = ''")
        self._says("SELECT pg_reload_conf()")
        assert self._says("SELECT pg_promote(true, 30)") == [(True,)]

    def is_synchronous(self) -> bool:
        """Whether the primary's commits wait for this one."""
        return ("sync",) in self._primary_says("SELECT sync_state FROM pg_stat_replication")

    def added_to(self, url: str) -> str:
        """A site's URL with both servers, of which the one that takes writes is to be used."""
        return f"{url}&host={quote(str(self.socket_folder), safe='')}&target_session_attrs=read-write"

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the stand-by's administrator sees."""
        return self._says(statement, *values)

    def _copy(self) -> None:
        user = server_user()
        self.socket_folder.mkdir(mode=0o755)
        secret = self._folder / "pass"
        secret.touch(0o600)
        secret.write_text(f"*:*:*:{ADMIN}:{self._primary.password(ADMIN)}\n")
        for path in (self._folder, self.socket_folder, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
        dsn = f"host={self._primary.socket_folder} user={ADMIN} passfile={secret} application_name={NAME}"
        command = [
            str(self._binaries / "pg_basebackup"), "-D", str(self._folder / "data"), "-d", dsn, "-R", "-c", "fast",
        ]  # fmt: skip
        with (self._folder / "copy.log").open("ab") as log:
            process = spawn(command, log.fileno(), user=user, folder=self._folder)
            assert process.wait(60) == 0, (self._folder / "copy.log").read_text()

    def _answers(self) -> bool:
        try:
            return self._says("SELECT true") == [(True,)]
        except psycopg2.OperationalError:
            return False

    def _says(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return _ask(self.socket_folder, self._primary, statement, *values)

    def _primary_says(self, statement: str) -> list[tuple[Any, ...]]:
        return _ask(self._primary.socket_folder, self._primary, statement)


def _ask(host: Path, primary: EmbeddedPostgres, statement: str, *values: object) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(
        host=str(host), user=ADMIN, password=primary.password(ADMIN), dbname="postgres", connect_timeout=5
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()
