"""Files that commands read, and files they make for one text that must not be lost or seen."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from esl_shield.cli.careful import hide_numbers
from esl_shield.errors.tokens import CsvRejected
from esl_shield.vault.csvfile import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def open_source(file: str) -> Iterator[Source]:
    """Open a CSV, ``-`` being standard input; raises CsvRejected, which shows no number of the file's name."""
    if file == "-":
        yield Source(sys.stdin.buffer, "standard input")
        return
    name = hide_numbers(file)
    try:
        stream: IO[bytes] = Path(file).open("rb")  # noqa: SIM115 - closed below, outside of the handler
    except OSError as error:
        raise CsvRejected(source=name, problem=f"it cannot be opened ({error.strerror})") from None
    with stream:
        yield Source(stream, name)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Callable[[str], None]]:
    """Make a new file (mode 0600) and give the function that writes its text, onto the disk; both raise OSError.

    It is made before what the text is about happens; when no text came, or not all of it, it is removed again.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    written = False

    def write(text: str) -> None:
        nonlocal written
        data = text.encode()
        while data:  # unbuffered: what a full disk refuses is not tried again when the file is closed
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
        written = True

    try:
        os.fchmod(descriptor, 0o600)
        yield write
    finally:
        os.close(descriptor)
        if not written:
            path.unlink(missing_ok=True)
