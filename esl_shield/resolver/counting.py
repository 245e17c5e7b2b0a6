"""The journal of a running resolver: opened, written every second, closed.

Invariants: no redemption waits for it; it is written in a thread, because a disk would hold up every caller. A journal
that cannot be written is logged when that begins and when it ends, counted, and goes on in memory.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import gevent
from sqlalchemy.engine import make_url

from esl_shield.audit.journal import Journal
from esl_shield.audit.signing import Signer
from esl_shield.config.secretfile import read_secret
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from esl_shield.config import Config

EVERY_S = 1.0
LOG = logging.getLogger(__name__)


class JournalKeeper:
    """Writes a journal while the resolver runs."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._failing = False
        self._greenlet: gevent.Greenlet[..., None] | None = None

    @classmethod
    def from_config(cls, config: Config) -> JournalKeeper | None:
        """Open the key; None without [journal]. Raises ConfigError, SealingKeyUnusable."""
        section = config.journal
        if section is None:
            return None
        signer = Signer.from_secret(read_secret("key", section.key, table="[journal] "), source=section.key)
        login = make_url(config.database.url).username
        if not login:
            raise ConfigError(source="[database] url", problem="it names no login, which the journal must know")
        return cls(Journal(section.file, signer, name=section.name, login=login))

    def start(self) -> None:
        """Go on with the journal in its file; raises ConfigError."""
        try:
            self.journal.begin()
        except OSError as error:
            problem = f"it cannot be written ({os.strerror(error.errno or 0)})"
            raise ConfigError(source="[journal] file", problem=problem) from None
        self._greenlet = gevent.spawn(self._keep)

    def stop(self) -> None:
        """Write the rest."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._write(all_=True)

    def _keep(self) -> None:
        while True:
            gevent.sleep(EVERY_S)
            self._write()

    def _write(self, *, all_: bool = False) -> None:
        if not self.journal.collect(all_=all_):
            return
        try:
            gevent.get_hub().threadpool.apply(self.journal.write)
        except OSError as error:
            if not self._failing:
                problem = os.strerror(error.errno or 0)
                LOG.error("journal.unwritten", extra={"fields": {"problem": problem}})  # noqa: TRY400 - no trace needed
            self._failing = True
        else:
            if self._failing:
                LOG.warning("journal.written")
            self._failing = False
