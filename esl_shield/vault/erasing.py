"""Lists of tokens to erase.

Invariants: a list is taken whole or not at all, and an error names a line and never what stands in it, which may be a
telephone number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esl_shield.errors.life import ListRejected
from esl_shield.vault import lookalikes, tokens
from esl_shield.vault.life import Name

if TYPE_CHECKING:
    from esl_shield.vault.csvfile import Source

MOST = 100_000
_ALIAS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def read_list(source: Source, *, prefix: str, region: str | None) -> list[Name]:
    """Read a CSV whose first row names a column ``token`` or ``alias`` or both; others are left out.

    Each row has one of the two at least. Raises CsvRejected, ListRejected.
    """
    records = source.records()
    columns = [cell.strip().casefold() for cell in next(records, (0, []))[1]]
    if not {"token", "alias"} & set(columns) or len(set(columns)) != len(columns):
        raise _rejected(source, "its first row must name a column token or alias, once")
    names: dict[tuple[str | None, str | None], Name] = {}
    for line, record in records:
        if len(record) != len(columns):
            raise _rejected(source, f"line {line} has more or fewer cells than the first")
        cells = dict(zip(columns, map(str.strip, record), strict=True))
        token, alias = cells.get("token") or None, cells.get("alias") or None
        if token is None and alias is None:
            raise _rejected(source, f"line {line} names no token")
        if token is not None and not (tokens.is_valid(token) and token.startswith(prefix)):
            raise _rejected(source, f"line {line} has no token of this tenant in its column token")
        if alias is not None and (not _ALIAS.fullmatch(alias) or lookalikes.looks_like_number(alias, region)):
            raise _rejected(source, f"line {line} has no alias in its column alias")
        names.setdefault((token, alias), Name(token, alias, line))
        if len(names) > MOST:
            raise _rejected(source, f"it names more than {MOST} tokens; erase them in several lists")
    if not names:
        raise _rejected(source, "it names no token")
    return list(names.values())


def _rejected(source: Source, problem: str) -> ListRejected:
    return ListRejected(source=source.name, problem=problem)
