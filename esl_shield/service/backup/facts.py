"""What pgBackRest, PostgreSQL and the disks say of the backups, gathered once for all checks."""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors import ShieldError
from esl_shield.errors.backup import PgBackRestAway
from esl_shield.service.backup.pgbackrest import PgBackRest, Settings, read_settings
from esl_shield.service.backup.segments import Segment, gaps

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.backup import BackupConfig
    from esl_shield.config.database import DatabaseConfig

_KEY_FILE = re.compile(rb"[0-9a-fA-F]{64}\r?\n?")
_KEY_SIZES = range(64, 67)
# Our own rows and PostgreSQL's lie here, in files nobody puts anything else into.
_ROWS = ("base", "global", "pg_wal", "pg_xact")


@dataclass(frozen=True)
class Backup:
    """One backup of one repository; ``at`` is the second since 1970 it ended."""

    label: str
    type: str
    at: int
    damaged: bool
    wal_start: str


@dataclass(frozen=True)
class Repository:
    """One repository as pgBackRest sees it; ``problem`` is why it cannot be used, ``code`` pgBackRest's for it."""

    number: int
    code: int
    problem: str
    encrypted: bool
    backups: tuple[Backup, ...] = ()
    system_id: int | None = None
    newest_wal: str = ""
    missing: tuple[tuple[str, str], ...] = ()
    unlisted: str = ""


@dataclass(frozen=True)
class Server:
    """How the live server archives; ages in seconds, None for never. ``failing``: the newest attempt failed."""

    settings: dict[str, str]
    folders: tuple[str, ...]
    segment_bytes: int
    system_id: int
    archived_wal: str
    archived_age_s: float | None
    failing: str
    waiting: int


@dataclass(frozen=True)
class Facts:
    """Everything the checks judge; ``server`` is an error when the database could not be asked.

    ``strays`` are files in the database's folders that look like keys, ``unread`` folders that could not be searched.
    """

    config: BackupConfig
    now: float
    settings: Settings
    repositories: dict[int, Repository]
    server: Server | ShieldError
    keys: tuple[str, ...]
    strays: tuple[str, ...]
    unread: tuple[str, ...]


def gather(config: Config, backup: BackupConfig) -> Facts:
    """Ask everybody; raises PgBackRestAway, PgBackRestUnreadable."""
    settings = read_settings(backup)
    pgbackrest = PgBackRest(backup)
    try:
        server: Server | ShieldError = ask_server(config.database)
    except ShieldError as error:
        server = error
    segment_bytes = server.segment_bytes if isinstance(server, Server) else 16 << 20
    stanza = pgbackrest.info()
    repositories = {
        number: _repository(pgbackrest, stanza, number, segment_bytes) for number in sorted(backup.repositories)
    }
    sources = (*([config.keys.kek] if config.keys else []), *backup.keys)
    keys = tuple(source.removeprefix("file:") for source in sources if source.startswith("file:"))
    folders = server.folders if isinstance(server, Server) else tuple(filter(None, [settings.database_folder]))
    unread = tuple(folder for folder in folders if not os.access(folder, os.R_OK | os.X_OK))
    strays = tuple(_strays(tuple(folder for folder in folders if folder not in unread)))
    return Facts(backup, time.time(), settings, repositories, server, keys, strays, unread)


def ask_server(database: DatabaseConfig) -> Server:
    """Ask the live server how it archives; raises DatabaseAway, DatabaseRefused, ConfigError."""
    failure: Exception
    try:
        with sqlalchemy_engine(database).connect() as connection:
            row = connection.exec_driver_sql(_SERVER).one()
            settings: dict[str, str] = dict(connection.exec_driver_sql(_SETTINGS).tuples().all())
    except DBAPIError as error:
        orig = error.orig
        failure = call_failed("(archiver)", orig) if isinstance(orig, psycopg2.Error) else connection_failed(error)
    else:
        return Server(settings, tuple(row[0]), *row[1:])
    raise failure


_SETTINGS = """
SELECT name, setting FROM pg_settings
WHERE name IN ('archive_mode', 'archive_command', 'archive_library', 'archive_timeout', 'wal_level')
"""

_SERVER = """
SELECT array(SELECT current_setting('data_directory')
        UNION ALL SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''),
    pg_size_bytes(current_setting('wal_segment_size')),
    (SELECT system_identifier FROM pg_control_system()),
    coalesce(a.last_archived_wal, ''),
    extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8,
    CASE WHEN a.last_failed_time > coalesce(a.last_archived_time, '-infinity') THEN a.last_failed_wal ELSE '' END,
    (SELECT count(*)::int FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}[.]ready$')
FROM pg_stat_archiver a
"""


def _repository(pgbackrest: PgBackRest, stanza: dict[str, Any], number: int, segment_bytes: int) -> Repository:
    found = next((repo for repo in stanza.get("repo", []) if repo["key"] == number), None)
    if found is None:
        return Repository(
            number, 1, "pgBackRest's configuration does not name it, or it has no stanza", encrypted=False
        )
    backups = tuple(
        Backup(b["label"], b["type"], b["timestamp"]["stop"], bool(b.get("error")), b["archive"]["start"] or "")
        for b in stanza.get("backup", [])
        if b["database"]["repo-key"] == number
    )
    databases = [d for d in stanza.get("db", []) if d["repo-key"] == number]
    archives = [a for a in stanza.get("archive", []) if a["database"]["repo-key"] == number]
    code, message = found["status"]["code"], found["status"]["message"]
    newest = archives[-1] if archives else {}
    missing: tuple[tuple[str, str], ...] = ()
    unlisted = ""
    if newest.get("max"):
        try:
            missing = tuple(_missing(pgbackrest.wal_names(number, newest["id"]), backups, segment_bytes))
        except PgBackRestAway as error:
            unlisted = str(error.args[0])
    return Repository(
        number, code, "" if code == 0 else message, found.get("cipher", "none") != "none", backups,
        databases[-1]["system-id"] if databases else None, newest.get("max") or "", missing, unlisted,
    )  # fmt: skip


def _missing(names: list[str], backups: tuple[Backup, ...], segment_bytes: int) -> list[tuple[str, str]]:
    starts = [Segment.parse(backup.wal_start, segment_bytes) for backup in backups if backup.wal_start]
    if not starts:
        return []
    segments = [Segment.parse(name, segment_bytes) for name in names]
    return [
        (first.name(segment_bytes), last.name(segment_bytes)) for first, last in gaps(segments, min(starts))
    ]  # fmt: skip


def _strays(folders: tuple[str, ...]) -> list[str]:
    """Find files that look like one of our keys where the database's backup would take them along."""
    files = (
        path for folder in folders for path in Path(folder).rglob("*") if path.relative_to(folder).parts[0] not in _ROWS
    )
    return sorted(str(path) for path in files if _looks_like_a_key(path))


def _looks_like_a_key(path: Path) -> bool:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size not in _KEY_SIZES:
            return False
        return _KEY_FILE.fullmatch(path.read_bytes()) is not None
    except FileNotFoundError:  # a live server's files come and go
        return False
