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

from esl_shield.config.pkcs11_uri import SCHEME
from esl_shield.db.engine import Database, sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors import ShieldError
from esl_shield.errors.database import NO_RIGHT, DatabaseRefused
from esl_shield.service.doctor.files import FileFacts, look, process_user
from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, NotAskedError, Problem, Severity
from esl_shield.service.hardening import harden
from esl_shield.vault.keks import open_keks
from esl_shield.vault.keys import device_flaws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config
    from esl_shield.config.pkcs11_uri import Place
    from esl_shield.config.resolver import KeysConfig
    from esl_shield.vault.keys.seats import Flaws

NEED_ONE = ("resolver", "seeder", "admin")
WORKER = "worker"


@dataclass(frozen=True)
class KeyFacts:
    """Where the KEK, or its device's PIN, is and who reads it.

    ``opened``: its fingerprint or why it, or an earlier one, cannot be opened. ``earlier``: the fingerprints of [keys]
    previous. ``wrapping``: the fingerprints of the KEKs that wrap the keys this login sees, or why they cannot be asked
    for. ``strays``: files of earlier KEKs, or of their devices' PINs, and other key files beside the configuration. Of
    a device also its ``module`` and the key's ``flaws``.
    """

    role: str
    user: int
    source: str
    file: FileFacts | None
    strays: tuple[FileFacts, ...] = ()
    opened: str | ShieldError | None = None
    wrapping: frozenset[str] | ShieldError | None = None
    module: FileFacts | None = None
    flaws: Flaws | ShieldError | None = None
    earlier: frozenset[str] = frozenset()

    @property
    def secret(self) -> str:
        """What ``file`` holds."""
        return "PIN of the KEK's device" if self.source.startswith(SCHEME) else "KEK"


def look_at_keys(config: Config, role: str) -> KeyFacts:
    """Look at the KEK; raises NotApplicableError for a role that neither has one nor must be kept from one."""
    source = config.keys.kek if config.keys else ""
    if not source and role not in (*NEED_ONE, WORKER):
        message = f"the {role}'s configuration has no [keys], and needs none"
        raise NotApplicableError(message)
    places = config.keys.places if config.keys else ()
    place = places[0][1] if places else None
    path, *earlier_paths = [_path(*named) for named in places] or [""]
    user = process_user(config.source)
    beside = {str(found) for found in Path(config.source).absolute().parent.glob("*.kek")}
    strays = tuple(look(found) for found in sorted(beside.union(earlier_paths) - {path, ""}))
    file = look(path) if path else None
    module = look(place.module) if place else None
    if role == WORKER or config.keys is None:
        return KeyFacts(role, user, source, file, strays, module=module)
    harden()
    opened, earlier = _opened(config.keys)
    flaws = _flaws(config.keys) if place and isinstance(opened, str) else None
    return KeyFacts(role, user, source, file, strays, opened, _wrapping(config, role), module, flaws, earlier)


def _path(uri: str, place: Place | None) -> str:
    """Return which file holds a KEK, or the PIN of its device; nothing for one in the environment."""
    if place:
        return place.pin_file
    return uri.removeprefix("file:") if uri.startswith("file:") else ""


def _flaws(keys: KeysConfig) -> Flaws | ShieldError:
    try:
        return device_flaws(keys.kek, keys.device)
    except ShieldError as error:
        return error


def _opened(keys: KeysConfig) -> tuple[str | ShieldError, frozenset[str]]:
    try:
        keks = open_keks(keys)
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
        call_failed("keys", orig, schema="dba")
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
        yield Problem(f"others can put another file in the place of {file.path}", f"chmod go-w {file.open_folder}")


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
                f"the worker's user can read the {facts.secret if file is facts.file else 'KEK'} at {file.path}",
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


def _device(facts: KeyFacts) -> Iterator[Problem | str]:
    if facts.source.startswith(SCHEME) and facts.role != WORKER and facts.flaws is None:
        raise NotAskedError("the KEK could not be opened")
    if isinstance(facts.flaws, ShieldError):
        yield str(facts.flaws.args[0])
    elif facts.flaws:
        for flaw in facts.flaws.unfit:
            yield f"the KEK {flaw}"
        for flaw in facts.flaws.weak:
            yield f"of the KEK, {flaw}"
        for flaw in facts.flaws.foreign:
            yield Problem(f"of the KEK, {flaw}: whoever had it then may have it still", severity=Severity.WARNING)


def _module(facts: KeyFacts) -> Iterator[Problem | str]:
    file = facts.module
    if file is None:
        return
    if file.mode is None:
        yield Problem(f"there is no module at {file.path}", "Install the device's software, or correct module-path.")
    elif file.others_write or file.owner not in (0, facts.user):
        yield f"others can change {file.path}"
    if file.open_folder:
        yield Problem(f"others can put another file in the place of {file.path}", f"chmod go-w {file.open_folder}")


def _wraps(facts: KeyFacts) -> Iterator[Problem | str]:
    if facts.role == WORKER:
        raise NotAskedError("a worker has no KEK", Severity.INFO)
    if not isinstance(facts.opened, str):
        raise NotAskedError("the KEK could not be opened")
    if isinstance(facts.wrapping, DatabaseRefused) and facts.wrapping.sqlstate == NO_RIGHT:
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
    "the KEK's file or device, and PostgreSQL for the keys it wraps",
    (
        Check("keys.readers", Severity.CRITICAL,
              "The KEK, or the PIN of its device, is readable to its process alone, and never to the worker",
              "Whoever has the KEK and a backup has every number; whoever has the PIN can have them decrypted.",
              "chmod 0400 it; one copy per Unix user.", _readers),
        Check("keys.strays", Severity.CRITICAL, "No other key lies open beside the configuration",
              "Copies are forgotten.", "chmod 0400 it, or remove it.", _strays),
        Check("keys.opens", Severity.CRITICAL, "The KEK can be opened",
              "Without it no number can be read, and nothing seeded.",
              "Restore it from its copy; for a new installation, esl-shield keys init.", _opens),
        Check("keys.wraps", Severity.CRITICAL, "The KEK is the one that wraps every tenant's keys",
              "Calls of a tenant whose keys another KEK wraps all fail.", "Configure the right one in [keys] kek.",
              _wraps),
        Check("keys.device", Severity.CRITICAL, "A KEK that is in a PKCS#11 device cannot leave it",
              "A key that can leave protects no more than a file.",
              "Make another with esl-shield keys init, and move to it with keys rewrap.", _device),
        Check("keys.module", Severity.CRITICAL, "A device's PKCS#11 module can be changed by nobody else",
              "It runs inside the process, with the PIN and every number.", "chown root and chmod go-w it.", _module),
    ),
)  # fmt: skip
