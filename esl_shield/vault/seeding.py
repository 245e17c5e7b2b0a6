"""Seeding from a file: numbers in, tokens out.

Invariants: whatever stops an import leaves whole batches in the database, and the same file again finds its tokens
there; one number has one token, whichever of its rows came first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esl_shield.vault import batches
from esl_shield.vault.batches import Answer, Job, Tally
from esl_shield.vault.rows import Refused, Row, read_row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from esl_shield.vault.batches import Progress
    from esl_shield.vault.csvfile import Source
    from esl_shield.vault.seeder import Seeder
    from esl_shield.vault.store import Batch

ALIAS_TAKEN = "alias.taken"
# So many that a page of an index takes several rows. Whoever waits for a batch of the same tenant waits 0.25 s.
BATCH_ROWS = 8000


@dataclass
class Summary(Tally):
    """What an import did, in rows; ``created`` counts new tokens, ``existing`` rows whose number had one."""

    created: int = 0
    existing: int = 0


def import_csv(
    seeder: Seeder, source: Source, output: Path, labels: Sequence[str], *,
    default_expiry: dt.datetime | None = None, progress: Progress,
) -> Summary:  # fmt: skip
    """Seed every row of the source; ``batches.run`` says what is written and raised, SpaceFull and DatabaseAway too."""
    job = _Seeding(seeder, default_expiry)
    batches.run(job, source, output, labels, progress=progress)
    return job.tally


class _Seeding(Job):
    batch_rows = BATCH_ROWS

    def __init__(self, seeder: Seeder, default_expiry: dt.datetime | None) -> None:
        self._seeder = seeder
        self._default_expiry = default_expiry
        self.tally: Summary = Summary()

    def read(self, cells: dict[str, str], now: dt.datetime) -> Row | Refused:
        return read_row(cells, self._seeder.tenant, now, self._default_expiry)

    def prepare(self, rows: list[Row]) -> Callable[[], Sequence[Answer]]:
        return partial(self._seed, self._seeder.prepare(rows))

    def _seed(self, batch: Batch) -> list[Answer]:
        outcomes = self._seeder.seed(batch)
        created = sum([created for _, created in outcomes])
        self.tally.created += created
        self.tally.existing += sum([token is not None for token, _ in outcomes]) - created
        return [Answer(token) if token is not None else Answer(None, ALIAS_TAKEN) for token, _ in outcomes]
