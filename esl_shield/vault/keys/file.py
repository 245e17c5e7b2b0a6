"""A KEK in a file: 64 hex digits and a newline.

Invariants: the file is read as every private file is (``config/private_file``); creating one never overwrites, and the
file appears whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from esl_shield.config import private_file
from esl_shield.config.private_file import PrivateFileRefusedError, Refusal
from esl_shield.errors.keys import CryptoError, KekExposed, KekMissing, KekUnusable
from esl_shield.vault.folders import sync_folder
from esl_shield.vault.keys.key import Key, from_hex

_MAX_BYTES = 256


def read(path: str) -> bytes:
    """Read and check the file; raises KekMissing, KekExposed or KekUnusable."""
    source = f"file:{path}"
    try:
        key = from_hex(private_file.read(path, _MAX_BYTES).decode("ascii", "replace"))
    except PrivateFileRefusedError as error:
        refused = error
    else:
        if key is None:
            raise KekUnusable(source=source, problem="it is not 64 hex digits and a newline")
        return key
    raise _error(source, refused)


def create(path: str) -> bool:
    """Write a new random KEK, mode 0400, unless the path exists; returns whether it did. Raises KekUnusable."""
    target = Path(path)
    temporary = None
    try:
        if os.path.lexists(target):
            return False
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - an open descriptor
            stream.write(Key.new().raw.hex() + "\n")
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


def _error(source: str, refused: PrivateFileRefusedError) -> CryptoError:
    match refused.refusal:
        case Refusal.MISSING:
            return KekMissing(source=source)
        case Refusal.EXPOSED:
            return KekExposed(source=source, problem=f"its mode is {refused.detail}")
        case Refusal.ANOTHERS:
            return KekExposed(source=source, problem=f"it belongs to user {refused.detail}")
        case Refusal.IRREGULAR:
            return KekUnusable(source=source, problem="it is not a regular file")
        case Refusal.UNREADABLE:
            return KekUnusable(source=source, problem=f"it cannot be opened ({refused.detail})")
