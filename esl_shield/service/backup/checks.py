"""Whether the backups could give the vault back: each check one question over the same facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.errors import ShieldError
from esl_shield.service.backup.facts import Facts, Repository, Server
from esl_shield.service.backup.segments import Segment
from esl_shield.service.doctor.finding import Area, Check, NotAskedError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

_C, _W = Severity.CRITICAL, Severity.WARNING
_HOUR_S = 3600
_NO_BACKUPS = (2,)  # pgBackRest's status: the stanza is there and holds no valid backup
_ABSENT = (1, 3)


def _reached(facts: Facts) -> Iterator[Problem]:
    for repository in facts.repositories.values():
        if repository.code in _NO_BACKUPS:
            yield Problem(f"repository {repository.number} has no usable backup", "Run pgbackrest --type=full backup.")
        elif repository.code in _ABSENT:
            yield Problem(
                f"repository {repository.number} cannot be used: {repository.problem}",
                "Mount it or mend its configuration, then run pgbackrest stanza-create.",
            )
        elif repository.problem:
            yield Problem(f"repository {repository.number} cannot be used: {repository.problem}")


def _system(facts: Facts) -> Iterator[str]:
    server = _server(facts)
    for repository in _usable(facts):
        if repository.system_id not in (None, server.system_id):
            yield f"repository {repository.number} holds another cluster's backups than this database's"


def _full(facts: Facts) -> Iterator[str]:
    for repository in _usable(facts):
        newest = max((b.at for b in repository.backups if b.type == "full" and not b.damaged), default=None)
        yield from _too_old(facts, repository, newest, "full backup", facts.config.full_max_age_h)


def _newest(facts: Facts) -> Iterator[str]:
    for repository in _usable(facts):
        newest = max((b.at for b in repository.backups if not b.damaged), default=None)
        yield from _too_old(facts, repository, newest, "backup", facts.config.newest_max_age_h)


def _too_old(facts: Facts, repository: Repository, newest: int | None, what: str, most_h: float) -> Iterator[str]:
    if newest is None:
        yield f"repository {repository.number} has no sound {what}"
    elif facts.now - newest > most_h * _HOUR_S:
        age_h = (facts.now - newest) / _HOUR_S
        yield f"the newest {what} in repository {repository.number} is {age_h:.0f} h old, more than {most_h:.0f} h"


def _damaged(facts: Facts) -> Iterator[str]:
    for repository in facts.repositories.values():
        for backup in repository.backups:
            if backup.damaged:
                yield f"backup {backup.label} in repository {repository.number} holds pages with wrong checksums"


def _gaps(facts: Facts) -> Iterator[Problem | str]:
    for repository in facts.repositories.values():
        for first, last in repository.missing:
            span = first if first == last else f"{first} to {last}"
            yield f"repository {repository.number} lacks the WAL segment{'s' if first != last else ''} {span}"
        if repository.unlisted:
            yield Problem(repository.unlisted, severity=Severity.UNKNOWN)


def _archiving(facts: Facts) -> Iterator[Problem]:
    settings = _server(facts).settings
    if settings.get("archive_mode") == "off":
        yield Problem("archive_mode is off: nothing after a backup can be restored")
    command = settings.get("archive_command", "")
    if "archive-push" not in command:
        yield Problem("archive_command does not call pgbackrest archive-push")
    elif f"--stanza={facts.config.stanza}" not in command:
        yield Problem(f"archive_command does not name the stanza {facts.config.stanza}")
    timeout = int(settings.get("archive_timeout", "0"))
    if not 0 < timeout <= facts.config.wal_max_lag_s:
        yield Problem(
            f"archive_timeout is {timeout} s: in a quiet hour the last events wait for a full segment",
            f"archive_timeout = 60, and at most [backup] wal_max_lag_s ({facts.config.wal_max_lag_s:g})",
            _W,
        )


def _failing(facts: Facts) -> Iterator[str]:
    server = _server(facts)
    if server.failing:
        yield f"the server's last attempt to archive failed, at WAL segment {server.failing}"


def _lag(facts: Facts) -> Iterator[str]:
    server = _server(facts)
    most = facts.config.wal_max_lag_s
    if server.waiting and (server.archived_age_s is None or server.archived_age_s > most):
        since = "never" if server.archived_age_s is None else f"{server.archived_age_s:.0f} s ago"
        yield f"{server.waiting} WAL segments wait to be archived, and the last was {since}"
    if not server.archived_wal or "." in server.archived_wal:
        return
    archived = Segment.parse(server.archived_wal, server.segment_bytes)
    for repository in _usable(facts):
        if not repository.newest_wal or Segment.parse(repository.newest_wal, server.segment_bytes) < archived:
            has = repository.newest_wal or "none"
            yield f"the server archived up to {server.archived_wal}, repository {repository.number} has {has}"


def _retention(facts: Facts) -> Iterator[str]:
    least = facts.config.fulls_kept
    for number in facts.repositories:
        settings = facts.settings.repositories.get(number)
        if settings is None:
            continue
        if settings.retention is None:
            yield f"repo{number}-retention-full is not set: nothing is ever removed, until the disk is full"
        elif not settings.retention_in_days and settings.retention < least:
            yield f"repo{number}-retention-full is {settings.retention}, less than {least}"


def _encrypted(facts: Facts) -> Iterator[Problem | str]:
    for repository in _usable(facts):
        if not repository.encrypted:
            yield f"repository {repository.number} is not encrypted"
    for number, settings in facts.settings.repositories.items():
        if number in facts.repositories and any(other < number for other in settings.same_pass_as):
            others = ", ".join(str(n) for n in settings.same_pass_as)
            yield Problem(
                f"repository {number} has the same pass phrase as repository {others}",
                "Give each its own: who gets at one must not read all.",
                _W,
            )
    if facts.settings.exposed:
        yield Problem(
            f"{facts.config.config} has mode {facts.settings.exposed}: everybody can read the pass phrases in it",
            f"chmod 0640 {facts.config.config}, and think of them as known to others.",
        )


def _keys(facts: Facts) -> Iterator[Problem]:
    taken = [(folder, "is in the database's folder, so every backup holds it") for folder in _folders(facts)]
    taken += [
        (repository.path, f"is in repository {number}'s folder, beside the data it opens")
        for number, repository in facts.settings.repositories.items()
        if repository.path
    ]
    named = set()
    for key in facts.keys:
        for folder, why in taken:
            if Path(key).resolve().is_relative_to(Path(folder).resolve()):
                named.add(str(Path(key).resolve()))
                yield Problem(f"the key {key} {why}")
    for stray in facts.strays:
        if str(Path(stray).resolve()) not in named:
            yield Problem(f"{stray} looks like a key, and every backup of the database holds it")
    for folder in facts.unread:
        yield Problem(
            f"{folder} could not be searched for keys", "Run it on the database's machine, as root or as its user.",
            Severity.UNKNOWN,
        )  # fmt: skip


def _few(facts: Facts) -> Iterator[str]:
    here = [n for n in facts.repositories if (s := facts.settings.repositories.get(n)) and s.path]
    devices = {n: _device(str(facts.settings.repositories[n].path)) for n in here}
    database = {_device(folder) for folder in _folders(facts)} - {None}
    alone = [n for n in facts.repositories if devices.get(n) is None or devices[n] not in database]
    if not alone:
        yield "every repository is on the disk the database is on: one broken disk takes all"


def _device(path: str) -> int | None:
    try:
        return Path(path).stat().st_dev
    except OSError:
        return None


def _folders(facts: Facts) -> tuple[str, ...]:
    if isinstance(facts.server, Server):
        return facts.server.folders
    return tuple(filter(None, [facts.settings.database_folder]))


def _server(facts: Facts) -> Server:
    if isinstance(facts.server, ShieldError):
        raise NotAskedError(str(facts.server.args[0]).rstrip("."))
    return facts.server


def _usable(facts: Facts) -> list[Repository]:
    return [repository for repository in facts.repositories.values() if not repository.problem]


AREA = Area[Facts](
    "backup",
    "pgBackRest and PostgreSQL's archiver",
    (
        Check("backup.repositories", _C, "Every repository can be used and holds a backup",
              "A repository that is away is one copy less, and found out too late.",
              "Run pgbackrest check as the server's user, which says why.", _reached),
        Check("backup.cluster", _C, "The repositories hold this database's backups",
              "After a new initdb the stanza still shows the old cluster's.", "Run pgbackrest stanza-upgrade.",
              _system),
        Check("backup.full", _C, "The newest full backup is not too old",
              "The older it is, the longer a restore replays, and the more it hangs on each file.",
              "Run pgbackrest --type=full backup for that repository, and look at its timer.", _full),
        Check("backup.newest", _C, "The newest backup, incremental or full, is not too old",
              "A restore replays everything since.",
              "Run pgbackrest --type=incr backup for that repository, and look at its timer.", _newest),
        Check("backup.damaged", _C, "No backup holds damaged pages", "They were damaged in the database itself.",
              "Look at the disk, find the table with pg_amcheck, restore from the backup before.", _damaged),
        Check("backup.wal_gap", _C, "The WAL archive has no gap since the oldest backup",
              "No restore gets past a missing segment.",
              "Make a full backup now: moments after it can be restored again. Look who removed the segment.", _gaps),
        Check("backup.archiving", _C, "The server archives its WAL through pgBackRest",
              "Without it what came after the last backup is lost.",
              "Set archive_mode = on and archive_command = 'pgbackrest --stanza=... archive-push %p'.", _archiving),
        Check("backup.archiver", _C, "The archiver's last attempt did not fail",
              "WAL piles up until the disk is full, and calls stop.",
              "Read pgBackRest's and the server's log; pgbackrest check repeats the attempt.", _failing),
        Check("backup.wal_lag", _C, "What was written is in every repository within the limit",
              "What waits is lost with the machine.", "Look at the slowest repository and at archive-async.", _lag),
        Check("backup.retention", _W, "Each repository keeps enough full backups and removes older ones",
              "With one kept, a damaged one is all there is.", "Set repoN-retention-full.", _retention),
        Check("backup.encrypted", _C, "Each repository is encrypted, each with its own pass phrase",
              "Backups leave the machine: tokens, names of agents and call records are in them in clear.",
              "Set repoN-cipher-type = aes-256-cbc and repoN-cipher-pass; it takes a new stanza and a full backup.",
              _encrypted),
        Check("backup.keys", _C, "No key is in a backup or beside one",
              "Whoever has the KEK and a backup has every number.",
              "Move it to /etc/esl-shield, rewrap under a new KEK, and remove backups that hold the old.", _keys),
        Check("backup.apart", _W, "At least one repository is off the database's disk", "Disks break whole.",
              "Put a repository on another machine or in an object store.", _few),
    ),
)  # fmt: skip
