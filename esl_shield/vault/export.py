"""``alias,token`` of a whole tenant, streamed: of any size in flat memory, never a number.

Invariants: what is read is the view ``dba.tokens``, through a cursor in the server, as one snapshot; the output gets
its name when it is whole.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.csvfile import Output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esl_shield.config.database import DatabaseConfig

FETCHED_ROWS = 5000
_TENANT = "SELECT tokens FROM dba.tenants WHERE name = %s"
# A token without an alias has a row too, one with several a row for each.
_ROWS = """
SELECT a.alias, k.token FROM dba.tokens k LEFT JOIN LATERAL unnest(k.aliases) AS a (alias) ON true WHERE k.tenant = %s
"""


def export_csv(database: DatabaseConfig, tenant: str, output: Path, *, progress: Callable[[int, int], None]) -> int:
    """Write ``alias,token`` for every token of a tenant; returns how many rows.

    ``progress`` is told the rows done, twice, as it counts by them. Raises TenantUnknown, OutputRejected, RightMissing,
    DatabaseAway, DatabaseRefused; then no output has been written.
    """
    with Output(output) as file:
        rows = _read(database, tenant, file, progress)
        file.commit()
    return rows


def _read(database: DatabaseConfig, tenant: str, file: Output, progress: Callable[[int, int], None]) -> int:
    failure: Exception
    try:
        with sqlalchemy_engine(database).connect() as connection, connection.begin():
            driver: Any = connection.connection.dbapi_connection
            with driver.cursor() as cursor:
                cursor.execute(_TENANT, (tenant,))
                if cursor.fetchone() is None:
                    raise TenantUnknown(tenant=tenant)
            with contextlib.closing(driver.cursor("esl_shield_export")) as cursor:
                cursor.itersize = FETCHED_ROWS
                cursor.execute(_ROWS, (tenant,))
                return _write(cursor, file, progress)
    except DBAPIError as error:
        failure = connection_failed(error.orig or error)
    except psycopg2.Error as error:
        failure = call_failed("tokens", error, schema="dba", needs="an auditor or a seeder")
    raise failure


def _write(cursor: Any, file: Output, progress: Callable[[int, int], None]) -> int:
    count = 0
    file.write([["alias", "token"]])
    while rows := cursor.fetchmany(FETCHED_ROWS):
        file.write(rows)
        count += len(rows)
        progress(count, count)
    return count
