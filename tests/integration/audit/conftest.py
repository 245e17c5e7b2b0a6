"""A site with a tenant whose events are sealed."""

from __future__ import annotations

import pytest
from sealing_site import SealingSite


@pytest.fixture
def site(database, tmp_path):
    """A tenant, a sealer and an auditor."""
    database.tenant("acme")
    return SealingSite(database, tmp_path)
