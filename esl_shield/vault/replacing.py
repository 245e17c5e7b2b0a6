"""New numbers for tokens there are: a customer changed numbers, token and aliases stay.

Invariants: a row names its token by itself or by its alias and gives the new number; a number that another token has
is refused; a batch is one transaction, so an interrupted file is run again and finds what it replaced unchanged; the
output gets its name when every row is in, one line for each accepted row in the file's order.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.errors.keys import KeysChanged
from esl_shield.vault import cipher, keyring, masking, tokens
from esl_shield.vault.csvfile import Header, Output, Source, defused, rejected_path
from esl_shield.vault.rows import KNOWN_COLUMNS, Refused, Row, check_label_name, read_row
from esl_shield.vault.seeder import previous_index
from esl_shield.vault.store import Candidate, Store, open_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from esl_shield.vault.keks import AnyKek

    Progress = Callable[[int, int], None]

BATCH_ROWS = 1000
_MAX_RENEWALS = 3
COLUMNS = (*KNOWN_COLUMNS, "token")
ROW_RAGGED = "row.ragged"
ROW_UNNAMED = "row.unnamed"
TOKEN_MALFORMED = "token.malformed"  # noqa: S105 - a reason's name
# What the database answers a row with, as the reason of its refusal.
_REFUSALS = {"unknown": "token.unknown", "held": "token.held", "number_taken": "number.taken"}
REPLACED = "replaced"


@dataclass
class Replaced:
    """What a run did, in rows; ``unchanged`` had that number before."""

    rows: int = 0
    replaced: int = 0
    unchanged: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class _Entry:
    line: int
    cells: dict[str, str]
    token: str | None
    row: Row | Refused


class Replacer:
    """Replaces numbers of one tenant's tokens. Close the store yourself."""

    def __init__(self, store: Store, kek: AnyKek, tenant: str) -> None:
        """Raise TenantUnknown, KeysMissing, WrongKek or KeyDamaged."""
        self._store = store
        self.tenant = store.tenant(tenant)
        self._kek = kek
        self._keys = open_keys(kek, self.tenant)

    def replace(self, named: Sequence[tuple[str | None, Row]]) -> list[tuple[str | None, str]]:
        """Replace a batch in one transaction; returns token and outcome of each, in order. Raises DatabaseAway."""
        found = self._store.find(self.tenant, [(token, row.alias) for token, row in named])
        known = [(token, row) for token, (_, row) in zip(found, named, strict=True) if token is not None]
        outcomes = iter(self._replace(known) if known else [])
        return [(token, next(outcomes) if token is not None else "unknown") for token in found]

    def _replace(self, known: Sequence[tuple[str, Row]]) -> list[str]:
        for left in reversed(range(_MAX_RENEWALS + 1)):
            rows = [self._candidate(token, row) for token, row in known]
            try:
                return self._store.replace(self.tenant, self._keys, rows)
            except KeysChanged:
                if not left:
                    raise
                self.tenant = self._store.tenant(self.tenant.name)
                self._keys = open_keys(self._kek, self.tenant)
        raise AssertionError

    def _candidate(self, token: str, row: Row) -> Candidate:
        return Candidate(
            keyring.blind_index(self._keys.index, row.number, self.tenant.id),
            token,
            cipher.encrypt(self._keys.data, row.number, self.tenant.id, token, self._keys.data_version),
            row._replace(alias=None),
            previous_index(self.tenant, self._keys, row.number),
        )


def replace_csv(
    replacer: Replacer, source: Source, output: Path, labels: Sequence[str], *, progress: Progress
) -> Replaced:
    """Replace the number of every row's token; write ``output`` and, if rows were refused, ``OUT.rejected.csv``.

    Raises CsvRejected, LabelRejected, OutputRejected, DatabaseAway.
    """
    for name in labels:
        check_label_name(name)
    with Output(output) as accepted, Output(rejected_path(output)) as refused:
        run = _Run(replacer, labels, accepted, refused)
        records = source.records()
        header = Header.read(source, next(records, (0, None))[1], COLUMNS, labels)
        if not {"alias", "token"} & set(header.positions):
            raise source.rejected("its first row has no column token or alias, one of which names each row's token")
        for line, record in records:
            run.take(line, header, record)
            if run.waiting >= BATCH_ROWS:
                run.flush()
                progress(source.position, run.summary.rows)
        run.flush()
        progress(source.position, run.summary.rows)
        accepted.sync()
        if run.summary.rejected:
            refused.commit()
        else:
            refused.remove()
        accepted.commit()
    return run.summary


class _Run:
    def __init__(self, replacer: Replacer, labels: Sequence[str], accepted: Output, refused: Output) -> None:
        self._replacer = replacer
        self._labels = labels
        self._accepted = accepted
        self._refused = refused
        self._batch: list[_Entry] = []
        self.summary = Replaced()
        accepted.write(["alias", "token", *map(defused, labels)])
        refused.write(["line", "reason", "number"])

    @property
    def waiting(self) -> int:
        """Rows taken and not yet replaced."""
        return len(self._batch)

    def take(self, line: int, header: Header, record: list[str]) -> None:
        """Check one record and put it into the batch."""
        cells = header.cells(record)
        if cells is None:
            refusal = Refused(ROW_RAGGED, masking.phone(header.number_of(record)))
            self._batch.append(_Entry(line, {}, None, refusal))
            return
        token = cells.pop("token", "").strip() or None
        row = read_row(cells, self._replacer.tenant, dt.datetime.now(dt.UTC), None)
        if isinstance(row, Row) and token is None and row.alias is None:
            row = Refused(ROW_UNNAMED, masking.phone(cells["number"]))
        elif isinstance(row, Row) and token is not None and not tokens.is_valid(token):
            row = Refused(TOKEN_MALFORMED, masking.phone(cells["number"]))
        self._batch.append(_Entry(line, cells, token, row))

    def flush(self) -> None:
        """Replace the batch and write what became of each row, in the file's order."""
        batch, self._batch = self._batch, []
        outcomes = iter(self._replacer.replace([(e.token, e.row) for e in batch if isinstance(e.row, Row)]))
        for entry in batch:
            self.summary.rows += 1
            if isinstance(entry.row, Refused):
                self._reject(entry.line, entry.row)
                continue
            token, outcome = next(outcomes)
            if outcome in _REFUSALS:
                self._reject(entry.line, Refused(_REFUSALS[outcome], masking.phone(entry.cells["number"])))
                continue
            self.summary.replaced += outcome == REPLACED
            self.summary.unchanged += outcome != REPLACED
            labels = (defused(entry.cells[name]) for name in self._labels)
            self._accepted.write([entry.row.alias or "", token, *labels])

    def _reject(self, line: int, row: Refused) -> None:
        self.summary.rejected += 1
        self._refused.write([line, row.reason, row.masked])
