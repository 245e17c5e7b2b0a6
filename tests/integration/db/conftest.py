"""Two tenants, acme and brick, with a token each, and logins of the roles."""

from __future__ import annotations

import pytest

ACME_TOKEN = "91000000000018"
BRICK_TOKEN = "92000000000014"


@pytest.fixture
def tenants(database):
    """Ids by name."""
    ids = {"acme": database.tenant("acme", prefix="91"), "brick": database.tenant("brick", prefix="92")}
    database.tokens(ids["acme"], ACME_TOKEN, alias="customer-1", country="CN", line_type="mobile")
    database.tokens(ids["brick"], BRICK_TOKEN)
    return ids


@pytest.fixture
def worker(database, tenants):
    """Acme's worker."""
    return database.open(database.login("worker", ["acme"]))


@pytest.fixture
def resolver(database, tenants):
    """Acme's resolver, for any delivery."""
    return database.open(database.login("resolver", ["acme"]))


@pytest.fixture
def seeder(database, tenants):
    """Acme's seeder."""
    return database.open(database.login("seeder", ["acme"]))
