"""Seeding from a file: numbers in, tokens out, a CSV of any size in flat memory.

Invariants: the file is read once for its form before the first row goes in, unless it is a pipe; a batch is one
transaction, so whatever kills the process leaves whole batches in the database, and the same file again finds its
tokens there; the output gets its name when every row is in, one line for each accepted row in the file's order; nothing
here prints.
"""

from __future__ import annotations

import datetime as dt
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.tokens import OutputRejected
from esl_shield.vault import masking
from esl_shield.vault.csvfile import Header, Output, Source, defused, rejected_path
from esl_shield.vault.rows import KNOWN_COLUMNS, Refused, Row, check_label_name, read_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from esl_shield.vault.seeder import Outcome, Seeder

    Progress = Callable[[int, int], None]

BATCH_ROWS = 1000
ALIAS_TAKEN = "alias.taken"
ROW_RAGGED = "row.ragged"


@dataclass
class Summary:
    """What an import did, in rows; ``created`` counts new tokens, ``existing`` rows whose number had one."""

    rows: int = 0
    created: int = 0
    existing: int = 0
    rejected: int = 0


class _Entry(NamedTuple):
    """One record of the file on its way through a batch."""

    line: int
    cells: dict[str, str]
    row: Row | Refused


def survey(source: Source, labels: Sequence[str]) -> None:
    """Read the file to its end for its form, unless it is a pipe; raises CsvRejected or LabelRejected.

    Afterwards a bad encoding, quoting or header can no longer stop the import half-way.
    """
    for name in labels:
        check_label_name(name)
    if source.size is None:
        return
    records = source.records()
    _header(source, _first(records), labels)
    for _ in records:
        pass
    source.rewind()


def import_csv(
    seeder: Seeder, source: Source, output: Path, labels: Sequence[str], *,
    default_expiry: dt.datetime | None = None, progress: Progress,
) -> Summary:  # fmt: skip
    """Seed every row of the source and write ``output`` and, if rows were refused, ``OUT.rejected.csv``.

    ``progress`` is told the bytes read and the rows done after each batch. Raises CsvRejected, LabelRejected,
    OutputRejected, SpaceFull, DatabaseAway; then no output has been written and the import can be run again.
    """
    _check_output(source, output)
    with (
        Output(output) as accepted,
        Output(rejected_path(output)) as refused,
        ThreadPoolExecutor(max_workers=1) as database,
    ):
        run = _Import(seeder, labels, accepted=accepted, refused=refused, expiry=default_expiry, database=database)
        records = source.records()
        header = _header(source, _first(records), labels)
        run.begin()
        for line, record in records:
            run.take(line, header, record)
            if run.waiting >= BATCH_ROWS:
                run.flush()
                progress(source.position, run.summary.rows)
        run.flush()
        run.settle()
        progress(source.position, run.summary.rows)
        accepted.sync()
        if run.summary.rejected:
            refused.commit()
        else:
            refused.remove()
        accepted.commit()
    return run.summary


class _Import:
    """One batch is read and encrypted while the one before is in the database; they are written in order."""

    def __init__(
        self, seeder: Seeder, labels: Sequence[str], *, accepted: Output, refused: Output, expiry: dt.datetime | None,
        database: Executor,
    ) -> None:  # fmt: skip
        self._seeder = seeder
        self._labels = labels
        self._accepted = accepted
        self._refused = refused
        self._expiry = expiry
        self._database = database
        self._batch: list[_Entry] = []
        self._sent: tuple[list[_Entry], Future[list[Outcome]]] | None = None
        self.summary = Summary()

    @property
    def waiting(self) -> int:
        """Rows taken and not yet sent to the database."""
        return len(self._batch)

    def begin(self) -> None:
        """Write the headers."""
        self._accepted.write(["alias", "token", *map(defused, self._labels)])
        self._refused.write(["line", "reason", "number"])

    def take(self, line: int, header: Header, record: list[str]) -> None:
        """Check one record and put it into the batch."""
        cells = header.cells(record)
        if cells is None:
            row: Row | Refused = Refused(ROW_RAGGED, masking.phone(header.number_of(record)))
        else:
            row = read_row(cells, self._seeder.tenant, dt.datetime.now(dt.UTC), self._expiry)
        self._batch.append(_Entry(line, cells or {}, row))

    def flush(self) -> None:
        """Send the batch to the database once the one before is settled."""
        batch = self._seeder.prepare([entry.row for entry in self._batch if isinstance(entry.row, Row)])
        self.settle()
        self._sent = self._batch, self._database.submit(self._seeder.seed, batch)
        self._batch = []

    def settle(self) -> None:
        """Wait for the batch in the database and write what became of each row, in the file's order."""
        if self._sent is None:
            return
        (entries, future), self._sent = self._sent, None
        outcomes = iter(future.result())
        for entry in entries:
            self.summary.rows += 1
            if isinstance(entry.row, Refused):
                self._reject(entry.line, entry.row)
                continue
            outcome = next(outcomes)
            if outcome.token is None:
                self._reject(entry.line, Refused(ALIAS_TAKEN, masking.phone(entry.cells["number"])))
                continue
            self.summary.created += outcome.created
            self.summary.existing += not outcome.created
            labels = (defused(entry.cells[name]) for name in self._labels)
            self._accepted.write([entry.row.alias or "", outcome.token, *labels])

    def _reject(self, line: int, row: Refused) -> None:
        self.summary.rejected += 1
        self._refused.write([line, row.reason, row.masked])


def _header(source: Source, record: list[str] | None, labels: Sequence[str]) -> Header:
    return Header.read(source, record, KNOWN_COLUMNS, labels)


def _first(records: Iterator[tuple[int, list[str]]]) -> list[str] | None:
    return next(records, (0, None))[1]


def _check_output(source: Source, output: Path) -> None:
    if not output.name or output.is_dir():
        raise OutputRejected(path=output, problem="it is a folder")
    if any(path.exists() and source.is_file(path) for path in (output, rejected_path(output))):
        raise source.rejected("the output would take its place")
