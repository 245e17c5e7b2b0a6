"""The database's URL, checked, and the password from its file.

Invariants: neither the URL nor anything of it but a host is repeated in an error, because it may hold a password; a
password file others can read is refused; it is read when connections are made ready, and its content is kept nowhere
but in libpq's parameters.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions as pg
import sqlalchemy
from sqlalchemy.dialects.postgresql import psycopg2 as dialect

from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from esl_shield.config.database import DatabaseConfig

MAX_PASSWORD_BYTES = 1024
_DIALECT: Any = dialect.dialect
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
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
    path = source.removeprefix("file:")
    try:
        # O_NONBLOCK: a FIFO in the file's place must not hang the process.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(source=key, problem=f"{path} cannot be read ({error.strerror})") from None
    try:
        _check(os.fstat(descriptor), path, key)
        content = os.read(descriptor, MAX_PASSWORD_BYTES + 1)
    finally:
        os.close(descriptor)
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(line) <= MAX_PASSWORD_BYTES or b"\n" in line or b"\0" in line:
        raise ConfigError(source=key, problem=f"{path} must hold the password as its one line")
    try:
        return line.decode()
    except UnicodeDecodeError:
        problem = f"{path} is not UTF-8"
    raise ConfigError(source=key, problem=problem)  # outside of the handler: the error holds the bytes


def _check(status: os.stat_result, path: str, key: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(source=key, problem=f"{path} is not a file")
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        problem = f"{path} has mode {mode}: others can read or change it; chmod 0400 it"
        raise ConfigError(source=key, problem=problem)
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(source=key, problem=f"{path} belongs to another user; chown it to this process's")
