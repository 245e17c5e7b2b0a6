"""What is inside of a file: itself, or the parts it unpacks to, told by its first bytes and never by its name.

Invariants: the depth of packing is bounded; what is known and cannot be looked into (a compressed dump, 7z) is said to
be so instead of being searched in vain.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.audit.leakscan import archives, captures, databases
from esl_shield.audit.leakscan.packed import Unpacked, unpacker
from esl_shield.audit.leakscan.parts import Ahead, Allowance, Part, Records, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esl_shield.audit.leakscan.parts import Reader

MOST_DEPTH = 6
_CLOSED = {
    b"PGDMP": "it is a dump in PostgreSQL's own format: pipe `pg_restore -f - FILE` into leakscan",
    b"\x28\xb5\x2f\xfd": "it is packed with zstd: pipe `zstd -dc FILE` into leakscan",
    b"\x04\x22\x4d\x18": "it is packed with lz4: pipe `lz4 -dc FILE` into leakscan",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive: unpack it first",
    b"Rar!\x1a\x07": "it is a rar archive: unpack it first",
    b"LZIP": "it is packed with lzip: pipe `lzip -dc FILE` into leakscan",
    b"\x1f\x9d": "it is packed with compress: pipe `zcat FILE` into leakscan",
    b"PAR1": "it is a Parquet file: export it as CSV and search that",
    b"Obj\x01": "it is an Avro file: export it as JSON and search that",
}
# Searched as they are, and told all the same: what they pack is not seen.
_PARTLY_CLOSED = {
    b"%PDF-": "it is a PDF and only what it does not pack was searched: pipe `pdftotext FILE -` into leakscan"
}


HEAD_BYTES = archives.TAR_HEAD


def is_plain(head: bytes) -> bool:
    """Whether what begins like this is searched as it is."""
    known = (*_CLOSED, *_PARTLY_CLOSED, *archives.ZIP, databases.SQLITE)
    return not (head.startswith(known) or unpacker(head) or archives.is_tar(head) or captures.is_capture(head))


class Closed(NamedTuple):
    """A part that cannot be looked into, and why."""

    name: tuple[str, ...]
    reason: str


def parts(
    name: tuple[str, ...], source: Reader, allowance: Allowance, path: Path | None = None
) -> Iterator[Part | Closed]:
    """Yield the parts of a source one by one, each to be read before the next; ``path`` is where it lies, if it does.

    A part may be ``Closed``; Unread is raised by the part that is being read, or here for an archive as a whole.
    """
    yield from _parts(name, source, allowance, path, MOST_DEPTH)


def _parts(
    name: tuple[str, ...], source: Reader, allowance: Allowance, path: Path | None, depth: int
) -> Iterator[Part | Closed]:
    ahead = Ahead(source)
    head = ahead.peek(HEAD_BYTES)
    make = unpacker(head)
    reason = next((why for magic, why in _CLOSED.items() if head.startswith(magic)), None)
    if reason is not None:
        yield Closed(name, reason)
    elif depth == 0:
        yield Closed(name, "it is packed too many times over")
    elif make is not None:
        yield from _parts(name, Unpacked(ahead, make, allowance), allowance, None, depth - 1)
    elif head.startswith(archives.ZIP):
        yield from _members(name, archives.zipped(path or io.BytesIO(whole(ahead)), allowance), allowance, depth)
    elif archives.is_tar(head):
        yield from _members(name, archives.tarred(ahead, allowance), allowance, depth)
    elif head.startswith(databases.SQLITE):
        yield from _database(name, ahead, path)
    elif captures.is_capture(head):
        records = Records(captures.packets(ahead))
        yield Part(name, records, records.places.at)
    else:
        yield Part(name, ahead)
        yield from (Closed(name, why) for magic, why in _PARTLY_CLOSED.items() if head.startswith(magic))


def _members(
    name: tuple[str, ...], members: Iterator[tuple[str, Reader | str]], allowance: Allowance, depth: int
) -> Iterator[Part | Closed]:
    for member, source in members:
        if isinstance(source, str):
            yield Closed((*name, member), source)
        else:
            yield from _parts((*name, member), source, allowance, None, depth - 1)


def _database(name: tuple[str, ...], source: Ahead, path: Path | None) -> Iterator[Part | Closed]:
    if path is None:
        data = whole(source)
        records = Records(databases.rows(data))
        yield Part(name, io.BytesIO(data))
    else:
        records = Records(databases.rows(path))
        yield Part(name, source)
    yield Part(name, records, records.places.at)
