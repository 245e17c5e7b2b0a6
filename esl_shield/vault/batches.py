"""A CSV of any size through the vault in flat memory: read, checked, given to a job batch by batch, answered in files.

Invariants: a batch is one transaction of the job's; they go to the database in the file's order, no more at a time
than the job has lanes, none beside one it shares something with, none once one is known to have failed. So whatever
kills the process leaves whole batches in the database, and rows become what they would one batch after the other. The
output gets its name when every row is in, one line for each accepted row in the file's order; nothing here prints.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import sys
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.tokens import OutputRejected
from esl_shield.vault import masking
from esl_shield.vault.csvfile import Header, Output, Source, defused, rejected_path
from esl_shield.vault.rows import KNOWN_COLUMNS, Refused, Row, check_label_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Progress = Callable[[int, int], None]

# New objects before the collector looks at them: more than a few batches hold. Rows have no cycles, and looking over
# and over at those in flight was a sixth of the work.
_COLLECT_AFTER = 200_000
# A thread that waits for the interpreter gets it after this: the one that has the database has little to do, at once.
_SWITCH_S = 0.0005
ROW_RAGGED = "row.ragged"


class Answer(NamedTuple):
    """What became of one row: the token it has now, or why (``area.reason``) it was refused."""

    token: str | None
    refused: str | None = None


@dataclass
class Tally:
    """What a run did, in rows; each job adds counts of its own."""

    rows: int = 0
    rejected: int = 0


class Step(NamedTuple):
    """What is left to be done for a batch, in one transaction; ``run`` answers for each row, in order.

    Steps that have one of ``touches`` in common are done one after the other.
    """

    run: Callable[[], Sequence[Answer]]
    touches: frozenset[object] = frozenset()


class Job(ABC):
    """What is done with a file's rows, in threads: each of ``lanes`` has a step at a time."""

    columns: Sequence[str] = KNOWN_COLUMNS
    batch_rows: int = 2000
    lanes: int = 1
    tally: Tally

    def missing(self, header: Header) -> str | None:  # noqa: ARG002 - for jobs that need more
        """Say what the job lacks in a file with these columns besides a number, None for nothing."""
        return None

    @abstractmethod
    def read(self, cells: dict[str, str], now: dt.datetime) -> Row | Refused:
        """Check one row."""

    @abstractmethod
    def prepare(self, rows: list[Row]) -> Step:
        """Do with a batch what needs no database, and return the rest."""


# One record of the file on its way through a batch: its line, its cells, what was made of it.
_Entry = tuple[int, dict[str, str], Row | Refused]


def survey(source: Source, labels: Sequence[str], columns: Sequence[str] = KNOWN_COLUMNS) -> None:
    """Read the file to its end for its form, unless it is a pipe; raises CsvRejected or LabelRejected.

    Afterwards a bad encoding, quoting or header can no longer stop the run half-way.
    """
    for name in labels:
        check_label_name(name)
    if source.size is None:
        return
    records = source.records()
    Header.read(source, _first(records), columns, labels)
    for _ in records:
        pass
    source.rewind()


def run(job: Job, source: Source, output: Path, labels: Sequence[str], *, progress: Progress) -> None:
    """Do the job for every row of the source; write ``output`` and, if rows were refused, ``OUT.rejected.csv``.

    ``progress`` is told the bytes read and the rows done after each batch. Raises CsvRejected, LabelRejected,
    OutputRejected and what the job raises; then no output has been written and the same file can be run again.
    """
    _check_output(source, output)
    with (
        _tuned(),
        Output(output) as accepted,
        Output(rejected_path(output)) as refused,
        ThreadPoolExecutor(max_workers=job.lanes) as database,
    ):
        records = source.records()
        header = Header.read(source, _first(records), job.columns, labels)
        missing = job.missing(header)
        if missing:
            raise source.rejected(missing)
        pipeline = _Pipeline(job, labels, accepted, refused, database)
        for entries in _batches(job, header, records):
            pipeline.take(entries)
            progress(source.position, job.tally.rows)
        pipeline.settle()
        progress(source.position, job.tally.rows)
        accepted.sync()
        if job.tally.rejected:
            refused.commit()
        else:
            refused.remove()
        accepted.commit()


def _batches(job: Job, header: Header, records: Iterator[tuple[int, list[str]]]) -> Iterator[list[_Entry]]:
    entries: list[_Entry] = []
    now = dt.datetime.now(dt.UTC)
    for line, record in records:
        cells = header.cells(record)
        if cells is None:
            row: Row | Refused = Refused(ROW_RAGGED, masking.phone(header.number_of(record)))
        else:
            row = job.read(cells, now)
        entries.append((line, cells or {}, row))
        if len(entries) == job.batch_rows:
            yield entries
            entries, now = [], dt.datetime.now(dt.UTC)
    if entries:
        yield entries


class _Sent(NamedTuple):
    entries: list[_Entry]
    touches: frozenset[object]
    future: Future[Sequence[Answer]]


class _Pipeline:
    """A batch in each lane and one ready for the first that is free, while the next is read and encrypted."""

    def __init__(self, job: Job, labels: Sequence[str], accepted: Output, refused: Output, database: Executor) -> None:
        self._job = job
        self._labels = labels
        self._accepted = accepted
        self._refused = refused
        self._database = database
        self._sent: deque[_Sent] = deque()
        self._failed = False
        accepted.write([["alias", "token", *map(defused, labels)]])
        refused.write([["line", "reason", "number"]])

    def take(self, entries: list[_Entry]) -> None:
        """Send a batch to the database, behind those sent before."""
        step = self._job.prepare([row for _, _, row in entries if isinstance(row, Row)])
        if not all(step.touches.isdisjoint(sent.touches) for sent in self._sent):
            self.settle()
        self._sent.append(_Sent(entries, step.touches, self._database.submit(self._run, step)))
        if len(self._sent) > self._job.lanes + 1:
            self._settle_one()

    def settle(self) -> None:
        """Wait for the batches in the database and write what became of their rows."""
        while self._sent:
            self._settle_one()

    def _run(self, step: Step) -> Sequence[Answer]:
        if self._failed:  # nobody asks: the one before, which failed, is asked first
            return []
        try:
            return step.run()
        except BaseException:
            self._failed = True
            raise

    def _settle_one(self) -> None:
        entries, _, future = self._sent.popleft()
        answers = iter(future.result())
        accepted: list[tuple[str | None, ...]] = []
        refused: list[tuple[int, str, str]] = []
        labels = self._labels
        for line, cells, row in entries:
            if isinstance(row, Refused):
                refused.append((line, row.reason, row.masked))
                continue
            token, reason = next(answers)
            if reason is not None:
                refused.append((line, reason, masking.phone(cells["number"])))
            elif labels:
                accepted.append((row.alias, token, *[defused(cells[name]) for name in labels]))
            else:
                accepted.append((row.alias, token))
        self._accepted.write(accepted)
        self._refused.write(refused)
        self._job.tally.rows += len(entries)
        self._job.tally.rejected += len(refused)


@contextlib.contextmanager
def _tuned() -> Iterator[None]:
    """Let the other thread on soon, and the collector leave alone rows and what was loaded before: 100 MB of tables."""
    before, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_S)
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(before)


def _first(records: Iterator[tuple[int, list[str]]]) -> list[str] | None:
    return next(records, (0, None))[1]


def _check_output(source: Source, output: Path) -> None:
    if not output.name or output.is_dir():
        raise OutputRejected(path=output, problem="it is a folder")
    if any(path.exists() and source.is_file(path) for path in (output, rejected_path(output))):
        raise source.rejected("the output would take its place")
