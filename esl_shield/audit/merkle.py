"""Merkle trees as RFC 6962, section 2.1, has them, over SHA-256.

Invariants: a leaf is hashed behind the byte 0, a node behind the byte 1, so that no node passes for a leaf; trees of
every size above 0. Leaf hashes stand one after the other in one ``bytes``.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIZE = 32  # bytes of a hash


def leaf_hashes(lines: Iterable[bytes]) -> bytes:
    """Return the leaf hash of each line, one after the other."""
    return b"".join([sha256(b"\0" + line).digest() for line in lines])


def root(leaves: bytes) -> bytes:
    """Return the root over leaf hashes; raises ValueError when there are none."""
    if not leaves:
        message = "a tree has at least one leaf"
        raise ValueError(message)
    level = leaves
    while len(level) > SIZE:
        level = _above(level)
    return level


def proof(leaves: bytes, index: int) -> list[bytes]:
    """Return the siblings on the way from a leaf to the root, the leaf's own first."""
    path, level = [], leaves
    while len(level) > SIZE:
        sibling = (index ^ 1) * SIZE
        if sibling < len(level):
            path.append(level[sibling : sibling + SIZE])
        level, index = _above(level), index >> 1
    return path


def root_from_proof(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root a proof leads to (RFC 9162, 2.1.3.2); raises ValueError for one of the wrong length."""
    if not 0 <= index < size:
        message = "no such leaf"
        raise ValueError(message)
    found, at, last, left = leaf, index, size - 1, list(path)
    while last:
        if at & 1 or at < last:  # it has a sibling
            if not left:
                message = "the proof is too short"
                raise ValueError(message)
            other = left.pop(0)
            found = sha256(b"\1" + other + found).digest() if at & 1 else sha256(b"\1" + found + other).digest()
        at, last = at >> 1, last >> 1
    if left:
        message = "the proof is too long"
        raise ValueError(message)
    return found


def _above(level: bytes) -> bytes:
    """Hash neighbours in pairs; an odd one at the end goes up as it is."""
    whole = len(level) - len(level) % (2 * SIZE)
    pairs = [sha256(b"\1" + level[at : at + 2 * SIZE]).digest() for at in range(0, whole, 2 * SIZE)]
    return b"".join(pairs) + level[whole:]
