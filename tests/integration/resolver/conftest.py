"""One seeded vault and one resolver for each module; a test that damages something mends it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from fix_postgres import TEMPLATE, ShieldDatabase, _maintain
from resolver_process import ResolverProcess, Vault, finish, run, search

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def database(cluster, request):
    """A migrated database of this module's own."""
    name = request.module.__name__
    _maintain(cluster, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    made = ShieldDatabase(cluster, name)
    yield made
    made.close()
    _maintain(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def vault(database, tmp_path_factory):
    """A tenant, its keys and one token for each of NUMBERS."""
    vault = Vault(database, tmp_path_factory.mktemp("vault"))
    yield vault
    vault.close()


@pytest.fixture(scope="module")
def start_resolver(database, vault, tmp_path_factory):
    """Start ``esl-shield resolver``; at the end it must stop on SIGTERM and have written no secret."""
    started: list[ResolverProcess] = []

    def start(*, kek: Path | None = None, deliveries: list[str] | None = None, login=None, **sections: str | bool):
        login = login or database.login("resolver", deliveries=deliveries)
        process = run(tmp_path_factory.mktemp("resolver"), login, kek or vault.kek_file, **sections)
        started.append(process)
        return process

    start.login = lambda: database.login("resolver")
    yield start
    for process in started:
        finish(process)
        search(process, vault)


@pytest.fixture(scope="module")
def resolver(start_resolver):
    """A resolver with the usual configuration."""
    return start_resolver()


@pytest.fixture
def until():
    """Ask until a question is answered with yes, or fail after ten seconds."""

    def until(question, seconds: float = 10.0) -> None:
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not question():
            assert time.monotonic() < deadline, "it never came true"
            pause.wait(0.02)

    return until
