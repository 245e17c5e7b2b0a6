"""Area ``keys``: who can read the key-encryption key (KEK), and whether it is the one that wraps the tenants' keys.

Invariants: the KEK is opened only for a role that has it anyway, in a hardened process, and nothing of it but its
fingerprint is kept; a worker's KEK is never opened, only looked at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import Database, sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors import ShieldError
from esl_shield.errors.database import DatabaseRefused
from esl_shield.service.doctor.files import FileFacts, look, process_user
from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, NotAskedError, Problem, Severity
from esl_shield.service.hardening import harden
from esl_shield.vault.keks import open_keks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config

NEED_ONE = ("resolver", "seeder", "admin")
WORKER = "worker"
_NO_RIGHT = "42501"


@dataclass(frozen=True)
class KeyFacts:
    """Where the KEK is and who reads it. ``opened`` is its fingerprint or why it, or an earlier one, cannot be opened.

    ``wrapping``: the fingerprints of the KEKs that wrap the keys this login sees, or why they cannot be asked for.
    ``strays``: other key files beside the configuration. ``earlier``: the fingerprints of [keys] previous.
    """

    role: str
    user: int
    source: str
    file: FileFacts | None
    strays: tuple[FileFacts, ...] = ()
    opened: str | ShieldError | None = None
    wrapping: frozenset[str] | ShieldError | None = None
    earlier: frozenset[str] = frozenset()


def look_at_keys(config: Config, role: str) -> KeyFacts:
    """Look at the KEK; raises NotApplicableError for a role that neither has one nor must be kept from one."""
    source = config.keys.kek if config.keys else ""
    if not source and role not in (*NEED_ONE, WORKER):
        message = f"the {role}'s configuration has no [keys], and needs none"
        raise NotApplicableError(message)
    path = source.removeprefix("file:") if source.startswith("file:") else ""
    user = process_user(config.source)
    strays = tuple(
        look(str(found)) for found in sorted(Path(config.source).absolute().parent.glob("*.kek")) if str(found) != path
    )
    file = look(path) if path else None
    if role == WORKER or not source:
        return KeyFacts(role, user, source, file, strays)
    harden()
    opened, earlier = _opened(config)
    return KeyFacts(role, user, source, file, strays, opened, _wrapping(config, role), earlier)


def _opened(config: Config) -> tuple[str | ShieldError | None, frozenset[str]]:
    if config.keys is None:
        return None, frozenset()
    try:
        keks = open_keks(config.keys)
    except ShieldError as error:
        return error, frozenset()
    return keks.id, keks.ids - {keks.id}


def _wrapping(config: Config, role: str) -> frozenset[str] | ShieldError:
    try:
        if role == "resolver":
            database = Database(config.database, application_name="esl-shield-doctor")
            try:
                return frozenset(str(row[0]) for row in database.call("kek_ids"))
            finally:
                database.close()
        with sqlalchemy_engine(config.database).connect() as connection:
            statement = "SELECT DISTINCT kek_id FROM dba.keys WHERE destroyed_at IS NULL"
            return frozenset(row[0] for row in connection.exec_driver_sql(statement))
    except ShieldError as error:
        return error
    except DBAPIError as error:
        orig = error.orig
    return (
        call_failed("dba.keys", orig)
        if isinstance(orig, psycopg2.Error)
        else connection_failed(orig or ConnectionError())
    )


def _readers(facts: KeyFacts) -> Iterator[Problem]:
    if facts.role == WORKER:
        yield from _reach(facts)
        return
    if facts.source.startswith("env:"):
        yield Problem(
            "the KEK is in an environment variable, which every child process inherits", '[keys] kek = "file:PATH"'
        )
    file = facts.file
    if file is None or file.mode is None:
        return
    if file.others_read or file.others_write:
        yield Problem(
            f"{file.path} has mode {file.octal}: others can read or change it",
            f"chmod 0400 {file.path}, and think of it as known to others.",
        )
    if file.owner not in (0, facts.user):
        yield Problem(f"{file.path} belongs to another user", f"chown it to the {facts.role}'s user.")
    if file.open_folder:
        yield Problem(f"others can put another key in the place of {file.path}", f"chmod go-w {file.open_folder}")


def _reach(facts: KeyFacts) -> Iterator[Problem]:
    if facts.user == 0:
        raise NotAskedError(
            "root reads every file: run doctor as the worker's Unix user, or make its configuration that user's"
        )
    if facts.source.startswith("env:") and facts.source.removeprefix("env:") in os.environ:
        yield Problem("the worker's environment holds the KEK")
    for file in (facts.file, *facts.strays):
        if file is not None and file.readable_to(facts.user):
            yield Problem(
                f"the worker's user can read the KEK at {file.path}",
                f"chown it to its own process's user, chmod 0400 {file.path}",
            )


def _strays(facts: KeyFacts) -> Iterator[Problem]:
    for file in facts.strays:
        if file.others_read or file.others_write:
            yield Problem(f"{file.path} has mode {file.octal}: others can read or change it", f"chmod 0400 {file.path}")


def _opens(facts: KeyFacts) -> Iterator[str]:
    if facts.role == WORKER:
        raise NotAskedError("a worker has no KEK", Severity.INFO)
    if not facts.source:
        yield "the configuration names no KEK"
    elif isinstance(facts.opened, ShieldError):
        yield str(facts.opened.args[0])


def _wraps(facts: KeyFacts) -> Iterator[Problem | str]:
    if facts.role == WORKER:
        raise NotAskedError("a worker has no KEK", Severity.INFO)
    if not isinstance(facts.opened, str):
        raise NotAskedError("the KEK could not be opened")
    if isinstance(facts.wrapping, DatabaseRefused) and facts.wrapping.sqlstate == _NO_RIGHT:
        raise NotAskedError(f"the {facts.role}'s login may not see which KEK wraps the keys", Severity.INFO)
    if isinstance(facts.wrapping, ShieldError) or facts.wrapping is None:
        raise NotAskedError(str(facts.wrapping.args[0]) if facts.wrapping else "the database was not asked")
    foreign = sorted(facts.wrapping - {facts.opened} - facts.earlier)
    if foreign:
        yield f"keys are wrapped under KEK {', '.join(foreign)}, and this one is {facts.opened}"
    if not facts.wrapping:
        yield Problem("no tenant this login sees has keys", "esl-shield keys init", Severity.WARNING)


AREA = Area[KeyFacts](
    "keys",
    "the KEK's file, and PostgreSQL for the keys it wraps",
    (
        Check("keys.readers", Severity.CRITICAL, "The KEK is readable to its process alone, and never to the worker",
              "Whoever has the KEK and a backup has every number.", "chmod 0400 it; one copy per Unix user.", _readers),
        Check("keys.strays", Severity.CRITICAL, "No other key lies open beside the configuration",
              "Copies are forgotten.", "chmod 0400 it, or remove it.", _strays),
        Check("keys.opens", Severity.CRITICAL, "The KEK can be opened",
              "Without it no number can be read, and nothing seeded.",
              "Restore it from its copy; for a new installation, esl-shield keys init.", _opens),
        Check("keys.wraps", Severity.CRITICAL, "The KEK is the one that wraps every tenant's keys",
              "Calls of a tenant whose keys another KEK wraps all fail.", "Configure the right one in [keys] kek.",
              _wraps),
    ),
)  # fmt: skip
