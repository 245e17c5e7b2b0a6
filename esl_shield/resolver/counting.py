"""The journal of a running resolver: opened, written every second, closed.

Invariants: no redemption waits for it; it is written in a thread, because a disk would hold up every caller. A journal
that cannot be written is logged when that begins and when it ends, counted, and goes on in memory.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
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
LOCK_PATIENCE_S = 15.0  # a resolver drains in a few seconds
LOG = logging.getLogger(__name__)


class JournalKeeper:
    """Writes a journal while the resolver runs."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._failing = False
        self._lock: int | None = None
        self._greenlet: gevent.Greenlet[..., None] | None = None

    @property
    def failing(self) -> bool:
        """Whether the file could not be written the last time."""
        return self._failing

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
        """Go on with the journal in its file, once no other resolver does; raises ConfigError."""
        try:
            self._lock = self._take_lock()
            self.journal.begin()
        except OSError as error:
            problem = f"it cannot be written ({os.strerror(error.errno or 0)})"
            raise ConfigError(source="[journal] file", problem=problem) from None
        self._greenlet = gevent.spawn(self._keep)

    def stop(self) -> None:
        """Write the rest, and leave the journal to the next resolver."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._write(all_=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> int:
        """Wait for the resolver before this one, which may be draining: two writers would break the chain."""
        lock = os.open(f"{self.journal.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise ConfigError(source="[journal] file", problem="another resolver writes it") from None
                gevent.sleep(EVERY_S / 10)
            except BaseException:
                os.close(lock)
                raise
            else:
                return lock

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
