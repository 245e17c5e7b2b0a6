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
    entries: bytes = b""
    leaves: bytes = b""


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
        return Sealing(*self._rows(statement)[0])

    def headers(self, first: int, last: int) -> Iterator[Row]:
        """Yield headers in the order of their numbers."""
        statement = "SELECT number, header, signature FROM dba.audit_blocks WHERE number BETWEEN %s AND %s ORDER BY number"
        yield from self._streamed("headers", statement, (first, last), _HEADERS_AT_A_TIME)

    def blocks(self, first: int, last: int) -> Iterator[Row]:
        """Yield whole blocks in the order of their numbers."""
        statement = (
            "SELECT number, header, signature, entries, leaves FROM dba.audit_blocks "
            "WHERE number BETWEEN %s AND %s ORDER BY number"
        )
        yield from self._streamed("blocks", statement, (first, last), _BLOCKS_AT_A_TIME)

    def block_before(self, number: int) -> Row | None:
        """Return the header of the nearest block before a number."""
        statement = "SELECT number, header, signature FROM dba.audit_blocks WHERE number < %s ORDER BY number DESC LIMIT 1"
        return next((Row(n, header, bytes(signature)) for n, header, signature in self._rows(statement, (number,))), None)

    def block_at(self, xid: int, event: int) -> int | None:
        """Return the number of the first block that ends at or behind a place in the order."""
        statement = (
            "SELECT number FROM dba.audit_blocks WHERE ((header::jsonb ->> 'xid')::bigint, (header::jsonb ->> 'id')::bigint) "
            ">= (%s, %s) ORDER BY number LIMIT 1"
        )
        return next((row[0] for row in self._rows(statement, (xid, event))), None)

    def lines(
        self, before: Position, after: Position, *, since_us: int | None = None, ceiling: int | None = None,
    ) -> list[bytes]:  # fmt: skip
        """Return the events sealed between two positions, as they are now, in order.

        ``ceiling`` is the highest id of events sealed in this cluster, when there was another after it.
        """
        crosses = before.database not in ("", after.database)
        conditions, values = [f"(xid, id) <= ('{after.xid:d}'::xid8, {after.id:d})"], []
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
        return self._copy(f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY xid, id", values)

    def event(self, number: int) -> bytes | None:
        """Return the line of one event, by its id."""
        return next(iter(self._copy(f"{_SELECT} WHERE id = {number:d} LIMIT 1", ())), None)

    def unbegun(self, next_xid: int, floor: int) -> list[bytes]:
        """Return some events of transactions that have not begun, of those this cluster numbered."""
        where = f"xid >= '{next_xid:d}'::xid8 AND id > {floor:d}"
        return self._copy(f"{_SELECT} WHERE {where} ORDER BY xid, id LIMIT 10", ())

    def manifests(self) -> dict[str, str]:
        """Return the stored manifests by their hash."""
        return dict(self._rows("SELECT hash, manifest FROM dba.audit_code"))

    def manifest_now(self) -> str:
        """Return what the catalog says now."""
        return code.manifest((row[0], row[1]) for row in self._rows(code.STATEMENT))

    def chosen(self, conditions: Sequence[str], values: Sequence[object], limit: int | None) -> Iterator[tuple[Any, ...]]:
        """Yield (xid, id) of the events that fulfil conditions on ``dba.audit_events``' columns of dba.audit_lines."""
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        bound = f" LIMIT {limit:d}" if limit is not None else ""
        statement = f"SELECT xid::text::bigint, id FROM dba.audit_lines l{where} ORDER BY xid, id{bound}"
        yield from self._streamed("chosen", statement, tuple(values), 1000, tuple)

    def _rows(self, statement: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def _streamed(
        self, name: str, statement: str, values: Sequence[object], size: int, make: Any = None
    ) -> Iterator[Any]:
        with self._connection.cursor(name=name) as cursor:
            cursor.itersize = size
            cursor.execute(statement, values)
            for row in cursor:
                plain = [bytes(cell) if isinstance(cell, memoryview) else cell for cell in row]
                yield make(plain) if make else Row(*plain)

    def _copy(self, select: str, values: Sequence[object]) -> list[bytes]:
        collected = _Lines()
        with self._connection.cursor() as cursor:
            statement = cursor.mogrify(select, values or None).decode()
            cursor.copy_expert(f"COPY ({statement}) TO STDOUT", collected)
        return collected.lines


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
                    "SET LOCAL client_encoding = 'UTF8'; SET LOCAL statement_timeout = 0"
                )
            yield Source(driver)
            return
    except DBAPIError as error:
        failure = connection_failed(error.orig or error)
    except psycopg2.Error as error:
        failure = call_failed("(audit)", error)
    raise failure
