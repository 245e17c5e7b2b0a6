"""A restore drill: a backup brought back beside the live database, verified, measured, removed.

Invariants: nothing is restored into a folder that holds anything, into or below a database's or a repository's; the
live cluster is only read; what was restored is removed in every case, an interruption included, unless it was to be
kept; an error on the way is a finding of the report, never a drill that looks well.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esl_shield.audit.verify import Trust, read_public_key
from esl_shield.db.restored import RestoredPostgres
from esl_shield.errors import ShieldError
from esl_shield.errors.backup import DrillRefused, PgBackRestAway, RestoreFailed
from esl_shield.errors.config import ConfigError
from esl_shield.service.backup.facts import ask_server
from esl_shield.service.backup.pgbackrest import PgBackRest, read_settings, said
from esl_shield.service.backup.restored import Verification, Verified, restored_config
from esl_shield.service.doctor.examine import exit_code
from esl_shield.service.doctor.finding import Finding, Severity
from esl_shield.service.hardening import harden
from esl_shield.vault.keys import open_kek

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.config import Config
    from esl_shield.config.backup import BackupConfig

_POLL_S = 0.1
_STOP_TIMEOUT_S = 30.0
_WELL = 0


@dataclass(frozen=True)
class Order:
    """What to restore: a repository's newest state, or that of the moment ``at``, into the folder ``into``."""

    repository: int
    into: Path
    at: dt.datetime | None = None
    per_key: int = 100
    keep: bool = False


@dataclass
class DrillReport:
    """What a drill came to; times in seconds."""

    order: Order
    started_at: dt.datetime
    backup: str = ""
    restore_s: float = 0.0
    replay_s: float = 0.0
    verify_s: float = 0.0
    verified: Verified = field(default_factory=Verified)

    @property
    def well(self) -> bool:
        """Whether everything was verified."""
        return bool(self.verified.rows) and exit_code(self.verified.findings) == _WELL

    @property
    def taken_s(self) -> float:
        """How long it took from the beginning of the restore to a verified vault (RTO)."""
        return self.restore_s + self.replay_s + self.verify_s

    def fields(self) -> dict[str, Any]:
        """Return the report as it is printed and written."""
        loss = self.verified.loss
        return {
            "verified": self.well,
            "repository": self.order.repository,
            "backup": self.backup,
            "started_at": self.started_at,
            "asked_for": self.order.at,
            "restore_s": round(self.restore_s, 1),
            "replay_s": round(self.replay_s, 1),
            "verify_s": round(self.verify_s, 1),
            "minutes_taken": round(self.taken_s / 60, 2),
            "newest_event": loss.newest_event,
            "replayed_to": loss.replayed_to,
            "lost_events": loss.lost_events,
            "lost_s": loss.lost_s,
            "rows": self.verified.rows,
            "keys_opened": self.verified.sampled.keys,
            "tokens_decrypted": self.verified.sampled.tokens,
            "findings": [
                {"check": f.check, "severity": str(f.severity), "sentence": f.sentence, "change": f.change}
                for f in self.verified.findings
            ],
        }


