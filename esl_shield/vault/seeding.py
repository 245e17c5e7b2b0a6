"""Seeding from a file: numbers in, tokens out.

Invariants: whatever stops an import leaves whole batches, or whole parts of one, in the database, and the same file
again finds its tokens there; one number has one token, whichever of its rows came first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esl_shield.vault import batches
from esl_shield.vault.batches import Answer, Job, Step, Tally
from esl_shield.vault.rows import Refused, Row, read_row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from esl_shield.vault.batches import Progress
    from esl_shield.vault.candidates import Batch
    from esl_shield.vault.csvfile import Source
    from esl_shield.vault.seeder import Seeder

ALIAS_TAKEN = "alias.taken"
# PostgreSQL spends longer on a batch than preparing one takes: two at once leave neither side waiting.
LANES = 2
# So many that a page of an index takes several rows. Whoever needs the tenant alone waits half a second for two.
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
    lanes = LANES

    def __init__(self, seeder: Seeder, default_expiry: dt.datetime | None) -> None:
        self._seeder = seeder
        self._default_expiry = default_expiry
        self.tally: Summary = Summary()
        self._counting = threading.Lock()

    def read(self, cells: dict[str, str], now: dt.datetime) -> Row | Refused:
        return read_row(cells, self._seeder.tenant, now, self._default_expiry)

    def prepare(self, rows: list[Row]) -> Step:
        batch = self._seeder.prepare(rows)
        aliases = filter(None, [row.alias for row in rows])
        return Step(partial(self._seed, batch), frozenset(batch.indexes).union(aliases))

    def _seed(self, batch: Batch) -> list[Answer]:
        outcomes = self._seeder.seed(batch)
        created = sum([created for _, created in outcomes])
        with self._counting:
            self.tally.created += created
            self.tally.existing += sum([token is not None for token, _ in outcomes]) - created
        return [Answer(token) if token is not None else Answer(None, ALIAS_TAKEN) for token, _ in outcomes]
