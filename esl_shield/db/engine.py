"""Calling PostgreSQL: one function, one statement, one round trip, autocommit.

Invariants: a call ends within ``connect_timeout_s + statement_timeout_s``, whatever state the server is in; a
connection goes back to the pool only when it is idle and known to be in order, after anything else (a time-out, a
``gevent.Timeout``, a kill) it is closed; a statement is sent once: a connection is replaced silently only when it was
found closed *before* anything was sent. Errors carry SQLSTATE codes, never rows or values.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import re
import time
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions as pg
import psycopg2.extras
import sqlalchemy
from sqlalchemy.pool import NullPool

from esl_shield.db import address, failures, waiting
from esl_shield.db.usage import Usage
from esl_shield.db.waiting import use_gevent
from esl_shield.errors.config import ConfigError
from esl_shield.errors.database import DatabaseAway, DatabaseRefused

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from esl_shield.config.database import DatabaseConfig

__all__ = ["Database", "sqlalchemy_engine", "use_gevent"]

_FUNCTION = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NOT_ENCODABLE = "22021"  # character_not_in_repertoire: PostgreSQL's own code for what psycopg2 refuses to send
_BYTEA_OID = 17
_LEAST_CONNECT_S = 2  # libpq's connect_timeout counts whole seconds and takes 1 for 2


class Database:
    """A pool of connections that call functions of the schema ``shield_api``; one per process.

    The last connection given back is the first taken (LIFO), so idle ones beyond the load stay idle. Raises ConfigError
    when gevent is used and a host is a name: looking one up would hold up every call.
    """

    def __init__(self, config: DatabaseConfig, *, application_name: str, needs: str = "") -> None:
        """``needs`` is whose login what is called takes, such as ``a seeder``: RightMissing tells it to another's."""
        self._config = config
        self._needs = needs
        self._parameters = _libpq_parameters(config, application_name)
        if waiting.uses_gevent():
            _require_addresses(self._parameters)
        self._slots = waiting.make_semaphore(config.pool_size)
        self.usage = Usage(config.pool_size)
        self._idle: list[Connection] = []
        self._closed = False

    def call(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of ``SELECT * FROM shield_api.<function>(arguments)``.

        ``bytea`` comes as bytes, ``uuid`` as UUID, ``jsonb`` parsed; a dict, or a list of dicts, is sent as JSON.
        Raises DatabaseAway (not answered in time, connection lost: whether it ran is unknown) and DatabaseRefused
        (``sqlstate`` tells why; nothing was changed), which is RightMissing if the login is another's than it takes.
        """
        return self._answer(function, _statement(function, len(arguments)), arguments)

    def read(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement about PostgreSQL's own catalog; raises as ``call`` does."""
        return self._answer("(catalog)", statement, arguments)

    def _answer(self, function: str, statement: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        deadline = time.monotonic() + self._config.connect_timeout_s
        usage = self.usage
        usage.calls += 1
        try:
            self._take_slot()
            usage.connections_in_use += 1
            try:
                connection = self._take_idle() or self._connect(deadline)
                return self._execute(connection, function, statement, arguments)
            finally:
                usage.connections_in_use -= 1
                self._slots.release()
        except DatabaseAway:
            usage.away += 1
            raise

    def _take_slot(self) -> None:
        if self._slots.acquire(blocking=False):
            return
        usage, began = self.usage, time.monotonic()
        usage.waits += 1
        usage.waiting_calls += 1
        place = usage.waits
        usage.waiting_since[place] = began
        try:
            if not self._slots.acquire(timeout=self._config.connect_timeout_s):
                raise DatabaseAway(problem=f"all {self._config.pool_size} connections are busy")
        finally:
            usage.waiting_calls -= 1
            del usage.waiting_since[place]
            usage.wait_seconds += time.monotonic() - began

    def close(self) -> None:
        """Close idle connections; those in use are closed when their call ends, and later calls raise DatabaseAway."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not waiting.is_readable(connection):
                return connection
            connection.close()
        return None

    def _connect(self, deadline: float) -> Connection:
        if self._closed:
            raise DatabaseAway(problem="this process is ending")
        connection: Connection | None = None
        try:
            connection = psycopg2.connect(**self._parameters, async_=1)
            failures.ask_for_states(connection)
            waiting.drive(connection, deadline)
        except TimeoutError:
            failure: Exception = DatabaseAway(problem=f"no connection within {self._config.connect_timeout_s:g} s")
        except psycopg2.Error as error:
            failure = failures.connection_failed(error)
        except BaseException:
            _discard(connection)
            raise
        else:
            _set_up_types(connection)
            return connection
        _discard(connection)
        raise failure

    def _execute(
        self, connection: Connection, function: str, statement: str, arguments: tuple[object, ...]
    ) -> list[tuple[Any, ...]]:
        deadline = time.monotonic() + self._config.statement_timeout_s
        in_order = False
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, [_adapted(value) for value in arguments] or None)
                waiting.drive(connection, deadline)
                rows = cursor.fetchall()
        except TimeoutError:
            waiting.cancel_in_background(connection)
            failure: Exception = DatabaseAway(problem=f"no answer within {self._config.statement_timeout_s:g} s")
        except psycopg2.Error as error:
            failure = failures.call_failed(function, error, needs=self._needs)
            in_order = isinstance(failure, DatabaseRefused)
        except ValueError:  # text with NUL or lone surrogates; the exception quotes it, so it ends here
            failure = DatabaseRefused(function=f"shield_api.{function}", sqlstate=_NOT_ENCODABLE)
            in_order = True
        except BaseException:
            waiting.cancel_in_background(connection)
            raise
        else:
            in_order = True
            return rows
        finally:
            self._give_back(connection, in_order=in_order)
        raise failure

    def _give_back(self, connection: Connection, *, in_order: bool) -> None:
        idle = in_order and not connection.closed
        if idle and not self._closed and connection.info.transaction_status == pg.TRANSACTION_STATUS_IDLE:
            self._idle.append(connection)
        else:
            _discard(connection)


def sqlalchemy_engine(config: DatabaseConfig) -> sqlalchemy.Engine:
    """For commands: a connection per use, values left out of messages; raises ConfigError."""
    parameters = {
        "connect_timeout": max(_LEAST_CONNECT_S, math.ceil(config.connect_timeout_s)),
        **address.parameters(config),
        "application_name": "esl-shield",
    }
    return sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        poolclass=NullPool,
        hide_parameters=True,
        creator=lambda: psycopg2.connect(**parameters),
    )


@functools.lru_cache(maxsize=64)
def _statement(function: str, arguments: int) -> str:
    if not _FUNCTION.fullmatch(function):
        message = "not the name of a function"
        raise ValueError(message)
    return f"SELECT * FROM shield_api.{function}({', '.join(['%s'] * arguments)})"


def _adapted(value: object) -> object:
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return psycopg2.extras.Json(value)
    return value


def _discard(connection: Connection | None) -> None:
    if connection is not None and not connection.closed:
        connection.close()


def _bytes(value: Any, cursor: Any) -> bytes | None:
    view = psycopg2.BINARY(value, cursor)
    return None if view is None else bytes(view)


_BYTES = pg.new_type((_BYTEA_OID,), "BYTES", _bytes)


def _set_up_types(connection: Connection) -> None:
    pg.register_type(_BYTES, connection)
    psycopg2.extras.register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]


def _libpq_parameters(config: DatabaseConfig, application_name: str) -> dict[str, Any]:
    # GSSAPI looks up names and tickets before the first byte is sent, blocking; nobody who wants it is kept from it
    return {"gssencmode": "disable", **address.parameters(config), "application_name": application_name}


def _require_addresses(parameters: dict[str, Any]) -> None:
    hosts = str(parameters.get("hostaddr") or parameters.get("host") or "")
    for host in filter(None, hosts.split(",")):
        if not host.startswith("/"):
            try:
                ipaddress.ip_address(host)
            except ValueError:
                problem = f"{host} must be an IP address or a socket folder, because looking up a name blocks"
                raise ConfigError(source="[database] url", problem=problem) from None
