"""psycopg2's errors as ours.

Invariants: no value and no row of the database gets into a message (PostgreSQL quotes them in DETAIL, and in the
primary message of some errors), so callers see SQLSTATE codes; libpq's own sentences about a connection name hosts,
databases and logins only, and are kept. An error is ``DatabaseAway`` exactly when the same call may succeed later.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any

import psycopg2

from esl_shield.errors.database import (
    NO_RIGHT,
    DatabaseAway,
    DatabaseRefused,
    LoginRefused,
    RightMissing,
    SchemaRefused,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from esl_shield.errors import ShieldError

# PostgreSQL's Appendix A: connection exceptions, out of resources, operator intervention (a time-out's 57014 is in it),
# system errors; a lock not had in time; lost races with other transactions; a server still in recovery.
_AWAY_CLASSES = frozenset({"08", "53", "57", "58"})
_AWAY_STATES = frozenset({"55P03", "40001", "40P01", "25006"})
_LONGEST = 200

# Not let in: invalid authorization, no such database, no right to connect.
_NOT_LET_IN = re.compile(rf"28[0-9A-Z]{{3}}|3D000|{NO_RIGHT}")
_STATE = re.compile(r"(?<=: {2})([0-9A-Z]{5}): ")
# What libpq says without a SQLSTATE: its own complaints, and an English-speaking server's to a plain connection.
_NOT_LET_IN_WORDS = re.compile(
    r"no password supplied|authentication failed|no pg_hba\.conf entry|role \".*\" does not exist"
    r"|is not permitted to log in|database \".*\" does not exist|permission denied for database"
)
_VERBOSE = 2  # libpq-fe.h: PQERRORS_VERBOSE
_libpq = ctypes.CDLL(psycopg2._psycopg.__file__)  # noqa: SLF001 - the only name that leads to the libpq psycopg2 uses
_libpq.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]


def ask_for_states(connection: Connection) -> None:
    """Have libpq say the SQLSTATE when this connection is not made: psycopg2 passes on the sentence alone.

    The sentence is in the language of the server's ``lc_messages``; the code is not.
    """
    _libpq.PQsetErrorVerbosity(connection.pgconn_ptr, _VERBOSE)


def call_failed(name: str, error: psycopg2.Error, *, schema: str = "shield_api", needs: str = "") -> ShieldError:
    """Say what became of a call of ``shield_api.<name>``, or a look at another schema's.

    ``needs`` is whose login it takes, such as ``a seeder``: another's, which lacks the right, is RightMissing.
    """
    state = error.pgcode
    if state is None:
        return connection_failed(error)
    if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return DatabaseAway(problem=f"it gave up with SQLSTATE {state}")
    if needs and state == NO_RIGHT:
        return RightMissing(function=f"{schema}.{name}", needs=needs)
    return DatabaseRefused(function=f"{schema}.{name}", sqlstate=state)


def connection_failed(error: BaseException) -> ShieldError:
    """Say that a connection could not be made, or broke: LoginRefused when waiting will not mend it."""
    text = str(error).strip()
    lines = text.splitlines()
    problem = _STATE.sub("", lines[0].strip())[:_LONGEST] if lines else "the connection broke"
    state = _STATE.search(text)
    if _NOT_LET_IN.fullmatch(state[1]) if state else _NOT_LET_IN_WORDS.search(text):
        return LoginRefused(problem=problem, sqlstate=state[1] if state else "")
    return DatabaseAway(problem=problem)


def change_failed(error: Any) -> ShieldError:
    """Say why an administrator's change was refused; the primary message is about schema, roles and logins."""
    state = getattr(error, "pgcode", None)
    if state is None:
        return connection_failed(error)
    if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return DatabaseAway(problem=f"it gave up with SQLSTATE {state}")
    primary = error.diag.message_primary if isinstance(error, psycopg2.Error) else None
    return SchemaRefused(problem=f"{primary} (SQLSTATE {state})")
