"""A block: a header that is hashed, chained and signed; the entries and leaf hashes it vouches for.

Invariants: the header's text itself is what is hashed and signed, never a text made again from its fields; entries and
leaves say which events at which position, and the header holds a hash of each; the order of events is (xid, id).
docs/audit-format.md specifies every byte.
"""

from __future__ import annotations

import json
import struct
from array import array
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from esl_shield.audit import events, merkle

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
FIELDS = frozenset({
    "block", "code", "count", "database", "entries", "first_at", "first_id", "floor", "format", "id", "key", "last_at",
    "last_id", "lost", "previous", "root", "sealed_at", "top", "total", "xid",
})  # fmt: skip
_LEAST = -(2**62)  # -(2**63) written into SQL is no bigint


@dataclass(frozen=True)
class Position:
    """How far events are sealed: all of the cluster ``database`` above the id ``floor`` up to (xid, id).

    ``top`` is the highest id that was sealed.
    """

    database: str = ""
    floor: int = _LEAST
    xid: int = 0
    id: int = 0
    top: int = _LEAST


@dataclass(frozen=True)
class Entries:
    """What is known of each event of a block beside its hash, column by column."""

    ids: Sequence[int]
    xids: Sequence[int]
    ats: Sequence[int]  # microseconds since 1970
    checks: tuple[Sequence[int], ...]  # CRC-32 of each of events.CHECKED

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Entries:
        """Take them from the events' lines."""
        cells = [line.split(b"\t", 3) for line in lines]
        ids, xids, ats = (array("q", [int(row[column]) for row in cells]) for column in range(3))
        rows = [events.checksums(line) for line in lines]
        return cls(ids, xids, ats, tuple(array("I", column) for column in zip(*rows, strict=True)))

    @classmethod
    def unpack(cls, data: bytes) -> Entries:
        """Read the stored form; raises ValueError."""
        width = 3 * 8 + 4 * len(events.CHECKED)
        count, rest = divmod(len(data), width)
        if rest or not count:
            message = "the entries have no whole number of rows"
            raise ValueError(message)
        columns = [struct.unpack_from(f">{count}q", data, column * count * 8) for column in range(3)]
        start = 3 * 8 * count
        checks = [struct.unpack_from(f">{count}I", data, start + n * count * 4) for n in range(len(events.CHECKED))]
        ids, xids, ats = columns
        return cls(ids, xids, ats, tuple(checks))

    def pack(self) -> bytes:
        """Return the stored form: big-endian columns, one after the other."""
        wide = b"".join(struct.pack(f">{len(c)}q", *c) for c in (self.ids, self.xids, self.ats))
        return wide + b"".join(struct.pack(f">{len(c)}I", *c) for c in self.checks)


@dataclass(frozen=True)
class Block:
    """A sealed block as it is stored; ``fields`` are the header's."""

    header: str
    signature: bytes
    fields: dict[str, Any]

    @classmethod
    def parse(cls, header: str, signature: bytes) -> Block:
        """Read a header; raises ValueError when it is none of ours."""
        fields = json.loads(header)
        if not isinstance(fields, dict) or set(fields) != FIELDS or fields["format"] != FORMAT:
            message = "this is no header of a block of format 1"
            raise ValueError(message)
        return cls(header, bytes(signature), fields)

    @property
    def number(self) -> int:
        """Its place in the chain, counted from 1."""
        return int(self.fields["block"])

    @property
    def hash(self) -> str:
        """What the next block's ``previous`` is, hexadecimal."""
        return header_hash(self.header)

    @property
    def position(self) -> Position:
        """How far events are sealed with it."""
        f = self.fields
        return Position(f["database"], f["floor"], int(f["xid"]), f["id"], f["top"])

    @property
    def count(self) -> int:
        """How many events it seals."""
        return int(self.fields["count"])


def header_hash(header: str) -> str:
    """Return the hash of a header: SHA-256 behind the byte 2."""
    return sha256(b"\2" + header.encode()).hexdigest()


def signed_message(header: str) -> bytes:
    """Return what is signed of a header."""
    return b"esl-shield block\0" + header.encode()


def write_header(
    previous: Block | None, position: Position, entries: Entries, leaves: bytes, *,
    number: int, code: str, key: str, sealed_at: int, lost: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """Write the header of the block that follows ``previous``."""
    fields = {
        "format": FORMAT, "block": number, "previous": previous.hash if previous else "", "sealed_at": sealed_at,
        "count": len(entries.ids), "total": (previous.fields["total"] if previous else 0) + len(entries.ids),
        "first_id": entries.ids[0], "last_id": entries.ids[-1], "first_at": min(entries.ats),
        "last_at": max(entries.ats), "database": position.database, "floor": position.floor,
        "xid": str(position.xid), "id": position.id, "top": position.top,
        "root": merkle.root(leaves).hex(), "entries": sha256(entries.pack()).hexdigest(), "code": code, "key": key,
        "lost": lost,
    }  # fmt: skip
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
