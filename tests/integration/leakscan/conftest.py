"""A vault of made-up numbers and a scanner's login."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from vault_lab import TENANT, VaultLab, vault  # noqa: F401 - the fixture

from esl_shield.vault.leaks import Leaks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from esl_shield.config.database import DatabaseConfig


class LeakLab:
    """The tenant's numbers by token, and ways to search for them."""

    def __init__(self, lab: VaultLab) -> None:
        self.lab = lab
        self.login: DatabaseConfig = lab.database.login("scanner", tenants=[TENANT], lookups_per_s=1000)
        self.tokens: dict[str, str] = {}
        self._open: list[Leaks] = []

    def seed(self, numbers: Sequence[str]) -> None:
        """Put numbers (E.164) into the vault."""
        seeder = self.lab.seeder()
        self.tokens |= {number: seeder.add(number, None, None)[0] for number in numbers}

    def leaks(self, login: DatabaseConfig | None = None, **more: Sequence[str]) -> Leaks:
        """Open the vault as the scanner does."""
        leaks = Leaks(login or self.login, self.lab.kek, more.get("tenants", ()), more.get("prefixes", ()))
        self._open.append(leaks)
        return leaks

    def config(self) -> Path:
        """The scanner's configuration."""
        return self.lab.config(self.login)

    def close(self) -> None:
        """Close what this test opened."""
        for leaks in self._open:
            leaks.close()


@pytest.fixture
def lab(vault: VaultLab) -> Iterator[LeakLab]:  # noqa: F811
    made = LeakLab(vault)
    try:
        yield made
    finally:
        made.close()
