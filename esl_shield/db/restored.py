"""A restored cluster, run apart from the live one.

Invariants: it listens on a Unix socket only, in a folder of its own that nobody but root and its user enters; nothing
of the restored settings (addresses, archiving, preloaded libraries) is in force; it answers only once its
recovery has come to its target, and one that cannot is an error with the server's reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg2
from sqlalchemy.engine import make_url

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.binaries import find_binaries
from esl_shield.db.spawning import last_line, spawn
from esl_shield.errors.backup import RestoreFailed

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable

_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.1
_STATEMENT_TIMEOUT_S = 86400.0
_PACKAGED = ("/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin")

_SETTINGS = {
    "listen_addresses": "",
    "archive_mode": "off",
    "hot_standby": "off",  # it need not have the live server's max_connections and their like
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_error_statement": "panic",  # statements carry tokens
    "primary_conninfo": "",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "external_pid_file": "",
    "ssl": "off",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
}
_NOT_YET = b"the database system is"


class RestoredPostgres:
    """The cluster in ``data``; a context manager around ``start`` and ``stop``.

    ``user`` owns the folder. Raises RestoreFailed, EmbeddedUnavailable.
    """

    def __init__(self, data: Path, user: pwd.struct_passwd) -> None:
        self._data = data
        self._user = user
        self._log = data.parent / "server.log"
        self._socket = Path(tempfile.mkdtemp(prefix="esl-shield-drill-", dir="/tmp"))  # short: a socket's path is
        os.chown(self._socket, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def config(self, live: DatabaseConfig) -> DatabaseConfig:
        """Return how to reach here, as the same login, the database ``live`` names."""
        url = make_url(live.url)
        login, name = quote(url.username or self._user.pw_name), quote(url.database or url.username or "")
        address = f"postgresql+psycopg2://{login}@/{name}?host={quote(str(self._socket), safe='')}&port=5432"
        return DatabaseConfig(address, connect_timeout_s=10.0, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    def start(self, live: DatabaseConfig, show: Callable[[], None]) -> None:
        """Start the server and wait until its recovery is over; ``show`` is called while it lasts."""
        hba = self._data.parent / "hba.conf"
        hba.write_text("local all all trust\n")  # who may enter the socket's folder may read the files anyway
        empty = self._data.parent / "empty.conf"
        empty.touch()
        for path in (hba, empty):
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
        files = {"config_file": empty, "hba_file": hba, "ident_file": empty}
        settings = {**_SETTINGS, **files, "unix_socket_directories": self._socket, "port": 5432}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            command = [str(self._programs() / "postgres"), "-D", str(self._data), *options]
            self._process = spawn(command, log.fileno(), user=self._user, folder=self._data.parent)
        while not self._answers(live):
            if self._process.poll() is not None:
                raise RestoreFailed(step="replaying WAL", problem=self._reason())
            show()
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop the server; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait(_STOP_TIMEOUT_S)
        shutil.rmtree(self._socket, ignore_errors=True)

    def _answers(self, live: DatabaseConfig) -> bool:
        url = make_url(self.config(live).url)
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(
                host=str(self._socket), port=5432, user=url.username, dbname=url.database, connect_timeout=5
            ).close()
            return True
        return False

    def _programs(self) -> Path:
        version = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        folders = [Path(folder.format(version)) for folder in _PACKAGED]
        return next((folder for folder in folders if (folder / "postgres").exists()), None) or find_binaries()

    def _reason(self) -> str:
        """Return the server's last word that is not about our asking whether it is ready."""
        said = [line for line in self._log.read_bytes().splitlines() if b"FATAL:" in line or b"PANIC:" in line]
        reasons = [line for line in said if _NOT_YET not in line]
        return (
            last_line(b"\n".join(reasons).rpartition(b": ")[2]).strip()
            if reasons
            else last_line(self._log.read_bytes())
        )
