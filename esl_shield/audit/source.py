"""What a verification reads from the database: headers, blocks, events, the catalog; in one snapshot.

Invariants: nothing read here is believed; reads stream, so memory does not grow with the trail; events come as the
bytes PostgreSQL's COPY writes, one line each.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.audit import code
from esl_shield.audit.events import COLUMNS
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.db.upgrade import driver_connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esl_shield.audit.blocks import Position
    from esl_shield.config.database import DatabaseConfig

_BLOCKS_AT_A_TIME = 16
_HEADERS_AT_A_TIME = 500
_HEADERS = "SELECT number, header, signature, ''::bytea, ''::bytea FROM dba.audit_blocks"
_BLOCKS = "SELECT number, header, signature, entries, leaves FROM dba.audit_blocks"
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM dba.audit_lines"


class Sealing(NamedTuple):
    """What the database says of itself; ``next_xid``: no transaction from there on has begun."""

    sees_all: bool
    blocks: int | None
    waiting: int
    lag_s: float | None
    next_xid: int


class Row(NamedTuple):
    """A stored block; ``entries`` and ``leaves`` are empty when they were not asked for."""

    number: int
    header: str
    signature: bytes
    entries: bytes
    leaves: bytes


class Source:
    """One login's look at the trail; made by ``open_source``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def sealing(self) -> Sealing:
        """Read how far the trail is sealed."""
        statement = (
            "SELECT sees_all, blocks, waiting, lag_s, pg_snapshot_xmax(pg_current_snapshot())::text::bigint "
            "FROM dba.sealing"
        )
        return next((Sealing(*row) for row in self._rows(statement)), Sealing(False, None, 0, None, 0))

    def headers(self, first: int, last: int) -> Iterator[Row]:
        """Yield headers in the order of their numbers."""
        statement = f"{_HEADERS} WHERE number BETWEEN %s AND %s ORDER BY number"
        yield from self._streamed("headers", statement, (first, last), _HEADERS_AT_A_TIME)

    def blocks(self, first: int, last: int) -> Iterator[Row]:
        """Yield whole blocks in the order of their numbers."""
        statement = f"{_BLOCKS} WHERE number BETWEEN %s AND %s ORDER BY number"
        yield from self._streamed("blocks", statement, (first, last), _BLOCKS_AT_A_TIME)

    def block_before(self, number: int) -> Row | None:
        """Return the header of the nearest block before a number."""
        rows = self._rows(f"{_HEADERS} WHERE number < %s ORDER BY number DESC LIMIT 1", (number,))
        return next((Row(*map(_plain, row)) for row in rows), None)

    def lines(
        self, before: Position, after: Position, *, since_us: int | None = None, ceiling: int | None = None,
    ) -> list[bytes]:  # fmt: skip
        """Return the events sealed between two positions, as they are now, in order.

        ``ceiling`` is the highest id of events sealed in this cluster, when there was another after it.
        """
        crosses = before.database not in ("", after.database)
        conditions = [f"(xid, id) <= ('{after.xid:d}'::xid8, {after.id:d})"]
        if crosses:
            conditions = [
                f"(id > {before.top:d} OR (xid, id) > ('{before.xid:d}'::xid8, {before.id:d}))",
                f"(id <= {after.floor:d} OR xid < '{after.xid:d}'::xid8)",
            ]
        elif before.database:
            conditions += [f"(xid, id) > ('{before.xid:d}'::xid8, {before.id:d})", f"id > {before.floor:d}"]
        if ceiling is not None:
            conditions.append(f"id <= {ceiling:d}")
        if since_us is not None:
            conditions.append(f"at_us >= {since_us:d}")
        return self._copy(f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY xid, id")

    def event(self, number: int) -> bytes | None:
        """Return the line of one event, by its id."""
        return next(iter(self._copy(f"{_SELECT} WHERE id = {number:d} LIMIT 1")), None)

    def unbegun(self, next_xid: int, floor: int) -> list[bytes]:
        """Return some events of transactions that have not begun, of those this cluster numbered."""
        where = f"xid >= '{next_xid:d}'::xid8 AND id > {floor:d}"
        return self._copy(f"{_SELECT} WHERE {where} ORDER BY xid, id LIMIT 10")

    def unsealed(self, position: Position) -> list[bytes]:
        """Return the events behind a position."""
        where = f"(xid, id) > ('{position.xid:d}'::xid8, {position.id:d}) AND id > {position.floor:d}"
        return self._copy(f"{_SELECT} WHERE {where}")

    def now(self) -> int:
        """Return the second this look was taken."""
        return int(self._rows("SELECT extract(epoch FROM now())")[0][0])

    def chosen(self, conditions: Sequence[str], values: Sequence[object]) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """Yield the place in the order, and the columns, of the events that fulfil conditions on dba.audit_lines."""
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        columns = ", ".join(f"{column}::text" for column in COLUMNS)
        statement = f"SELECT {columns} FROM dba.audit_lines{where} ORDER BY audit_lines.xid, audit_lines.id"
        for row in self._streamed("chosen", statement, values, _HEADERS_AT_A_TIME, tuple):
            yield int(row[1]), int(row[0]), row

    def block_holding(self, xid: int, event: int) -> Row | None:
        """Return the block in whose part of the order an event stands, None when it is not sealed."""
        statement = (
            f"{_BLOCKS} WHERE (last_xid, last_id) >= (%s::text::xid8, %s) ORDER BY last_xid, last_id, number LIMIT 1"
        )
        return next((Row(*map(_plain, row)) for row in self._rows(statement, (str(xid), event))), None)

    def manifests(self) -> dict[str, str]:
        """Return the stored manifests by their hash."""
        return dict(self._rows("SELECT hash, manifest FROM dba.audit_code"))

    def manifest_now(self) -> str:
        """Return what the catalog says now."""
        return code.manifest((row[0], row[1]) for row in self._rows(code.STATEMENT))

    def _rows(self, statement: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def _streamed(
        self, name: str, statement: str, values: Sequence[object], size: int, make: Any = Row._make
    ) -> Iterator[Any]:
        with self._connection.cursor(name=name) as cursor:
            cursor.itersize = size
            cursor.execute(statement, values)
            for row in cursor:
                yield make(map(_plain, row))

    def _copy(self, select: str) -> list[bytes]:
        collected = _Lines()
        with self._connection.cursor() as cursor:
            cursor.copy_expert(f"COPY ({select}) TO STDOUT", collected)
        return collected.lines


def _plain(cell: Any) -> Any:
    return bytes(cell) if isinstance(cell, memoryview) else cell


class _Lines:
    """What COPY writes into: each call is one row."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._add = self.lines.append

    def write(self, data: bytes) -> None:
        self._add(data[:-1])


@contextlib.contextmanager
def open_source(config: DatabaseConfig) -> Iterator[Source]:
    """Open a look at the trail in one snapshot; raises DatabaseAway, DatabaseRefused."""
    failure: Exception
    try:
        with sqlalchemy_engine(config).connect() as connection, connection.begin():
            driver = driver_connection(connection)
            with driver.cursor() as cursor:
                cursor.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog;"
                    "SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = 0; SET LOCAL jit = off"
                )
            yield Source(driver)
            return
    except DBAPIError as error:
        failure = connection_failed(error.orig or error)
    except psycopg2.Error as error:
        failure = call_failed("(audit)", error)
    raise failure
