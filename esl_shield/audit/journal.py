"""A resolver's own journal of how often it decrypted: signed, hash-chained, outside the database.

Invariants: counting costs one addition on the way of a redemption, nothing waits for a disk; a second's count becomes
one record, which holds the hash of the record before, is signed, and is on the disk (fsync) about a second later; a
record that could not be written is kept and written later, never dropped while the process lives. A run begins with a
``start`` and, when it is not killed, ends with a ``stop``, so what a crash took with it is bounded and known.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esl_shield.audit import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.audit.signing import Signer

FORMAT = 1
IDLE_S = 60  # a record at least this often, so that a crash is known to within it
DECRYPTS, WITHHELD, UNANSWERED = "decrypts", "withheld", "unanswered"
COUNTS = (DECRYPTS, WITHHELD, UNANSWERED)


@dataclass(frozen=True)
class Record:
    """A line of a journal: its text is what is hashed and signed; counts are of the second ``to``."""

    text: str
    signature: bytes
    fields: dict[str, Any]

    @classmethod
    def parse(cls, line: bytes) -> Record:
        """Read a line; raises ValueError."""
        try:
            outer = json.loads(line)
            text, signature = str(outer["record"]), bytes.fromhex(outer["signature"])
            fields = json.loads(text)
            for name in ("format", "seq", "from", "to", *COUNTS):
                int(fields[name])
            for name in ("name", "login", "kind", "previous", "key"):
                str(fields[name])
        except (KeyError, TypeError):
            message = "it lacks a field of a record"
            raise ValueError(message) from None
        if fields["format"] != FORMAT:
            message = "it is a record of another format"
            raise ValueError(message)
        return cls(text, signature, fields)

    @property
    def hash(self) -> str:
        """What the next record's ``previous`` is."""
        return sha256(b"\3" + self.text.encode()).hexdigest()

    @property
    def line(self) -> bytes:
        """Its line in the file, newline included."""
        return json.dumps({"record": self.text, "signature": self.signature.hex()}).encode() + b"\n"


def signed_message(text: str) -> bytes:
    """Return what is signed of a record."""
    return b"esl-shield journal\0" + text.encode()


class Journal:
    """The journal of one resolver; ``count`` from any greenlet, the rest from one."""

    def __init__(
        self, path: str, signer: Signer, *, name: str, login: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(path)
        self._signer = signer
        self._name = name
        self._login = login
        self._clock = clock
        self._run = secrets.token_hex(4)
        self._counts: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self._pending: list[bytes] = []
        self._seq = 0
        self._previous = ""
        self._to = 0

    def count(self, what: str) -> None:
        """Count one of COUNTS in this second."""
        self._counts[int(self._clock())][what] += 1

    def begin(self) -> None:
        """Go on with the chain in the file, and write that a run starts; raises OSError."""
        last = lines.last(self._path, Record.parse)
        if last is not None:
            self._seq, self._previous = last.fields["seq"], last.hash
        self._to = int(self._clock()) - 1
        self._add("start", self._to + 1, {})
        self.write()

    def collect(self, *, all_: bool = False) -> bool:
        """Make records of the seconds that are over (or of all); returns whether there is anything to write."""
        now = int(self._clock())
        for second in sorted(second for second in self._counts if all_ or second < now):
            self._add("count", second, self._counts.pop(second))
        if now - 1 - self._to >= IDLE_S:
            self._add("count", now - 1, {})
        if all_:
            self._add("stop", now, {})
        return bool(self._pending)

    def write(self) -> None:
        """Write what waits and have it on the disk; raises OSError, and then it is written again. Runs in a thread."""
        waiting = list(self._pending)
        lines.append(self._path, b"".join(waiting))
        del self._pending[: len(waiting)]

    def _add(self, kind: str, second: int, counts: dict[str, int]) -> None:
        self._seq += 1
        fields = {
            "format": FORMAT, "name": self._name, "login": self._login, "run": self._run, "seq": self._seq,
            "kind": kind, "from": self._to + 1, "to": max(second, self._to), "key": self._signer.public.id,
            "previous": self._previous, **dict.fromkeys(COUNTS, 0), **counts,
        }  # fmt: skip
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        record = Record(text, self._signer.sign(signed_message(text)), fields)
        self._pending.append(record.line)
        self._previous, self._to = record.hash, max(second, self._to)


def read_journal(path: str) -> Iterator[Record]:
    """Yield the records of a file; raises EvidenceUnreadable."""
    return lines.read(path, Record.parse, what="a journal", line_is="record")
