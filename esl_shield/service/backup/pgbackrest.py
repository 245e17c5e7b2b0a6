"""pgBackRest as a program: what it says of its repositories, and a restore.

Invariants: it is told its configuration file and nothing by environment variables; as root it runs as another user; a
pass phrase of a repository is compared with the others' while the file is read and kept nowhere.
"""

from __future__ import annotations

import configparser
import json
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esl_shield.db.spawning import last_line, spawn
from esl_shield.errors.backup import PgBackRestAway, PgBackRestUnreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.config.backup import BackupConfig

PROGRAM = "pgbackrest"
_ASK_TIMEOUT_S = 120.0
_LONGEST = 300
_LOCAL_TYPES = ("posix", "cifs")


@dataclass(frozen=True)
class RepositorySettings:
    """What pgBackRest's file says of one repository; ``path`` is None when it is not a folder of this machine."""

    type: str
    path: str | None
    retention: int | None
    retention_in_days: bool
    same_pass_as: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """What pgBackRest's file says; ``exposed`` is its mode if others than its owner and group can read it."""

    repositories: dict[int, RepositorySettings]
    database_folder: str | None
    exposed: str


class PgBackRest:
    """One stanza; raises PgBackRestAway where the program is not installed, PgBackRestUnreadable without the user."""

    def __init__(self, config: BackupConfig) -> None:
        found = shutil.which(PROGRAM)
        if found is None:
            raise PgBackRestAway(what="anything", problem="it is not installed (Debian's package is pgbackrest)")
        self._config = config
        self._base = [found, f"--config={config.config}", f"--stanza={config.stanza}"]
        self.user = server_user(config)

    def info(self) -> dict[str, Any]:
        """Return the stanza as ``pgbackrest info`` sees it; raises PgBackRestAway."""
        stanzas = self._json("info", "--output=json")
        return next((stanza for stanza in stanzas if stanza.get("name") == self._config.stanza), {})

    def wal_names(self, repository: int, archive_id: str) -> list[str]:
        """Return the names of the WAL segments a repository has; raises PgBackRestAway."""
        path = f"archive/{self._config.stanza}/{archive_id}"
        listed = self._json(f"--repo={repository}", "repo-ls", "--output=json", "--recurse", path)
        return [Path(name).name[:24] for name, entry in listed.items() if _is_segment(name, entry)]

    def restore(self, repository: int, into: Path, options: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a restore into ``into``, which never archives and never writes to another cluster's tablespaces."""
        command = [
            *self._base, f"--repo={repository}", f"--pg1-path={into}", "--archive-mode=off",
            f"--tablespace-map-all={into.parent / 'tablespaces'}", "--log-level-console=warn", "--log-level-stderr=off",
            "--log-level-file=off", *options, "restore",
        ]  # fmt: skip
        with log.open("ab") as output:
            return spawn(command, output.fileno(), user=self.user, folder=into.parent)

    def _json(self, *arguments: str) -> Any:
        what = next(argument for argument in arguments if not argument.startswith("-"))
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        try:
            done = subprocess.run(  # noqa: S603 - the system's pgBackRest
                [*self._base, "--log-level-console=off", "--log-level-stderr=error", *arguments],
                capture_output=True, check=False, timeout=_ASK_TIMEOUT_S, cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}, **identity,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PgBackRestAway(what=what, problem=f"no answer within {_ASK_TIMEOUT_S:.0f} s") from None
        if done.returncode:
            raise PgBackRestAway(what=what, problem=said(done.stderr))
        return json.loads(done.stdout)


def said(output: bytes) -> str:
    """Return what pgBackRest gave as the reason, in one line."""
    lines = [line for line in output.decode(errors="replace").splitlines() if "ERROR:" in line]
    return (lines[-1].partition("ERROR:")[2] if lines else last_line(output)).strip()[:_LONGEST].rstrip(".")


def server_user(config: BackupConfig) -> pwd.struct_passwd:
    """Whom pgBackRest and the restored server run as; raises PgBackRestUnreadable."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        user = pwd.getpwnam(config.user)
    except KeyError:
        raise PgBackRestUnreadable(source=config.config, problem=f"there is no Unix user {config.user}") from None
    if user.pw_uid == 0:
        raise PgBackRestUnreadable(source=config.config, problem="PostgreSQL does not run as root; set [backup] user")
    return user


def read_settings(config: BackupConfig) -> Settings:
    """Read pgBackRest's file; raises PgBackRestUnreadable."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
    problem = ""
    try:
        with Path(config.config).open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            parser.read_file(file)
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
    except (configparser.Error, UnicodeDecodeError):
        problem = "it is no file of sections and KEY=VALUE lines"
    if problem:  # outside of the handler: the error quotes lines, which may hold a pass phrase
        raise PgBackRestUnreadable(source=config.config, problem=problem)
    known = {
        **(dict(parser["global"]) if parser.has_section("global") else {}),
        **(dict(parser[config.stanza]) if parser.has_section(config.stanza) else {}),
    }
    numbers = [n for n in range(1, 257) if any(key.startswith(f"repo{n}-") for key in known)]
    exposed = f"{stat.S_IMODE(mode):04o}" if mode & stat.S_IROTH else ""
    return Settings({n: _repository(known, n, numbers) for n in numbers}, known.get("pg1-path"), exposed)


def _repository(known: dict[str, str], number: int, numbers: Sequence[int]) -> RepositorySettings:
    def value(name: str) -> str:
        return known.get(f"repo{number}-{name}", "")

    kind = value("type") or "posix"
    local = kind in _LOCAL_TYPES and not value("host")
    phrase = value("cipher-pass")
    same = tuple(n for n in numbers if n != number and phrase and known.get(f"repo{n}-cipher-pass") == phrase)
    return RepositorySettings(
        kind,
        value("path") or "/var/lib/pgbackrest" if local else None,
        int(value("retention-full")) if value("retention-full").isdigit() else None,
        value("retention-full-type") == "time",
        same,
    )


def _is_segment(name: str, entry: dict[str, Any]) -> bool:
    stem = Path(name).name
    return entry.get("type") == "file" and len(stem) > 24 and stem[24] == "-" and stem[:24].isalnum()  # noqa: PLR2004
