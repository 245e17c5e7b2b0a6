"""A steward's and an eraser's side of the database: legal holds, restoring, caps, erasure.

Invariants: one method is one call of one ``shield_api`` function; none of them takes or returns a number, a ciphertext
or a key; what is erased is gone when the call returns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from esl_shield.db.engine import Database

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterator, Sequence
    from typing import Self

    from esl_shield.config.database import DatabaseConfig

APPLICATION = "esl_shield token life"
# A batch waits for imports and for calls that are being authorised.
PATIENCE_S = 60.0
# Each token of a batch takes a lock of its own; PostgreSQL's table of locks has 64 for each connection by default.
BATCH = 100
NO_CAP = 2**31 - 1
ERASED, ALREADY, HELD, UNKNOWN = "erased", "already", "held", "unknown"


@dataclass(frozen=True)
class Name:
    """What names a token: itself, its alias, or both; ``line`` is where in a list, 0 on the command line."""

    token: str | None
    alias: str | None
    line: int = 0


@dataclass(frozen=True)
class Case:
    """Why something is done: the case's id and a reason, kept for good."""

    id: str
    reason: str


@dataclass(frozen=True)
class Erasure:
    """What became of one name; the facts are those of the erasure, also when it was earlier."""

    name: Name
    token: str | None
    outcome: Literal["erased", "already", "held", "unknown"]
    id: uuid.UUID | None
    erased_at: dt.datetime | None
    login: str | None
    case: Case | None
    erased: dict[str, int] | None


class TokenLife:
    """A steward's or an eraser's connection; raises DatabaseAway when PostgreSQL does not answer. A context manager."""

    def __init__(self, config: DatabaseConfig, *, needs: str) -> None:
        """``needs`` says in errors whose login it takes, such as ``a steward``."""
        patient = replace(config, pool_size=1, statement_timeout_s=max(config.statement_timeout_s, PATIENCE_S))
        self._database = Database(patient, application_name=APPLICATION, needs=needs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def hold(self, tenant: str, name: Name, case: Case) -> tuple[str, str | None]:
        """Place a hold; returns HELD, UNCHANGED, UNKNOWN or REFUSED, and the token."""
        return self._database.call("hold_token", tenant, name.token, name.alias, case.id, case.reason)[0]

    def release(self, tenant: str, name: Name, case: Case) -> tuple[str, str | None, int]:
        """End a case's hold; returns RELEASED, UNCHANGED, UNKNOWN or REFUSED, the token, and how many holds stand."""
        return self._database.call("release_token", tenant, name.token, name.alias, case.id, case.reason)[0]

    def restore(self, tenant: str, name: Name, case: Case) -> tuple[str, str | None]:
        """Undo a revocation; returns RESTORED, UNCHANGED, UNKNOWN or REFUSED, and the token."""
        return self._database.call("restore_token", tenant, name.token, name.alias, case.id, case.reason)[0]

    def cap(self, tenant: str, token: str, per_day: int | None) -> str:
        """Set a token's own cap (None: its tenant's again, NO_CAP: none); returns SET, UNCHANGED, UNKNOWN, REFUSED."""
        return str(self._database.call("set_token_cap", tenant, token, per_day)[0][0])

    def erase(self, tenant: str, names: Sequence[Name], case: Case) -> Iterator[Erasure]:
        """Erase tokens' numbers, a batch a transaction; yields what became of each name, in order."""
        for at in range(0, len(names), BATCH):
            batch = names[at : at + BATCH]
            arguments = [name.token for name in batch], [name.alias for name in batch], case.id, case.reason
            for row in self._database.call("erase_tokens", tenant, *arguments):
                ord_, token, outcome, id_, erased_at, login, case_id, reason, erased = row
                why = None if case_id is None else Case(case_id, reason)
                yield Erasure(batch[ord_ - 1], token, outcome, id_, erased_at, login, why, erased)
