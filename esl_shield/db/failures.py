"""psycopg2's errors as ours.

Invariants: no value and no row of the database gets into a message (PostgreSQL quotes them in DETAIL, and in the
primary message of some errors), so callers see SQLSTATE codes; libpq's own sentences about a connection name hosts,
databases and logins only, and are kept. An error is ``DatabaseAway`` exactly when the same call may succeed later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2

from esl_shield.errors import DatabaseAway, DatabaseRefused, SchemaRefused

if TYPE_CHECKING:
    from esl_shield.errors import ShieldError

# PostgreSQL's Appendix A: connection exceptions, out of resources, operator intervention (a time-out's 57014 is in it),
# system errors; a lock not had in time; lost races with other transactions; a server still in recovery.
_AWAY_CLASSES = frozenset({"08", "53", "57", "58"})
_AWAY_STATES = frozenset({"55P03", "40001", "40P01", "25006"})
_LONGEST = 200


def call_failed(function: str, error: psycopg2.Error) -> ShieldError:
    """Say what became of a call of ``shield_api.<function>``."""
    state = error.pgcode
    if state is None:
        return connection_failed(error)
    if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return DatabaseAway(problem=f"it gave up with SQLSTATE {state}")
    return DatabaseRefused(function=f"shield_api.{function}", sqlstate=state)


def connection_failed(error: BaseException) -> DatabaseAway:
    """Say that a connection could not be made, or broke."""
    lines = str(error).strip().splitlines()
    return DatabaseAway(problem=lines[0].strip()[:_LONGEST] if lines else "the connection broke")


def change_failed(error: Any) -> ShieldError:
    """Say why an administrator's change was refused; the primary message is about schema, roles and logins."""
    state = getattr(error, "pgcode", None)
    if state is None:
        return connection_failed(error)
    if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return DatabaseAway(problem=f"it gave up with SQLSTATE {state}")
    primary = error.diag.message_primary if isinstance(error, psycopg2.Error) else None
    return SchemaRefused(problem=f"{primary} (SQLSTATE {state})")
