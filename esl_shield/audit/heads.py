"""Heads of blocks in a file, one JSON object a line: what is kept off the machine to hold the database against.

Invariants: lines are only ever added (O_APPEND) and are on the disk (fsync) before anybody is told; a head is never
skipped: what to write next follows from what was written last, which stands in the file and, because the site moves
the file away, in ``FILE.state`` beside it. A line a crash cut off is ended and written again.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.audit.blocks import Block, header_hash
from esl_shield.errors.sealing import EvidenceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TAIL_BYTES = 1 << 16  # a line has less than 1 kB
_MAX_LINE_BYTES = 1 << 14


@dataclass(frozen=True)
class Written:
    """Which block's head was written last, its hash, and up to which block heads were sent elsewhere."""

    number: int = 0
    hash: str = ""
    sent: int = 0


@dataclass(frozen=True)
class Head:
    """A head as it was exported; ``public_key`` is spelled in hex."""

    header: str
    signature: bytes
    public_key: str

    @property
    def line(self) -> str:
        """Its JSON, without a newline; the hash is there for people."""
        fields = {"header": self.header, "hash": header_hash(self.header), "public_key": self.public_key}
        return json.dumps({**fields, "signature": self.signature.hex()}, separators=(",", ":"))

    @classmethod
    def parse(cls, line: bytes) -> Head:
        """Read a line; raises ValueError."""
        fields = json.loads(line)
        try:
            return cls(str(fields["header"]), bytes.fromhex(fields["signature"]), str(fields["public_key"]))
        except (KeyError, TypeError):
            message = "it lacks a field of a head"
            raise ValueError(message) from None

    @property
    def block(self) -> Block:
        """The block it is the head of; raises ValueError."""
        return Block.parse(self.header, self.signature)


class HeadFile:
    """The file of one sealer."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._state = Path(f"{path}.state")
        self._written: Written | None = None

    @property
    def written(self) -> Written:
        """What was written last, over restarts; raises OSError, EvidenceUnreadable."""
        if self._written is None:
            kept, newest = self._kept(), self._newest()
            self._written = newest if newest.number > kept.number else kept
            if newest.number > kept.number:
                self._written = Written(newest.number, newest.hash, kept.sent)
        return self._written

    def add(self, heads: Sequence[Head]) -> None:
        """Write heads, in their order; raises OSError, and then none or some were written."""
        if not heads:
            return
        written = self.written
        text = "".join(f"{head.line}\n" for head in heads).encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            self._written = None  # until it is known how much was written
            if ends_midway(self._path):
                text = b"\n" + text
            while text:
                text = text[os.write(descriptor, text) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        last = heads[-1].block
        self._keep(Written(last.number, last.hash, written.sent))

    def note_sent(self, number: int) -> None:
        """Remember that heads were sent elsewhere, up to this block; raises OSError."""
        self._keep(Written(self.written.number, self.written.hash, number))

    def _keep(self, written: Written) -> None:
        descriptor, temporary = tempfile.mkstemp(prefix=".heads.", dir=self._state.parent)
        try:
            with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - an open descriptor
                json.dump(asdict(written), stream)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).rename(self._state)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._written = written

    def _kept(self) -> Written:
        try:
            return Written(**json.loads(self._state.read_text(encoding="ascii")))
        except FileNotFoundError:
            return Written()
        except (ValueError, TypeError):
            raise EvidenceUnreadable(
                source=self._state, what="the state of exported heads", problem="it is damaged"
            ) from None

    def _newest(self) -> Written:
        """Return the last whole head in the file."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = stream.read(_TAIL_BYTES).split(b"\n")
        except FileNotFoundError:
            return Written()
        for line in reversed(lines[:-1]):
            try:
                block = Head.parse(line).block
            except ValueError:
                continue
            return Written(block.number, block.hash)
        return Written()


def read_heads(path: str) -> Iterator[Head]:
    """Yield the heads of a file, their signatures unchecked; raises EvidenceUnreadable.

    A line that is cut off is passed over if another follows it: the sealer died while writing it, and wrote it again.
    """
    damaged = 0
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_MAX_LINE_BYTES), b""), 1):
                try:
                    head = Head.parse(line)
                    head.block  # noqa: B018 - a line that holds no block is damaged
                except ValueError:
                    damaged = damaged or number
                    continue
                damaged = 0
                yield head
    except OSError as error:
        raise EvidenceUnreadable(source=path, what="exported heads", problem=error.strerror) from None
    if damaged:
        raise EvidenceUnreadable(source=path, what="exported heads", problem=f"line {damaged} is no head")


def ends_midway(path: Path) -> bool:
    """Say whether a file ends within a line, as one does whose writer was killed."""
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
