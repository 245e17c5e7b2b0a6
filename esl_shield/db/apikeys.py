"""Keys of the HTTP API, as an administrator makes and revokes them.

Invariants: only a key's hash comes here; a step is one transaction with its audit event.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import call_failed, connection_failed
from esl_shield.errors.api import ApiKeyRejected, ApiKeyUnknown
from esl_shield.errors.database import NO_RIGHT, RightMissing
from esl_shield.errors.tenants import TenantUnknown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.errors import ShieldError

_TENANT_INVISIBLE, _REFUSED_VALUE, _UNIQUE = "ES002", "23514", "23505"


class ApiKeys:
    """The keys of one tenant; each method raises TenantUnknown, DatabaseAway, DatabaseRefused, RightMissing."""

    def __init__(self, config: DatabaseConfig, tenant: str) -> None:
        self._engine = sqlalchemy_engine(config)
        self._tenant = tenant

    def add(
        self, key_hash: bytes, name: str, scopes: Sequence[str], expires_at: dt.datetime | None, *, kind: str = "secret"
    ) -> int:
        """Let a key in; returns its id. Raises ApiKeyRejected."""
        made = self._ask("add_api_key", self._tenant, name, kind, key_hash, list(scopes), expires_at, None, None)
        return int(made)

    def rotate(self, key: int, key_hash: bytes, expires_at: dt.datetime | None, old_ends: dt.datetime) -> int:
        """Let a key in in another's place, which ends at ``old_ends``; returns its id. Raises ApiKeyUnknown."""
        made = self._ask("add_api_key", self._tenant, None, "secret", key_hash, None, expires_at, key, old_ends)
        if made is None:
            raise ApiKeyUnknown(tenant=self._tenant, key=key)
        return int(made)

    def revoke(self, key: int) -> bool:
        """Refuse a key from now on; False when it was revoked before. Raises ApiKeyUnknown."""
        done = self._ask("revoke_api_key", self._tenant, key)
        if done is None:
            raise ApiKeyUnknown(tenant=self._tenant, key=key)
        return bool(done)

    def rows(self) -> list[dict[str, Any]]:
        """Return what dba.api_keys shows of them, oldest first."""
        with self._connected() as connection:
            found = connection.exec_driver_sql(
                "SELECT * FROM dba.api_keys WHERE tenant = %s ORDER BY id", (self._tenant,)
            )
            return [dict(row) for row in found.mappings()]

    def _ask(self, function: str, *values: object) -> Any:
        marks = ", ".join(["%s"] * len(values))
        with self._connected() as connection:
            return connection.exec_driver_sql(f"SELECT shield_api.{function}({marks})", values).scalar()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        failure: ShieldError | None = None
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            cause = error.orig
            failure = self._failure(cause) if isinstance(cause, psycopg2.Error) else connection_failed(error)
        if failure is not None:
            raise failure

    def _failure(self, error: psycopg2.Error) -> ShieldError:
        if error.pgcode == _TENANT_INVISIBLE:
            return TenantUnknown(tenant=self._tenant)
        if error.pgcode == NO_RIGHT:
            return RightMissing(
                function="keys of the HTTP API", needs="an administrator, who is a member of shield_owner"
            )
        if error.pgcode == _REFUSED_VALUE:
            why = "a name is a letter, then letters, digits, dots, dashes, underscores, never five digits in a row"
            return ApiKeyRejected(problem=why)
        if error.pgcode == _UNIQUE:
            return ApiKeyRejected(problem="this client is registered already")
        return call_failed("add_api_key", error)
