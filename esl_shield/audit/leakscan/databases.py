"""SQLite databases: every value of every table as text, numbers stored as integers too.

Invariants: the database is opened read-only and never recovered or written to; a table that cannot be read is Unread
after the others were. What deleted rows left in a database's pages is found by searching the file itself as well.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from esl_shield.audit.leakscan.parts import Unread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SQLITE = b"SQLite format 3\0"
_DAMAGED = "its tables cannot be read as SQLite; its bytes were searched"


def rows(database: Path | bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each row's values, a line each, with its table and position; raises Unread."""
    try:
        with closing(_open(database)) as connection:
            connection.text_factory = bytes
            tables = [
                row[0].decode("utf-8", "replace")
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
            ]
            for table in tables:
                name = table.replace('"', '""')
                for position, row in enumerate(connection.execute(f'SELECT * FROM "{name}"'), 1):
                    yield f"{table} row {position}", b"\n".join(map(_text, row))
    except sqlite3.Error:
        raise Unread(_DAMAGED) from None


def _open(database: Path | bytes) -> sqlite3.Connection:
    if not isinstance(database, bytes):
        return sqlite3.connect(f"file:{quote(str(database.resolve()))}?mode=ro&immutable=1", uri=True)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(database)
    return connection


def _text(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value)).encode("ascii")
    return str(value).encode("utf-8")
