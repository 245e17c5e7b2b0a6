"""A caller's secret from its file.

Invariants: a secret that another user of the machine can read is no secret, so such a file is an error and not a
warning; what is wrong is said without a byte of the content.
"""

from __future__ import annotations

import os
import re
import stat

from esl_shield.errors.config import ConfigError

MIN_SECRET_BYTES = 16
MAX_SECRET_BYTES = 512
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


def read_secret(caller: str, source: str, *, table: str = "[resolver] secrets.") -> bytes:
    """Read ``file:PATH``, 16 to 512 visible ASCII characters and perhaps a newline.

    Raises ConfigError, which names the key ``table`` and ``caller`` make.
    """
    path = source.removeprefix("file:")
    where = f"{table}{caller}"
    try:
        # O_NONBLOCK: a FIFO in the secret's place must not hang the process.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(source=where, problem=f"{path} cannot be read ({error.strerror})") from None
    try:
        _check_owner(os.fstat(descriptor), path, where)
        content = os.read(descriptor, MAX_SECRET_BYTES + 3)
    finally:
        os.close(descriptor)
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES or not _VISIBLE.fullmatch(secret):
        problem = f"{path} must hold {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} characters without spaces"
        raise ConfigError(source=where, problem=f"{problem}, such as `openssl rand -hex 32` prints")
    return secret


def _check_owner(status: os.stat_result, path: str, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(source=where, problem=f"{path} is not a file")
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise ConfigError(source=where, problem=f"{path} has mode {mode}: others can read or change it; chmod 0400 it")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(source=where, problem=f"{path} belongs to another user; chown it to the one that reads it")
