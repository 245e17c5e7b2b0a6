"""The section of backups: where pgBackRest is set up and how old what it keeps may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from esl_shield.config.values import positive

_STANZA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_REPOSITORIES = 4  # what pgBackRest 2.45 knows


@dataclass(frozen=True)
class BackupConfig:
    """pgBackRest's stanza and repositories, and the limits they are held to.

    ``user`` is the Unix user pgBackRest and a restored server run as when started by root; ``keys`` names further files
    of keys, which must lie in no backup, as the KEK must not; ``public_keys`` and ``heads`` are what a restored
    audit trail is held against.
    """

    stanza: str
    config: str = "/etc/pgbackrest/pgbackrest.conf"
    repositories: tuple[int, ...] = (1, 2, 3)
    user: str = "postgres"
    full_max_age_h: float = 170.0
    newest_max_age_h: float = 26.0
    wal_max_lag_s: float = 900.0
    fulls_kept: int = 2
    keys: tuple[str, ...] = ()
    public_keys: tuple[str, ...] = ()
    heads: str | None = None

    def __post_init__(self) -> None:
        positive(self, "backup", "full_max_age_h", "newest_max_age_h", "wal_max_lag_s", "fulls_kept")
        if not _STANZA.fullmatch(self.stanza):
            message = f"[backup] stanza: {self.stanza!r} is not the name of a stanza"
            raise ValueError(message)
        if not self.config.startswith("/"):
            message = "[backup] config must be an absolute path"
            raise ValueError(message)
        known = range(1, _MOST_REPOSITORIES + 1)
        if (
            not self.repositories
            or len(set(self.repositories)) != len(self.repositories)
            or not set(self.repositories) <= set(known)
        ):
            message = f"[backup] repositories must be some of {', '.join(map(str, known))}, each once"
            raise ValueError(message)
        for source in self.keys:
            if not source.startswith("file:/"):
                message = "[backup] keys must be file:PATH each, with an absolute path"
                raise ValueError(message)
