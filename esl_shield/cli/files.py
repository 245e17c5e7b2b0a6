"""Files that commands read."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from esl_shield.cli.careful import hide_numbers
from esl_shield.errors.tokens import CsvRejected
from esl_shield.vault.csvfile import Source

if TYPE_CHECKING:
    from collections.abc import Iterator


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
