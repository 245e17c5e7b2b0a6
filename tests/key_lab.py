"""A tenant whose keys change: the administrator, the rekeyer's job and what every row opens to."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from esl_shield.resolver.rekeying import Rate, Rekeyer
from esl_shield.vault import cipher, keylife, keyring
from esl_shield.vault.keks import Keks
from esl_shield.vault.numbers import parse_derived
from esl_shield.vault.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vault_lab import VaultLab

    from esl_shield.db.engine import Database
    from esl_shield.resolver.rekeying import Progress, Work
    from esl_shield.vault.keylife import TenantKey
    from esl_shield.vault.keyring import Purpose
    from esl_shield.vault.seeder import Outcome, Seeder

TENANT = "acme"
PATIENCE_S = 60.0


class KeyLab:
    """Changes the keys of the tenant ``acme`` of a VaultLab and looks at what became of its rows."""

    def __init__(self, vault: VaultLab) -> None:
        self.vault = vault
        self.database = vault.database
        self.tenant_id = int(self.one("SELECT id FROM shield.tenants WHERE name = %s", TENANT))
        self.rekeyer_login = vault.database.login("rekeyer", tenants=[TENANT])
        self.keks: Keks = Keks(vault.kek)

    def one(self, statement: str, *values: object) -> Any:
        """The first value of one statement, as the administrator."""
        rows = self.database.query(statement, *values)
        return rows[0][0] if rows and rows[0] else None

    def seed(self, first: int, count: int, seeder: Seeder | None = None) -> list[Outcome]:
        """Seed the plainly invented mobiles +86138 and eight digits, from a number on."""
        seeder = seeder or self.vault.seeder()
        return seeder.seed(seeder.prepare(rows(range(first, first + count))))

    def rotate(self, purpose: Purpose = "data") -> TenantKey:
        """Rotate the tenant's key."""
        (key,) = keylife.newest_keys(self.database.admin, purpose, TENANT)
        return keylife.rotate(self.database.admin, self.keks, key)

    def job(self, work: Work = "reencrypt", database: Any = None, rate: int | None = None) -> Rekeyer:
        """A job over the rekeyer's login."""
        return Rekeyer(database or self.opened(), self.keks, work, Rate(rate), patience_s=1.0)

    def opened(self) -> Database:
        """The rekeyer's connection."""
        return self.database.open(self.rekeyer_login)

    def do(self, work: Work = "reencrypt", database: Any = None) -> Progress | None:
        """Run a job to its end; the last progress."""
        job = self.job(work, database)
        made = [progress for due in job.due(TENANT) if due.due for progress in job.run(due)]
        return made[-1] if made else None

    def key(self, purpose: Purpose, version: int) -> keyring.Key:
        """An opened key."""
        statement = "SELECT wrapped, kek_id FROM shield.data_keys WHERE (tenant_id, purpose, version) = (%s, %s, %s)"
        ((wrapped, kek_id),) = self.database.query(statement, self.tenant_id, purpose, version)
        names: dict[str, Any] = {"tenant_id": self.tenant_id, "purpose": purpose, "version": version}
        return keyring.unwrap(self.keks, bytes(wrapped), kek_id=kek_id, **names)

    def versions(self) -> set[int]:
        """Which data key versions rows are under."""
        return {row[0] for row in self.database.query("SELECT DISTINCT key_version FROM shield.tokens")}

    def numbers(self) -> dict[str, str]:
        """What every token's ciphertext opens to."""
        kept = self.database.query("SELECT token, ciphertext, key_version FROM shield.tokens")
        keys = {version: self.key("data", version) for version in self.versions()}
        return {
            token: cipher.decrypt(keys[version], bytes(blob), self.tenant_id, token, version).reveal()
            for token, blob, version in kept
        }

    def refs(self, version: int) -> int:
        """How many rows are indexed under an index key."""
        return int(self.one("SELECT count(*) FROM shield.number_refs WHERE index_version = %s", version))

    def let_calls_end(self) -> None:
        """Move everything that happened to keys back by a minute, as if it had passed."""
        for table, columns in (
            ("data_keys", ("created_at", "retired_at")),
            ("rekeyings", ("started_at", "moved_at", "finished_at")),
        ):
            moved = ", ".join(f"{column} = {column} - interval '1 minute'" for column in columns)
            self.database.query(f"UPDATE shield.{table} SET {moved}")

    def config(self, role: str) -> Path:
        """A configuration file of its own for ``admin`` or ``rekeyer``."""
        login = self.database.admin if role == "admin" else self.rekeyer_login
        path = self.vault.folder / f"{role}.toml"
        path.write_text(self.vault.config(login).read_text())
        path.chmod(0o600)
        return path

    def until_waiting(self, application: str) -> None:
        """Return once a connection of this application waits for a lock."""
        statement = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s"
            " AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + PATIENCE_S
        while self.one(statement, f"%{application}%") is None:  # each look is a round trip
            assert time.monotonic() < deadline, f"{application} waits for nothing"


def rows(numbers: Sequence[int]) -> list[Row]:
    """Rows of plainly invented mobiles, ready to be seeded."""
    return [Row(*parse_derived(f"138{number:08d}", "CN"), None, None, {}) for number in numbers]


class Between:
    """A database that does something once, right before a function is called."""

    def __init__(self, database: Any, function: str, then: Callable[[], object]) -> None:
        self._database = database
        self._function = function
        self._then: Callable[[], object] | None = then

    def call(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        if function == self._function and self._then is not None:
            then, self._then = self._then, None
            then()
        return self._database.call(function, *arguments)


class Running(threading.Thread):
    """Work in a thread whose failure is the test's."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self.result: Any = None
        self._failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - told by done()
            self._failure = error

    def done(self) -> Any:
        """Wait for the end; its result, or its failure raised."""
        self.join(PATIENCE_S)
        assert not self.is_alive()
        if self._failure is not None:
            raise self._failure
        return self.result


@pytest.fixture
def lab(vault: VaultLab) -> Iterator[KeyLab]:
    return KeyLab(vault)
