"""A KEK in a file: 64 hex digits and a newline.

Invariants: the file is checked through the descriptor it is read from; it must be a regular file of this user or
root that nobody else may read or write; creating one never overwrites, and the file appears whole or not at all.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from esl_shield.errors.keys import KekExposed, KekMissing, KekUnusable
from esl_shield.vault.folders import sync_folder
from esl_shield.vault.keys.secret import Kek, from_hex

_MAX_BYTES = 256


def read(path: str) -> bytes:
    """Read and check the file; raises KekMissing, KekExposed or KekUnusable."""
    source = f"file:{path}"
    try:
        # O_NONBLOCK: a FIFO put in the key's place must not hang the process.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise KekMissing(source=source) from None
    except OSError as error:
        raise KekUnusable(source=source, problem=f"it cannot be opened ({error.strerror})") from None
    try:
        _check(os.fstat(descriptor), source)
        text = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    key = from_hex(text.decode("ascii", "replace"))
    if key is None:
        raise KekUnusable(source=source, problem="it is not 64 hex digits and a newline")
    return key


def create(path: str) -> bool:
    """Write a new random KEK, mode 0400, unless the path exists; returns whether it did. Raises KekUnusable."""
    target = Path(path)
    temporary = None
    try:
        if os.path.lexists(target):
            return False
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - an open descriptor
            stream.write(Kek.new().raw.hex() + "\n")
            stream.flush()
            os.fchmod(stream.fileno(), 0o400)
            os.fsync(stream.fileno())
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        raise KekUnusable(source=f"file:{path}", problem=f"it cannot be created ({error.strerror})") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    sync_folder(target.parent)
    return True


def _check(status: os.stat_result, source: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KekUnusable(source=source, problem="it is not a regular file")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KekExposed(source=source, problem=f"its mode is {stat.S_IMODE(status.st_mode):04o}")
    if status.st_uid not in (os.geteuid(), 0):
        raise KekExposed(source=source, problem=f"it belongs to user {status.st_uid}")
