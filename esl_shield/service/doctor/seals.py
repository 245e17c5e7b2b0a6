"""Area ``sealing``: whether the audit trail is sealed, its heads are out of the database, and resolvers keep journals.

Invariants: nothing is asked that a sealer's lock depends on; the key's file is looked at and never opened.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.audit.heads import HeadFile, Written
from esl_shield.audit.sealing import read_heads_after
from esl_shield.audit.source import open_source
from esl_shield.db.engine import Database
from esl_shield.service.doctor.files import FileFacts, look, process_user
from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, NotAskedError, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config

LATE_S = 60.0
_READERS = ("auditor", "admin")
_C, _W, _I = Severity.CRITICAL, Severity.WARNING, Severity.INFO


@dataclass(frozen=True)
class SealFacts:
    """What one role's configuration sees of the seals; what it does not see is None."""

    role: str
    user: int
    key: FileFacts | None = None
    written: Written | None = None
    there: str | None = None  # the hash of the block whose head was written last, as the database has it; "" for none
    newest: int | None = None
    lag_s: float | None = None
    blocks: int | None = None
    journal: bool = False


def look_at_seals(config: Config, role: str) -> SealFacts:
    """Ask as far as the role can.

    Raises NotApplicableError, DatabaseAway, DatabaseRefused, EvidenceUnreadable.
    """
    user = process_user(config.source)
    if role == "resolver":
        key = look(config.journal.key.removeprefix("file:")) if config.journal else None
        return SealFacts(role, user, key, journal=config.journal is not None)
    if role in _READERS:
        with open_source(config.database) as source:
            sealing = source.sealing()
        if not sealing.sees_all:
            message = "this login sees only some tenants, and seals are of all"
            raise NotApplicableError(message)
        return SealFacts(role, user, lag_s=sealing.lag_s or 0.0, blocks=sealing.blocks or 0)
    if config.sealing is None:
        message = f"the {role} has nothing to do with seals"
        raise NotApplicableError(message)
    written = HeadFile(config.sealing.heads).written
    with contextlib.closing(Database(config.database, application_name="esl-shield doctor")) as database:
        heads = read_heads_after(database, max(written.number - 1, 0), "")
    blocks = [head.block for head in heads]
    there = next((block.hash for block in blocks if block.number == written.number), "")
    newest = blocks[-1].number if blocks else 0
    return SealFacts(role, user, look(config.sealing.key.removeprefix("file:")), written, there, newest, blocks=newest)


def _key(facts: SealFacts) -> Iterator[str]:
    if facts.key is None:
        raise NotAskedError(f"the {facts.role}'s configuration names no such key", _I)
    if facts.key.mode is None:
        yield f"{facts.key.path} is not there, or not to be seen by who runs doctor"
    elif facts.key.others_read or facts.key.others_write or facts.key.open_folder:
        yield f"{facts.key.path} has mode {facts.key.octal}, or others can put another file in its place"
    elif facts.key.owner not in (0, facts.user):
        yield f"{facts.key.path} belongs to another user"


def _lag(facts: SealFacts) -> Iterator[str]:
    if facts.lag_s is None:
        raise NotAskedError("this is asked with an auditor's or the administrator's configuration", _I)
    if facts.lag_s > LATE_S:
        yield f"the oldest event that no block holds is {facts.lag_s:.0f} s old"
    elif not facts.blocks:
        yield "no block was ever sealed"


def _held(facts: SealFacts) -> Iterator[str]:
    if facts.written is None:
        raise NotAskedError("this is asked with the sealer's configuration", _I)
    if facts.written.number and facts.there != facts.written.hash:
        yield f"block {facts.written.number}, whose head was exported, is not in the database, or is another"


def _exported(facts: SealFacts) -> Iterator[str]:
    if facts.written is None or facts.newest is None:
        raise NotAskedError("this is asked with the sealer's configuration", _I)
    if facts.newest > facts.written.number + 1:
        yield f"{facts.newest - facts.written.number} blocks have no head in the file"


def _journal(facts: SealFacts) -> Iterator[str]:
    if facts.role != "resolver":
        raise NotAskedError("this is asked with the resolver's configuration", _I)
    if not facts.journal:
        yield "the resolver keeps no journal: a number decrypted without an audit event does not show"


AREA = Area[SealFacts](
    "sealing",
    "PostgreSQL, the sealer's file of heads, the files of its and the resolver's signing keys",
    (
        Check("sealing.key", _C, "The key that signs is for its process alone",
              "Who has it signs a chain of their own.", "chmod 0400 it, in a folder of its user's.", _key),
        Check("sealing.lag", _C, "Events are sealed within a minute",
              "What is altered before its seal does not show.",
              "Start `esl-shield sealer`; look for transactions that stay open (docs/dba.md).", _lag),
        Check("sealing.held", _C, "The database holds the block whose head was exported last",
              "It was rolled back, restored, or its chain replaced.",
              "Run `esl-shield audit verify --from-head`, then see docs/operations.md.", _held),
        Check("sealing.exported", _W, "The head of every block is in the file",
              "A head that never left the database proves nothing.", "Look at the sealer's log and at its disk.",
              _exported),
        Check("sealing.journal", _W, "The resolver signs how often it decrypts",
              "An event that is removed before its seal leaves a decryption too many there.",
              "Give it [journal], and its key with `esl-shield audit init-key --for journal`.", _journal),
    ),
)  # fmt: skip
