"""A PostgreSQL cluster for the whole run and a migrated database for each test.

A login here is a login: it has a password and reaches the server as itself. Without PostgreSQL tests are skipped, with
CI=true they fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.binaries import find_binaries
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import Database, sqlalchemy_engine
from esl_shield.db.logins import make_login
from esl_shield.db.upgrade import make_roles, upgrade
from esl_shield.errors.database import EmbeddedUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEMPLATE = "shield_template"
_numbers = itertools.count(1)


def pytest_report_header() -> str:
    try:
        return f"PostgreSQL from {find_binaries()}"
    except EmbeddedUnavailable as error:
        return str(error)


class ShieldDatabase:
    """A migrated database of one test: its administrator, and logins made as a site makes them."""

    def __init__(self, cluster: EmbeddedPostgres, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.admin = DatabaseConfig(cluster.url(dbname=name), connect_timeout_s=5, statement_timeout_s=10)
        self._closing = contextlib.ExitStack()
        self._administrator: Any = None

    def login(
        self,
        role: str,
        tenants: Sequence[str] | None = None,
        deliveries: Sequence[str] | None = None,
        mint_per_s: int | None = None,
        person: str | None = None,
        rights: Sequence[str] = (),
        lookups_per_s: int | None = None,
    ) -> DatabaseConfig:
        """A fresh login of this role, mapped to tenants (names) that exist already."""
        number = next(_numbers)
        name = f"test_{role}_{number}"
        if role == "revealer":  # each is a person of their own unless a test says who
            person = person or "Person " + "ABCDEFGHIJ"[number % 10] * (number // 10 % 50 + 1)
        make_login(
            sqlalchemy_engine(self.admin), name, self.cluster.password(name), role=role, tenants=tenants,
            deliveries=deliveries, mint_per_s=mint_per_s, person=person, rights=rights, lookups_per_s=lookups_per_s,
        )  # fmt: skip
        return DatabaseConfig(self.cluster.url(name, self.name), connect_timeout_s=5, statement_timeout_s=10)

    def tenant(self, name: str = "acme", *, prefix: str = "91", length: int = 14) -> int:
        """A tenant of that name at ``<name>.example``, without caps on tokens; answers its id."""
        rows = self.query("SELECT shield_api.add_tenant(%s, %s, %s, %s, 'CN')", name, f"{name}.example", prefix, length)
        self.query("SELECT shield_api.set_caps(%s, NULL, NULL, NULL)", name)
        return int(rows[0][0])

    def tokens(self, tenant_id: int, *tokens: str, **fields: object) -> None:
        """Seed these tokens, each with a number of its own (made-up index and ciphertext)."""
        rows = [
            {
                "ord": position,
                "index": hashlib.sha256(token.encode()).hexdigest(),
                "token": token,
                "ciphertext": hashlib.sha512(token.encode()).hexdigest(),
                **fields,
            }
            for position, token in enumerate(tokens)
        ]
        self.query("SELECT * FROM shield_api.seed_tokens(%s, 1, 1, %s)", tenant_id, json.dumps(rows))

    def open(self, config: DatabaseConfig, *, needs: str = "") -> Database:
        """The engine under test, closed when the test ends."""
        database = Database(config, application_name="tests", needs=needs)
        self._closing.callback(database.close)
        return database

    def connect(self, config: DatabaseConfig | None = None) -> Any:
        """A plain psycopg2 connection in autocommit, for what no function of ours does; closed when the test ends."""
        url = make_url((config or self.admin).url)
        connection = psycopg2.connect(
            host=url.query["host"], user=url.username, password=url.password, dbname=url.database
        )
        connection.autocommit = True
        self._closing.callback(connection.close)
        return connection

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of one statement, as the administrator."""
        if self._administrator is None:
            self._administrator = self.connect()
        with self._administrator.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description is not None else []

    def close(self) -> None:
        """Close what this test opened."""
        self._closing.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """The run's cluster, with our roles and a migrated template database."""
    postgres = EmbeddedPostgres()
    try:
        postgres.start()
    except EmbeddedUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    try:
        _maintain(postgres, f"CREATE DATABASE {TEMPLATE}")
        engine = sqlalchemy_engine(DatabaseConfig(postgres.url(dbname=TEMPLATE)))
        make_roles(engine)
        upgrade(engine)
        yield postgres
    finally:
        postgres.stop()


@pytest.fixture
def database(cluster: EmbeddedPostgres) -> Iterator[ShieldDatabase]:
    """A migrated database of this test's own."""
    name = f"test_{next(_numbers)}"
    _maintain(cluster, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    made = ShieldDatabase(cluster, name)
    try:
        yield made
    finally:
        made.close()
        _maintain(cluster, f"DROP DATABASE {name} WITH (FORCE)")


def _maintain(postgres: EmbeddedPostgres, statement: str) -> None:
    url = make_url(postgres.url())
    with contextlib.closing(
        psycopg2.connect(host=url.query["host"], user=url.username, password=url.password, dbname="postgres")
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
