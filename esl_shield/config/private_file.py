"""The one way a secret's file is read: password, caller's secret, KEK, PIN, signing key; public halves of these too.

Invariants: a file is judged through the descriptor it is read from; it must be a regular file of this process's user or
of root that nobody else may read or change; a FIFO in its place hangs nobody; no error holds a byte of the content.
"""

from __future__ import annotations

import enum
import os
import stat

from esl_shield.errors.config import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Refusal(enum.Enum):
    """Why a file was not read, as the end of a sentence about it; ``{}`` is what the system or the file says."""

    MISSING = "cannot be read ({}), nothing is there"
    UNREADABLE = "cannot be read ({})"
    IRREGULAR = "is not a file"
    EXPOSED = "has mode {}: others can read or change it; chmod 0400 it"
    ANOTHERS = "belongs to user {}, another user; chown it to the one that reads it"


class PrivateFileRefusedError(Exception):
    """A file was not read; ``refusal`` says why, ``detail`` is its strerror, mode or owner."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(refusal.value.format(detail))
        self.refusal = refusal
        self.detail = detail


def read(path: str, max_bytes: int, *, public: bool = False) -> bytes:
    """Read a private file, one byte more than ``max_bytes`` at most; raises PrivateFileRefusedError.

    ``public`` is for what anybody may have and know, such as a public key: only what is no file is refused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PrivateFileRefusedError(Refusal.MISSING, error.strerror or "") from None
    except (OSError, ValueError) as error:
        detail = (isinstance(error, OSError) and error.strerror) or "no file has such a name"
        raise PrivateFileRefusedError(Refusal.UNREADABLE, detail) from None
    try:
        _check(os.fstat(descriptor), public=public)
        return os.read(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)


def read_line(source: str, max_bytes: int, *, key: str) -> bytes:
    """Read ``file:PATH`` without the end of its line; raises ConfigError, which names the configuration's ``key``."""
    path = source.removeprefix("file:")
    try:
        content = read(path, max_bytes + len(b"\r\n"))
    except PrivateFileRefusedError as error:
        problem = f"{path} {error}"
    else:
        return without_end(content)
    raise ConfigError(source=key, problem=problem)


def without_end(content: bytes) -> bytes:
    """Take one end of line away."""
    return content.removesuffix(b"\n").removesuffix(b"\r")


def _check(status: os.stat_result, *, public: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PrivateFileRefusedError(Refusal.IRREGULAR)
    if public:
        return
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        raise PrivateFileRefusedError(Refusal.EXPOSED, f"{stat.S_IMODE(status.st_mode):04o}")
    if status.st_uid not in (0, os.geteuid()):
        raise PrivateFileRefusedError(Refusal.ANOTHERS, str(status.st_uid))
