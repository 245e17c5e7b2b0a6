"""New numbers for tokens there are: a customer changed numbers, token and aliases stay.

Invariants: a row names its token by itself or by its alias and gives the new number; a number that another token has
is refused; a batch is one transaction, so an interrupted file is run again and finds what it replaced unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esl_shield.errors.keys import KeysChanged
from esl_shield.vault import batches, masking, tokens
from esl_shield.vault.batches import Answer, Job, Step, Tally
from esl_shield.vault.rows import KNOWN_COLUMNS, Refused, Row, read_row
from esl_shield.vault.seeder import candidate_for
from esl_shield.vault.seedkeys import open_keys

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from esl_shield.vault.batches import Progress
    from esl_shield.vault.csvfile import Header, Source
    from esl_shield.vault.keks import AnyKek
    from esl_shield.vault.store import Store

_MAX_RENEWALS = 3
COLUMNS = (*KNOWN_COLUMNS, "token")
ROW_UNNAMED = "row.unnamed"
TOKEN_MALFORMED = "token.malformed"  # noqa: S105 - a reason's name
# What the database answers a row with, as the reason of its refusal.
_REFUSALS = {"unknown": "token.unknown", "held": "token.held", "number_taken": "number.taken"}
REPLACED = "replaced"


@dataclass
class Replaced(Tally):
    """What a run did, in rows; ``unchanged`` had that number before."""

    replaced: int = 0
    unchanged: int = 0


class Replacer:
    """Replaces numbers of one tenant's tokens. Close the store yourself."""

    def __init__(self, store: Store, kek: AnyKek, tenant: str) -> None:
        """Raise TenantUnknown, KeysMissing, WrongKek or KeyDamaged."""
        self._store = store
        self._kek = kek
        self.tenant = store.tenant(tenant)
        self._keys = open_keys(kek, self.tenant)

    def replace(self, rows: Sequence[Row]) -> list[tuple[str | None, str]]:
        """Replace a batch in one transaction; returns token and outcome of each, in order. Raises DatabaseAway."""
        found = self._store.find(self.tenant, [(row.token, row.alias) for row in rows])
        known = [(token, row) for token, row in zip(found, rows, strict=True) if token is not None]
        outcomes = iter(self._replace(known) if known else [])
        return [(token, next(outcomes) if token is not None else "unknown") for token in found]

    def _replace(self, known: Sequence[tuple[str, Row]]) -> list[str]:
        for left in reversed(range(_MAX_RENEWALS + 1)):
            rows = [candidate_for(self.tenant, self._keys, token, row._replace(alias=None)) for token, row in known]
            try:
                return self._store.replace(self.tenant, self._keys, rows)
            except KeysChanged:
                if not left:
                    raise
                self.tenant = self._store.tenant(self.tenant.name)
                self._keys = open_keys(self._kek, self.tenant)
        raise AssertionError


def replace_csv(
    replacer: Replacer, source: Source, output: Path, labels: Sequence[str], *, progress: Progress
) -> Replaced:
    """Replace the number of every row's token; ``batches.run`` says what is written and raised, DatabaseAway too."""
    job = _Replacing(replacer)
    batches.run(job, source, output, labels, progress=progress)
    return job.tally


class _Replacing(Job):
    columns = COLUMNS

    def __init__(self, replacer: Replacer) -> None:
        self._replacer = replacer
        self.tally: Replaced = Replaced()

    def missing(self, header: Header) -> str | None:
        if {"alias", "token"} & set(header.positions):
            return None
        return "its first row has no column token or alias, one of which names each row's token"

    def read(self, cells: dict[str, str], now: dt.datetime) -> Row | Refused:
        token = cells.pop("token", "").strip() or None
        row = read_row(cells, self._replacer.tenant, now, None)
        if isinstance(row, Refused):
            return row
        if token is None and row.alias is None:
            return Refused(ROW_UNNAMED, masking.phone(cells["number"]))
        if token is not None and not tokens.is_valid(token):
            return Refused(TOKEN_MALFORMED, masking.phone(cells["number"]))
        return row._replace(token=token)

    def prepare(self, rows: list[Row]) -> Step:
        return Step(partial(self._replace, rows))

    def _replace(self, rows: list[Row]) -> list[Answer]:
        answers = self._replacer.replace(rows)
        replaced = sum(outcome == REPLACED for _, outcome in answers)
        refused = sum(outcome in _REFUSALS for _, outcome in answers)
        self.tally.replaced += replaced
        self.tally.unchanged += len(answers) - replaced - refused
        return [Answer(token, _REFUSALS.get(outcome)) for token, outcome in answers]
