"""The database's URL, checked, and the password from its file.

Invariants: neither the URL nor anything of it but a host is repeated in an error, because it may hold a password; a
password file others can read is refused; it is read when connections are made ready, and its content is kept nowhere
but in libpq's parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions as pg
import sqlalchemy
from sqlalchemy.dialects.postgresql import psycopg2 as dialect

from esl_shield.config.private_file import read_line
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from esl_shield.config.database import DatabaseConfig

MAX_PASSWORD_BYTES = 1024
_DIALECT: Any = dialect.dialect
_URL = "[database] url"
_PASSWORD = "[database] password"  # noqa: S105 - a key's name


def parameters(config: DatabaseConfig) -> dict[str, Any]:
    """Return libpq's parameters; raises ConfigError."""
    made: dict[str, Any] | None
    try:
        _, made = _DIALECT().create_connect_args(sqlalchemy.make_url(config.url))
        pg.make_dsn(**made)
    except (sqlalchemy.exc.ArgumentError, psycopg2.ProgrammingError, ValueError, TypeError):
        made = None
    if made is None:  # outside of the handler: the error quotes the URL, which may hold a password
        raise ConfigError(source=_URL, problem="it cannot be read as a SQLAlchemy URL with libpq's options")
    if config.password:
        made["password"] = read_password(config.password)
    return made


def read_password(source: str, key: str = _PASSWORD) -> str:
    """Read one line from ``file:PATH``, a file only its owner can read; ``key`` names it in errors.

    Raises ConfigError.
    """
    line = read_line(source, MAX_PASSWORD_BYTES, key=key)
    path = source.removeprefix("file:")
    if not 0 < len(line) <= MAX_PASSWORD_BYTES or b"\n" in line or b"\0" in line:
        raise ConfigError(source=key, problem=f"{path} must hold the password as its one line")
    try:
        return line.decode()
    except UnicodeDecodeError:
        problem = f"{path} is not UTF-8"
    raise ConfigError(source=key, problem=problem)  # outside of the handler: the error holds the bytes
