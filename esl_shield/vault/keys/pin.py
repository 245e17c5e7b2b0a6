"""The PIN: read from its file for each login, kept nowhere.

Invariants: the file is read as every private file is; a PIN the device refused is not tried again in this process until
its file is another (who refuses three times locks a real token); no error holds a byte of it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, ClassVar

from esl_shield.config import private_file
from esl_shield.config.private_file import PrivateFileRefusedError
from esl_shield.errors.device import PinRejected, PinUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PIN_BYTES = 255
_Signature = tuple[int, int, int, int, int]


class PinFile:
    """A PIN's file, on behalf of a URI that names it."""

    _refused: ClassVar[dict[str, _Signature | None]] = {}

    def __init__(self, uri: str, path: str) -> None:
        self._uri = uri
        self._path = path

    def offer(self, log_in: Callable[[bytes], bool]) -> None:
        """Have a PIN tried, unless this one was refused; raises PinUnusable, PinRejected and what ``log_in`` does."""
        signature = self._signature()
        if signature is not None and self._refused.get(self._path) == signature:
            raise PinRejected(uri=self._uri, source=self._path)
        if not log_in(self._read()):
            self._refused[self._path] = signature
            raise PinRejected(uri=self._uri, source=self._path)

    def _signature(self) -> _Signature | None:
        with contextlib.suppress(OSError):
            status = os.stat(self._path)  # noqa: PTH116 - of what a link points to
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        return None

    def _read(self) -> bytes:
        try:
            content = private_file.without_end(private_file.read(self._path, MAX_PIN_BYTES + len(b"\r\n")))
        except PrivateFileRefusedError as error:
            problem = f"it {error}"
        else:
            if 0 < len(content) <= MAX_PIN_BYTES and content.isascii() and content.decode("ascii").isprintable():
                return content
            problem = f"it is not one line of 1 to {MAX_PIN_BYTES} visible characters"
        raise PinUnusable(source=self._path, problem=problem)
