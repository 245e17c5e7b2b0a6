"""Events with what proves them to somebody who has no database: inclusion proof, signed header.

Invariants: what is exported was checked first, so a proof that does not hold is never given out; checking one takes
the public key and the file alone, and believes of the file only what the signature covers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from esl_shield.audit import merkle
from esl_shield.audit.blocks import Block, signed_message
from esl_shield.audit.compare import Sealed
from esl_shield.audit.events import COLUMNS, decode, encode
from esl_shield.audit.signing import signed_by
from esl_shield.errors.sealing import EvidenceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esl_shield.audit.signing import PublicKey
    from esl_shield.audit.source import Source

_MAX_LINE_BYTES = 1 << 16


class Checked(NamedTuple):
    """One event of a file of proofs; ``problem`` is empty when it is proved."""

    event: int | None
    block: int | None
    problem: str


def export(source: Source, conditions: Mapping[str, object]) -> Iterator[dict[str, Any] | int]:
    """Yield the proof of each event that fulfils conditions on dba.audit_lines, or its id when there is none.

    ``conditions`` maps a condition with one ``%s`` to its value.
    """
    sealed: Sealed | None = None
    for xid, event, line in source.chosen(list(conditions), list(conditions.values())):
        if sealed is None or sealed.entries is None or event not in sealed.entries.ids:
            row = source.block_holding(xid, event)
            sealed = Sealed(row, Block.parse(row.header, row.signature)) if row else None
        yield (sealed and _proof(sealed, event, encode(line))) or event


def check(path: str, keys: Mapping[str, PublicKey], hashes: Mapping[int, str]) -> Iterator[Checked]:
    """Check a file of proofs; ``hashes`` are those of exported heads by block. Raises EvidenceUnreadable."""
    problem = ""
    try:
        with Path(path).open("rb") as stream:
            for number, text in enumerate(iter(lambda: stream.readline(_MAX_LINE_BYTES), b""), 1):
                try:
                    proof = json.loads(text)
                    checked = _check(proof, keys, hashes)
                except (ValueError, KeyError, TypeError):
                    problem = f"line {number} is no proof"
                    break
                yield checked
    except OSError as error:
        problem = error.strerror or type(error).__name__
    if problem:
        raise EvidenceUnreadable(source=path, what="proofs", problem=problem)


def _proof(sealed: Sealed, event: int, line: bytes) -> dict[str, Any] | None:
    if sealed.entries is None or not sealed.leaves_hold or event not in sealed.entries.ids:
        return None
    index = list(sealed.entries.ids).index(event)
    if sealed.leaves[index * merkle.SIZE : (index + 1) * merkle.SIZE] != merkle.leaf_hashes([line]):
        return None
    return {
        "event": decode(line), "index": index, "path": [node.hex() for node in merkle.proof(sealed.leaves, index)],
        "header": sealed.block.header, "signature": sealed.block.signature.hex(),
    }  # fmt: skip


def _check(proof: dict[str, Any], keys: Mapping[str, PublicKey], hashes: Mapping[int, str]) -> Checked:
    fields: dict[str, str | None] = proof["event"]
    block = Block.parse(proof["header"], bytes.fromhex(proof["signature"]))
    path: Sequence[bytes] = [bytes.fromhex(node) for node in proof["path"]]
    line = encode([fields[name] for name in COLUMNS])
    event = int(fields["id"] or 0)
    if set(fields) != set(COLUMNS):
        return Checked(event, block.number, "it has fields no event has")
    try:
        root = merkle.root_from_proof(merkle.leaf_hashes([line]), int(proof["index"]), block.count, path)
    except ValueError as error:
        return Checked(event, block.number, str(error))
    if root.hex() != block.fields["root"]:
        return Checked(event, block.number, "the event is not the one the block sealed")
    if not signed_by(keys, block.fields["key"], signed_message(block.header), block.signature):
        return Checked(event, block.number, "the block is not signed by a key that is trusted")
    if hashes.get(block.number, block.hash) != block.hash:
        return Checked(event, block.number, "the block is not the one whose head was exported")
    return Checked(event, block.number, "")
