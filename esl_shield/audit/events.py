r"""An audit event as the bytes that are sealed (docs/audit-format.md, "Lines").

Invariants: a line is what ``COPY (SELECT … FROM dba.audit_lines) TO STDOUT`` writes for the event, without its newline:
columns in the order of COLUMNS between tabs, NULL as ``\N``, backslash escapes for control characters; so a verifier
hashes what PostgreSQL sends, as it comes, and needs no encoder of its own.
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("id", "xid", "at_us", "tenant_id", "kind", "login", "agent", "token", "call", "detail")
# What the checksums of a block's entries are of, so that a verifier can say what of an event differs.
CHECKED = ("tenant_id", "kind", "login", "agent", "token", "call", "detail")
FIRST_CHECKED = COLUMNS.index(CHECKED[0])
NULL = r"\N"
_ESCAPES = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}
_ESCAPED = re.compile(r"[\b\f\n\r\t\v\\]")
_UNESCAPED = re.compile(r"\\(.)")
_BACK = {escape[1]: character for character, escape in _ESCAPES.items()}


def encode(values: Sequence[object]) -> bytes:
    """Spell an event, its values in the order of COLUMNS: whole numbers, text or None."""
    return "\t".join(NULL if value is None else _escape(str(value)) for value in values).encode()


def decode(line: bytes) -> dict[str, str | None]:
    """Read a line back; raises ValueError."""
    cells = line.decode().split("\t")
    return {
        name: None if cell == NULL else _UNESCAPED.sub(lambda match: _BACK.get(match[1], match[1]), cell)
        for name, cell in zip(COLUMNS, cells, strict=True)
    }


def checksums(line: bytes) -> list[int]:
    """Return CRC-32 of each of CHECKED as the line spells it."""
    return [zlib.crc32(cell) for cell in line.split(b"\t")[FIRST_CHECKED:]]


def moment(at_us: int) -> str:
    """Return microseconds since 1970 as ISO 8601 in UTC."""
    at = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=at_us)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], text)
