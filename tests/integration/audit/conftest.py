"""A site with a tenant whose events are sealed; one for each test, or one for a module."""

from __future__ import annotations

import pytest
from fix_postgres import TEMPLATE, ShieldDatabase, _maintain
from sealing_site import SealingSite


@pytest.fixture
def site(database, tmp_path):
    """A tenant, a sealer and an auditor."""
    database.tenant("acme")
    return SealingSite(database, tmp_path)


@pytest.fixture(scope="module")
def sealed(cluster, request, tmp_path_factory):
    """Three blocks in a database of this module's own; what a test does to it, it rolls back."""
    name = request.module.__name__
    _maintain(cluster, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    database = ShieldDatabase(cluster, name)
    database.tenant("acme")
    site = SealingSite(database, tmp_path_factory.mktemp("sealed"))
    for _ in range(3):
        site.write_events(6)
        site.seal()
    yield site
    database.close()
    _maintain(cluster, f"DROP DATABASE {name} WITH (FORCE)")
