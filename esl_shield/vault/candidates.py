"""Rows for the database, everything but the number, spelled as its functions take them.

Invariants: what is spelled is ciphertext, blind index and what was derived, never a number; no value holds the comma
that joins a column.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.vault.rows import Row
    from esl_shield.vault.seedkeys import TenantKeys

_T = TypeVar("_T")


class Candidate(NamedTuple):
    """One row for the database: everything but the number."""

    number_index: bytes
    token: str
    ciphertext: bytes
    row: Row
    previous_index: bytes | None = None


class Batch(NamedTuple):
    """Rows for the database, in columns, and the keys they were made with; ``columns`` as ``seed_batch`` takes them."""

    keys: TenantKeys
    rows: Sequence[Row]
    indexes: list[bytes]
    tokens: list[str]
    ciphertexts: list[bytes]
    previous: list[bytes | None]
    columns: list[object]

    @property
    def known_by(self) -> list[object]:
        """The columns by which ``find_seeded`` finds rows: their indexes and aliases."""
        return [b"".join(self.indexes), _aliases_of(self.rows)]

    def only(self, positions: Sequence[int]) -> Batch:
        """Give some of the rows as a batch of their own, with the tokens drawn for them."""
        rows, indexes = _picked(self.rows, positions), _picked(self.indexes, positions)
        drawn, ciphertexts = _picked(self.tokens, positions), _picked(self.ciphertexts, positions)
        columns = columns_of(rows, indexes, drawn, ciphertexts)
        return Batch(self.keys, rows, indexes, drawn, ciphertexts, _picked(self.previous, positions), columns)

    def candidates(self) -> list[Candidate]:
        """Give row by row what ``seed_tokens`` takes."""
        return list(map(Candidate, self.indexes, self.tokens, self.ciphertexts, self.rows, self.previous))


def _aliases_of(rows: Sequence[Row]) -> str | None:
    aliases = [row.alias or "" for row in rows]
    return ",".join(aliases) if any(aliases) else None


def _picked(column: Sequence[_T], positions: Sequence[int]) -> list[_T]:
    return [column[at] for at in positions]


def payload_of(ord_: int, candidate: Candidate) -> dict[str, Any]:
    """Spell a row as the database's functions take it."""
    row = candidate.row
    spelled = {
        "ord": ord_,
        "index": candidate.number_index.hex(),
        "token": candidate.token,
        "ciphertext": candidate.ciphertext.hex(),
        "alias": row.alias,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "country": row.derived.country,
        "region": row.derived.region,
        "time_zone": row.derived.time_zone,
        "line_type": row.derived.line_type,
        "labels": dict(row.labels),
    }
    if candidate.previous_index is not None:
        spelled["previous"] = candidate.previous_index.hex()
    return spelled


def columns_of(
    rows: Sequence[Row], indexes: Sequence[bytes], drawn: Sequence[str], ciphertexts: Sequence[bytes]
) -> list[object]:
    """Spell rows as ``seed_batch`` takes them: a text or byte string for each column, each place once.

    PostgreSQL takes these apart five times as fast as it reads JSON. No value holds the comma between them.
    """
    derived = [row.derived for row in rows]
    at_place = {id(place): place for place in derived}  # not by value: hashing four texts costs more than they save
    position = {key: str(at) for at, key in enumerate(at_place, 1)}
    places = list(at_place.values())
    expiries = [row.expires_at for row in rows]
    labels = [row.labels for row in rows]
    return [
        b"".join(indexes),
        ",".join(drawn),
        b"".join(ciphertexts),
        _aliases_of(rows),
        ",".join([moment.isoformat() if moment else "" for moment in expiries]) if any(expiries) else None,
        [place.country for place in places],
        [place.region for place in places],
        [place.time_zone for place in places],
        [place.line_type for place in places],
        ",".join([position[id(place)] for place in derived]),
        json.dumps(list(map(dict, labels))) if any(labels) else None,
    ]
