"""Heads of blocks in a file, one JSON object a line: what is kept off the machine to hold the database against.

Invariants: a head is never skipped: what to write next follows from what was written last, which stands in the file
and, because the site moves the file away, in ``FILE.state`` beside it.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.audit import lines
from esl_shield.audit.blocks import Block, header_hash
from esl_shield.errors.sealing import EvidenceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
        self._written = None  # until it is known how much was written
        lines.append(self._path, "".join(f"{head.line}\n" for head in heads).encode())
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
        block = lines.last(self._path, lambda line: Head.parse(line).block)
        return Written(block.number, block.hash) if block else Written()


def read_heads(path: str) -> Iterator[Head]:
    """Yield the heads of a file, their signatures unchecked; raises EvidenceUnreadable."""
    return lines.read(path, _sound, what="exported heads", line_is="head")


def _sound(line: bytes) -> Head:
    head = Head.parse(line)
    head.block  # noqa: B018 - a line that holds no block is damaged
    return head
