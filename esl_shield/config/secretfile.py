"""A caller's secret from its file.

Invariants: a secret that another user of the machine can read is no secret, so such a file is an error and not a
warning; what is wrong is said without a byte of the content.
"""

from __future__ import annotations

import re

from esl_shield.config.private_file import read_line
from esl_shield.errors.config import ConfigError

MIN_SECRET_BYTES = 16
MAX_SECRET_BYTES = 512
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


def read_secret(caller: str, source: str, *, table: str = "[resolver] secrets.") -> bytes:
    """Read ``file:PATH``, 16 to 512 visible ASCII characters and perhaps a newline.

    Raises ConfigError, which names the key ``table`` and ``caller`` make.
    """
    where = f"{table}{caller}"
    secret = read_line(source, MAX_SECRET_BYTES, key=where)
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES or not _VISIBLE.fullmatch(secret):
        path = source.removeprefix("file:")
        problem = f"{path} must hold {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} characters without spaces"
        raise ConfigError(source=where, problem=f"{problem}, such as `openssl rand -hex 32` prints")
    return secret
