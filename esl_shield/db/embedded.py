"""A private PostgreSQL for the demo and the tests.

Invariants: it listens on a Unix socket only and asks every login for its password (SCRAM); as root the server runs as
another user; it dies with the process that started it, even when that one is killed; fsync is on, so that figures
measured here mean something; stopping it removes its folder. The server's life is bound to the *thread* that called
``start`` (Linux PR_SET_PDEATHSIG), so call it from the main thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import psycopg2

from esl_shield.db.binaries import find_binaries, made_usable
from esl_shield.db.spawning import last_line, server_user, spawn
from esl_shield.errors.database import EmbeddedUnavailable

if TYPE_CHECKING:
    import pwd
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

ADMIN = "shield_admin"
StopMode = Literal["smart", "fast", "immediate"]
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_PREFIX = "esl-shield-pg-"
_LONGEST_FOLDER = 60  # a socket's path has 107 bytes (unix(7)); ".s.PGSQL.5432" and our own folders take the rest

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # statements carry tokens and permit hashes; a log needs neither
}


class EmbeddedPostgres:
    """One cluster in a temporary folder; a context manager, or ``start`` and ``stop``.

    ``halt`` and a second ``start`` keep the data, as a crash and a restart would. ``binaries`` names a folder holding
    ``initdb`` and ``postgres``; by default the newest the system has, else those of the ``[embedded]`` extra.
    Raises EmbeddedUnavailable.
    """

    def __init__(self, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self._wanted = binaries
        self._settings = {**_SETTINGS, **(settings or {})}
        self._passwords: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._binaries = Path()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def socket_folder(self) -> Path:
        """Where clients find the socket: the ``host`` of a libpq connection."""
        return self.folder / "s"

    @property
    def folder(self) -> Path:
        """The temporary folder that holds everything of this cluster."""
        if self._folder is None:
            raise EmbeddedUnavailable(problem="it was not started")
        return self._folder

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise EmbeddedUnavailable(problem="it is not running")
        return self._process.pid

    def password(self, user: str) -> str:
        """Return the password this cluster's URLs give for ``user``; drawn when first asked for."""
        return self._passwords.setdefault(user, secrets.token_urlsafe(18))

    def url(self, user: str = ADMIN, dbname: str = "postgres") -> str:
        """Make a SQLAlchemy URL; for a user other than the superuser, create the role with ``password(user)`` first."""
        host = quote(str(self.socket_folder), safe="")
        return f"postgresql+psycopg2://{quote(user)}:{self.password(user)}@/{quote(dbname)}?host={host}"

    def start(self) -> None:
        """Make the cluster if there is none yet, start the server and wait until it answers."""
        if self._folder is None:
            self._create()
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        data = str(self.folder / "data")
        command = [str(self._binaries / "postgres"), "-D", data, f"--unix_socket_directories={self.socket_folder}"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = self._spawn([*command, *options], log.fileno())
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def halt(self, mode: StopMode = "fast") -> None:
        """Stop the server, keep its folder; ``immediate`` is a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(_SIGNALS[mode])
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Stop the server and remove its folder; harmless when already done."""
        self.halt("immediate")
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _create(self) -> None:
        _sweep()
        base = tempfile.gettempdir()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base if len(base) < _LONGEST_FOLDER else "/tmp"))  # noqa: S108
        self._lock = _locked(self._folder / "lock")
        self._folder.chmod(0o711)  # the name is secret and every login has a password; other users of ours may connect
        user = server_user()
        for name in ("data", "s"):
            (self._folder / name).mkdir(mode=0o700 if name == "data" else 0o755)
            os.chown(self._folder / name, user.pw_uid, user.pw_gid)
        try:
            self._binaries = made_usable(self._wanted or find_binaries(), user, self._folder)
            self._initdb(user)
        except BaseException:
            self.stop()
            raise

    def _initdb(self, user: pwd.struct_passwd) -> None:
        secret = self.folder / "data.pw"
        secret.touch(0o600)
        secret.write_text(self.password(ADMIN))
        os.chown(secret, user.pw_uid, user.pw_gid)
        flags = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-sync", "--no-instructions"]
        data = str(self.folder / "data")
        command = [str(self._binaries / "initdb"), "-D", data, "-U", ADMIN, f"--pwfile={secret}", *flags]
        process = self._spawn(command, subprocess.PIPE)
        output = process.communicate()[0]
        secret.unlink()
        if process.returncode:
            raise EmbeddedUnavailable(problem=f"initdb said: {last_line(output)}")

    def _spawn(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        return spawn(command, output, user=server_user(), folder=self.folder)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                log = (self.folder / "server.log").read_bytes()
                raise EmbeddedUnavailable(problem=f"the server ended at once; its log says: {last_line(log)}")
            with contextlib.suppress(psycopg2.OperationalError):
                psycopg2.connect(
                    host=str(self.socket_folder), user=ADMIN, password=self.password(ADMIN), dbname="postgres"
                ).close()
                return
            time.sleep(0.02)
        raise EmbeddedUnavailable(problem=f"it did not answer within {_START_TIMEOUT_S:.0f} s")


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _sweep() -> None:
    """Remove folders of ours whose owner was killed: nobody holds their lock any more."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with contextlib.suppress(OSError):
            if lock.lstat().st_uid == os.geteuid():
                os.close(_locked(lock))
                shutil.rmtree(lock.parent, ignore_errors=True)
