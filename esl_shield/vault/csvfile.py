"""The import's files: reading one CSV of any size in bounded memory, writing two that appear whole or not at all.

Invariants: a line, a field and so a record are bounded; an error names the line, never what is in it; the outputs are
readable by their owner only and get their names by one rename each, after everything is on disk, the rejected rows
first, so that the output's name appearing means the import is complete.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from esl_shield.errors.tokens import CsvRejected, LabelRejected, OutputRejected
from esl_shield.vault.folders import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

MAX_LINE_BYTES = 256 * 1024
MAX_FIELD_CHARS = 32 * 1024
_BLOCK_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Source:
    """The CSV to import; counts the bytes read. ``size`` is None for what cannot be read twice (a pipe)."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        self.position = 0
        self._stream = stream
        self.size = os.fstat(stream.fileno()).st_size if stream.seekable() else None

    def rewind(self) -> None:
        """Start again at the first byte."""
        self._stream.seek(0)
        self.position = 0

    def is_file(self, path: Path) -> bool:
        """Whether the path is this very file."""
        return os.path.samestat(path.stat(), os.fstat(self._stream.fileno()))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each record that is not an empty line, with the number of its first line; raises CsvRejected."""
        previous = csv.field_size_limit(MAX_FIELD_CHARS)
        reader = csv.reader(self._lines(), strict=True)
        line = 1
        try:
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1
        except csv.Error as error:
            raise self.rejected(f"line {line}: {error}") from None
        finally:
            csv.field_size_limit(previous)

    def rejected(self, problem: str) -> CsvRejected:
        """Make the error that names this file."""
        return CsvRejected(source=self.name, problem=problem)

    def _lines(self) -> Iterator[str]:
        """Yield line by line, read and decoded a block at a time."""
        number, rest = 0, b""
        while block := os.read(self._stream.fileno(), _BLOCK_BYTES):
            self.position += len(block)
            whole, end, rest = (rest + block).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*_split(whole + end), rest], b""
            else:
                lines = _split(whole + end)
            yield from self._decoded(number, lines)
            number += len(lines)
        yield from self._decoded(number, _split(rest))

    def _decoded(self, before: int, lines: list[bytes]) -> Iterable[str]:
        """Decode lines, ``before`` of which came earlier: all in one go, or one by one where one is at fault."""
        if before == 0 and lines:
            lines[0] = lines[0].removeprefix(_BOM)
        together = b"".join(lines)
        if b"\0" not in together and len(together) <= MAX_LINE_BYTES:
            with contextlib.suppress(UnicodeDecodeError):
                return io.StringIO(together.decode("utf-8"), newline="\n")
        return (self._decoded_line(number, line) for number, line in enumerate(lines, before + 1))

    def _decoded_line(self, number: int, line: bytes) -> str:
        if len(line) > MAX_LINE_BYTES:
            raise self.rejected(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
        if b"\0" in line:
            raise self.rejected(f"line {number} holds a NUL byte; the file must be UTF-8 text (it may be UTF-16)")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise self.rejected(f"line {number} is not UTF-8; save it as CSV UTF-8") from None


@dataclass(frozen=True)
class Header:
    """Where the columns are: position by name, known columns and the labels asked for; how many there are in all."""

    positions: dict[str, int]
    width: int

    @classmethod
    def read(cls, source: Source, record: Sequence[str] | None, known: Sequence[str], labels: Sequence[str]) -> Header:
        """Read the first record; raises CsvRejected or LabelRejected.

        No cell is repeated in an error: a file without header has a number there.
        """
        if record is None:
            raise source.rejected("it is empty; its first row must name the columns, one of them number")
        names = [name.strip() for name in record]
        known_names = [name.casefold() for name in names]
        if "number" not in known_names:
            raise source.rejected("its first row has no column number; columns are separated by commas")
        positions: dict[str, int] = {}
        for name in known:
            if name in known_names:
                positions[name] = _only(source, known_names, name)
        for name in labels:
            if name not in names:
                raise LabelRejected(reason="missing", why=f"the file has no column {name!r}")
            positions[name] = _only(source, names, name)
        return cls(positions, len(names))

    def cells(self, record: Sequence[str]) -> dict[str, str] | None:
        """Pick the columns out of a record; None if it is ragged."""
        if len(record) != self.width:
            return None
        return {name: record[position] for name, position in self.positions.items()}

    def number_of(self, record: Sequence[str]) -> str:
        """Give the cell that would hold a ragged record's number, to be masked."""
        position = self.positions["number"]
        return record[position] if position < len(record) else ""


def _only(source: Source, names: list[str], name: str) -> int:
    if names.count(name) > 1:
        raise source.rejected(f"its first row names the column {name} twice")
    return names.index(name)


class Output:
    """A CSV that gets its name when it is complete; one writer at a time, mode 0600.

    Until then it is ``NAME.partial``; one left by a killed process is begun anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        self._stream: IO[str] | None = None

    def __enter__(self) -> Self:
        """Open and lock the partial file; raises OutputRejected."""
        if self.path.is_dir():
            raise OutputRejected(path=self.path, problem="it is a folder")
        try:
            self._stream = open(self._lock(), "w", encoding="utf-8", newline="")  # noqa: PTH123 - a descriptor
        except OSError as error:
            raise OutputRejected(path=self.path, problem=error.strerror) from None
        self._writer = csv.writer(self._stream, lineterminator="\n")
        return self

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Write rows; raises OutputRejected, such as for a full disk."""
        with self._reported():
            self._writer.writerows(rows)

    def sync(self) -> None:
        """Bring everything written to disk; raises OutputRejected."""
        with self._reported():
            stream = self._opened()
            stream.flush()
            os.fsync(stream.fileno())

    def commit(self) -> None:
        """Give the file its name, in place of an earlier one; raises OutputRejected."""
        self.sync()
        with self._reported():
            self._partial.replace(self.path)
            sync_folder(self.path.parent)

    def remove(self) -> None:
        """Leave no file of this name, not even an earlier one; raises OutputRejected."""
        with self._reported():
            self.path.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stream = self._opened()
        if _same_file(self._partial, stream.fileno()):
            self._partial.unlink(missing_ok=True)
        # What is still buffered goes nowhere: after an error (a full disk) flushing would only raise again.
        with contextlib.suppress(OSError):
            stream.close()

    def _opened(self) -> IO[str]:
        if self._stream is None:
            message = "the output is not open"
            raise RuntimeError(message)
        return self._stream

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputRejected(path=self.path, problem=error.strerror) from None

    def _lock(self) -> int:
        while True:
            descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise OutputRejected(path=self.path, problem="another import is writing it now") from None
            # Between open and lock another import may have renamed the file: then it is that import's output.
            if _same_file(self._partial, descriptor):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)
                return descriptor
            os.close(descriptor)


def rejected_path(output: Path) -> Path:
    """Return where the rejected rows of ``OUT.csv`` go: ``OUT.rejected.csv``."""
    stem = output.name.removesuffix(".csv")
    return output.with_name(f"{stem}.rejected.csv")


def defused(value: str) -> str:
    """Put an apostrophe before a value that a spreadsheet would run as a formula (=, +, -, @, tab, return)."""
    return "'" + value if value.startswith(_FORMULA_STARTS) else value


def _split(text: bytes) -> list[bytes]:
    """Split after line feeds only."""
    return io.BytesIO(text).readlines()


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