class Drill:
    """One drill; ``show`` is told what it is at. Raises ConfigError, DrillRefused, PgBackRestAway before it begins."""

    def __init__(self, config: Config, backup: BackupConfig, order: Order, show: Callable[[str], None]) -> None:
        if order.repository not in backup.repositories:
            raise ConfigError(source="[backup] repositories", problem=f"repository {order.repository} is not in it")
        if config.keys is None:
            raise ConfigError(source="file", problem="it has no [keys] kek, without which nothing can be decrypted")
        harden()
        self._kek = open_kek(config.keys.kek)
        keys = tuple(read_public_key(path) for path in backup.public_keys)
        self._trust = Trust(backup.heads, keys)
        self._config = config
        self._order = order
        self._show = show
        self._settings = read_settings(backup)
        self._pgbackrest = PgBackRest(backup)
        self._refuse()

    def run(self) -> DrillReport:
        """Restore, verify, remove."""
        report = DrillReport(self._order, dt.datetime.now(dt.UTC))
        with _sigterm_interrupts(), self._folder():
            try:
                self._go(report)
            except (RestoreFailed, PgBackRestAway) as error:
                sentence = str(error.args[0])
                report.verified.findings.append(
                    Finding("drill.restore", Severity.CRITICAL, sentence, "Try another repository, and repeat.")
                )
        return report

    def _go(self, report: DrillReport) -> None:
        report.backup = self._choose()
        with _timed(report, "restore_s"):
            self._restore(report.backup)
        server = RestoredPostgres(self._data, self._pgbackrest.user)
        try:
            with _timed(report, "replay_s"):
                server.start(self._config.database, lambda: self._show("replaying WAL"))
            restored = restored_config(self._config, server.config(self._config.database))
            live = self._config.database
            verification = Verification(
                restored, live, self._kek, self._order.at, self._trust, self._order.per_key, self._show, report.verified
            )
            with _timed(report, "verify_s"):
                verification.run()
        finally:
            server.stop()

    @property
    def _data(self) -> Path:
        return self._order.into / "data"

    def _refuse(self) -> None:
        """Refuse places where a restore could do harm; raises DrillRefused."""
        into = self._order.into.resolve()
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise DrillRefused(folder=into, problem="it is not an empty folder")
        if not into.parent.is_dir():
            raise DrillRefused(folder=into, problem="the folder it would be made in is not there")
        taken = [repository.path for repository in self._settings.repositories.values()]
        taken.append(self._settings.database_folder)
        with contextlib.suppress(ShieldError):  # a live server that is away has no folder open
            taken += ask_server(self._config.database).folders
        for folder in filter(None, taken):
            if into.is_relative_to(Path(folder).resolve()):
                raise DrillRefused(folder=into, problem=f"it is in {folder}, which is a database's or a repository's")

    def _choose(self) -> str:
        """Choose the newest backup that ended before the moment asked for; raises RestoreFailed."""
        backups = [
            b for b in self._pgbackrest.info().get("backup", [])
            if b["database"]["repo-key"] == self._order.repository
            and (self._order.at is None or b["timestamp"]["stop"] <= self._order.at.timestamp())
        ]  # fmt: skip
        if not backups:
            problem = f"repository {self._order.repository} has no backup from before the moment asked for"
            raise RestoreFailed(step="choosing a backup", problem=problem)
        newest = max(backups, key=lambda b: b["timestamp"]["stop"])
        needed, free = newest["info"]["size"], shutil.disk_usage(self._order.into).free
        if needed > free:
            problem = f"it takes {needed >> 20} MiB and {self._order.into} has {free >> 20} MiB"
            raise RestoreFailed(step="choosing a backup", problem=problem)
        return str(newest["label"])

    def _restore(self, label: str) -> None:
        options = [f"--set={label}"]
        if self._order.at is not None:
            target = self._order.at.astimezone(dt.UTC).isoformat(sep=" ")
            options += ["--type=time", f"--target={target}", "--target-action=promote"]
        log = self._order.into / "restore.log"
        process = self._pgbackrest.restore(self._order.repository, self._data, options, log)
        try:
            while process.poll() is None:
                self._show(f"restoring {label}")
                time.sleep(_POLL_S)
        finally:
            _end(process)
        if process.returncode:
            raise RestoreFailed(step=f"restoring {label}", problem=said(log.read_bytes()))

    @contextlib.contextmanager
    def _folder(self) -> Iterator[None]:
        """Make the folder, for the server's user alone, and remove what was put into it."""
        into, user = self._order.into, self._pgbackrest.user
        made = not into.exists()
        if made:
            into.mkdir(mode=0o700)
        before = into.stat()
        try:
            os.chown(into, user.pw_uid, user.pw_gid)
            into.chmod(0o700)
            for name in ("data", "tablespaces"):
                (into / name).mkdir(mode=0o700)
                os.chown(into / name, user.pw_uid, user.pw_gid)
            yield
        finally:
            if not self._order.keep:
                self._show("removing what was restored")
                for path in into.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                if made:
                    into.rmdir()
                else:
                    os.chown(into, before.st_uid, before.st_gid)
                    into.chmod(before.st_mode & 0o7777)


@contextlib.contextmanager
def _timed(report: DrillReport, name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        setattr(report, name, time.monotonic() - started)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Have SIGTERM end the drill as Ctrl-C does, so that it cleans up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
