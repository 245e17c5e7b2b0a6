"""Tokens of an ff1 prefix computed for a file of numbers; nothing is stored.

Invariants: what comes out depends on the key and the numbers alone, so a file can be computed again; a number the
prefix does not allow is refused like one an import refuses; the key is read once, which is audited.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.db.engine import Database
from esl_shield.errors.methods import PrefixUnknown
from esl_shield.vault import batches, keyring, masking
from esl_shield.vault.batches import Answer, Job, Step, Tally
from esl_shield.vault.prefixes import FF1, Ff1Tokens, TokenPrefix
from esl_shield.vault.rows import Refused, Row, read_row
from esl_shield.vault.seedkeys import SeedingTenant

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.batches import Progress
    from esl_shield.vault.csvfile import Source
    from esl_shield.vault.keks import AnyKek

NOT_ALLOWED = "number.not_allowed"


class Computer(NamedTuple):
    """A tenant as rows are checked against it, and what computes the tokens of one of its prefixes."""

    tenant: SeedingTenant
    tokens: Ff1Tokens


def open_computer(database: DatabaseConfig, kek: AnyKek, tenant: str, prefix: str) -> Computer:
    """Read a prefix and its key with a seeder's login.

    Raises PrefixUnknown, WrongKek, KeyDamaged, DatabaseAway, DatabaseRefused.
    """
    with contextlib.closing(Database(database, application_name="esl_shield computing", needs="a seeder")) as opened:
        rows = opened.call("computing_prefix", tenant, prefix)
    if not rows:
        raise PrefixUnknown(tenant=tenant, prefix=prefix, kind=" of method ff1")
    id_, region, length, version, countries, ranges, line_types, wrapped, kek_id = rows[0]
    key = keyring.unwrap(kek, bytes(wrapped), tenant_id=id_, purpose=FF1, version=version, kek_id=kek_id)
    rules = TokenPrefix(tenant, prefix, FF1, length, version, tuple(countries), tuple(ranges), tuple(line_types))
    return Computer(SeedingTenant(tenant, id_, region, prefix, length), Ff1Tokens(key, rules))


def compute_csv(
    computer: Computer, source: Source, output: Path, labels: Sequence[str], *, progress: Progress
) -> Tally:
    """Write the token of each row of the source; ``batches.run`` says what is written and raised."""
    job = _Computing(computer)
    batches.run(job, source, output, labels, progress=progress)
    return job.tally


class _Computing(Job):
    def __init__(self, computer: Computer) -> None:
        self._tenant, self._tokens = computer
        self.tally = Tally()

    def read(self, cells: dict[str, str], now: dt.datetime) -> Row | Refused:
        row = read_row(cells, self._tenant, now, None)
        if isinstance(row, Refused):
            return row
        token = self._tokens.token_of(row.number)
        return row._replace(token=token) if token else Refused(NOT_ALLOWED, masking.phone(cells["number"]))

    def prepare(self, rows: list[Row]) -> Step:
        return Step(lambda: [Answer(row.token) for row in rows])
