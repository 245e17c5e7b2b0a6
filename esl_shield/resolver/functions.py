"""What every part of the resolver leans on: the database's functions, and who counts what is done with ciphertexts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Functions(Protocol):
    """The database as this room uses it: named functions, one round trip each."""

    def call(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of ``shield_api.<function>``; raises DatabaseAway."""


Count = Callable[[str], None]
"""Told of each ciphertext received, decrypted or withheld, and of each answer that did not come (``audit.journal``)."""


def no_count(what: str) -> None:
    """Count nowhere."""


def both(first: Count, second: Count) -> Count:
    """Return one that counts in two places."""

    def count(what: str) -> None:
        first(what)
        second(what)

    return count
