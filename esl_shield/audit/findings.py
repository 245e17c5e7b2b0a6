"""What a verification finds, in words.

Invariants: a finding names the block, and the event by its id, moment and kind as far as what is signed tells them.
"""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esl_shield.audit.events import CHECKED, checksums, decode, moment
from esl_shield.db.schema import sql_files

if TYPE_CHECKING:
    from esl_shield.audit.blocks import Entries

MOST_SHOWN = 100


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was sealed: ``kind`` is a word of a fixed few."""

    kind: str
    sentence: str
    block: int | None = None
    event: int | None = None
    at: str | None = None
    event_kind: str | None = None


@dataclass
class Report:
    """What a verification came to; no finding means that all that was sealed is there as it was sealed."""

    findings: list[Finding] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    blocks: int = 0
    events: int = 0
    count: int = 0  # findings, those beyond MOST_SHOWN included

    def find(self, finding: Finding) -> None:
        """Add a finding; of very many only the first are kept."""
        self.count += 1
        if len(self.findings) < MOST_SHOWN:
            self.findings.append(finding)


@functools.cache
def _kinds() -> dict[int, str]:
    """Return the kinds of events our functions write, by their checksum."""
    text = "".join(path.read_text(encoding="utf-8") for path in sql_files())
    kinds = set(re.findall(r"'([a-z_]{1,32}[.][a-z_]{1,32})'", text))
    return {zlib.crc32(kind.encode()): kind for kind in kinds}


def kind_of(check: int) -> str | None:
    """Return the kind with this checksum, None for one no function of ours writes."""
    return _kinds().get(check)


def sealed_event(kind: str, sentence: str, block: int, entries: Entries, index: int) -> Finding:
    """Find something about an event as it was sealed."""
    known = kind_of(entries.checks[CHECKED.index("kind")][index])
    at = moment(entries.ats[index])
    return Finding(kind, sentence, block, entries.ids[index], at, known)


def present_event(kind: str, sentence: str, block: int | None, line: bytes) -> Finding:
    """Find something about an event that is there and was not sealed."""
    fields = decode(line)
    return Finding(kind, sentence, block, int(fields["id"] or 0), moment(int(fields["at_us"] or 0)), fields["kind"])


def differing(entries: Entries, index: int, line: bytes) -> list[str]:
    """Return the columns in which an event differs from what was sealed; empty when that cannot be told."""
    fields = decode(line)
    columns = []
    if int(fields["xid"] or 0) != entries.xids[index]:
        columns.append("xid")
    if int(fields["at_us"] or 0) != entries.ats[index]:
        columns.append("at")
    now = checksums(line)
    return columns + [name for n, name in enumerate(CHECKED) if now[n] != entries.checks[n][index]]
