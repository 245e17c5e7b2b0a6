"""Merkle trees against RFC 6962's recursive definition, and proofs that lead to the root and to no other."""

from __future__ import annotations

from hashlib import sha256

import pytest

from esl_shield.audit import merkle

LINES = [f"event {n}".encode() for n in range(70)]


def by_definition(lines):
    """MTH of RFC 6962, 2.1, as it is written there."""
    if len(lines) == 1:
        return sha256(b"\x00" + lines[0]).digest()
    k = 1
    while k * 2 < len(lines):
        k *= 2
    return sha256(b"\x01" + by_definition(lines[:k]) + by_definition(lines[k:])).digest()


def test_roots_are_those_of_the_definition():
    """For every size the root is the RFC's."""
    for size in range(1, len(LINES) + 1):
        assert merkle.root(merkle.leaf_hashes(LINES[:size])) == by_definition(LINES[:size]), size


def test_a_known_root():
    """The root of one empty leaf is the value Certificate Transparency's own tests have."""
    root = merkle.root(merkle.leaf_hashes([b""]))
    assert root.hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_proofs_lead_to_the_root():
    """Each leaf of each size is proved by its path, and no other leaf by it."""
    for size in range(1, len(LINES) + 1):
        leaves = merkle.leaf_hashes(LINES[:size])
        for index in range(size):
            path = merkle.proof(leaves, index)
            leaf = leaves[index * 32 : index * 32 + 32]
            assert merkle.root_from_proof(leaf, index, size, path) == merkle.root(leaves)
            assert merkle.root_from_proof(b"x" * 32, index, size, path) != merkle.root(leaves)


@pytest.mark.parametrize(
    ("index", "size", "change"),
    [
        (3, 3, lambda path: path), (-1, 3, lambda path: path), (1, 7, lambda path: path[:-1]),
        (1, 7, lambda path: [*path, b"x" * 32]),
    ],
    ids=["beyond", "negative", "short", "long"],
)  # fmt: skip
def test_proofs_of_another_shape_are_refused(index, size, change):
    """A proof has exactly as many siblings as its place in the tree wants."""
    leaves = merkle.leaf_hashes(LINES[:size])
    path = change(merkle.proof(leaves, min(max(index, 0), size - 1)))
    with pytest.raises(ValueError):
        merkle.root_from_proof(leaves[:32], index, size, path)


def test_there_is_no_root_of_nothing():
    """A tree without leaves is refused."""
    with pytest.raises(ValueError):
        merkle.root(b"")
