"""AES-256-GCM (NIST SP 800-38D) for a thousand short messages at once, from pycryptodome's AES block cipher.

pycryptodome sets up seven C objects for each message, which takes twenty times as long as the encryption itself. Here
all messages' counter blocks go through AES in one call; GHASH is the sum of a table entry for each byte, because
multiplying by a power of the hash key is linear.

Invariants: it only seals; whatever is opened goes through the library. What an entry is chosen by (nonce, token,
ciphertext) is public, so the time it takes says nothing of the key; a nonce is 12 fresh random bytes; of each batch one
message, drawn at random, is opened by the library before any is given out.
"""

from __future__ import annotations

import secrets
from functools import reduce
from operator import getitem, xor
from typing import TYPE_CHECKING, NamedTuple

from Crypto.Cipher import AES

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK_BYTES = 16
NONCE_BYTES = 12
_R = 0xE1 << 120
_FIRST, _SECOND = (1).to_bytes(4, "big"), (2).to_bytes(4, "big")


class Frame(NamedTuple):
    """What messages' associated data have in common: each is ``before``, its nonce, ``between``, a tail of its own."""

    before: bytes
    between: bytes
    tail_bytes: int

    def around(self, nonce: bytes, tail: bytes) -> bytes:
        """Give one message's associated data."""
        return self.before + nonce + self.between + tail


class Sealer:
    """Seals messages of one block under one key; remembers the tables of the last frame, about half a megabyte."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aes = AES.new(key, AES.MODE_ECB)
        self._hash_key = int.from_bytes(self._aes.encrypt(bytes(BLOCK_BYTES)), "big")
        self._frame: Frame | None = None
        self._tables: list[list[int]] = []
        self._common = 0

    def seal(
        self, frame: Frame, nonces: Sequence[bytes], tails: Sequence[bytes], blocks: Sequence[bytes]
    ) -> list[bytes]:
        """Return each ciphertext and tag, 32 bytes; raises RuntimeError when the library cannot open what was made."""
        if not nonces:
            return []
        self._prepare(frame)
        tables, common = self._tables, self._common
        masks = self._aes.encrypt(_FIRST.join(nonces) + _FIRST + _SECOND.join(nonces) + _SECOND)
        half = BLOCK_BYTES * len(nonces)
        mixed = int.from_bytes(masks[half:], "big") ^ int.from_bytes(b"".join(blocks), "big")
        ciphertexts = mixed.to_bytes(half, "big")
        sealed = []
        for at, nonce, tail in zip(range(0, half, BLOCK_BYTES), nonces, tails, strict=True):
            ciphertext = ciphertexts[at : at + BLOCK_BYTES]
            hashed = reduce(xor, map(getitem, tables, nonce + tail + ciphertext), common)
            tag = hashed ^ int.from_bytes(masks[at : at + BLOCK_BYTES], "big")
            sealed.append(ciphertext + tag.to_bytes(BLOCK_BYTES, "big"))
        one = secrets.randbelow(len(nonces))
        self._prove(nonces[one], frame.around(nonces[one], tails[one]), blocks[one], sealed[one])
        return sealed

    def _prove(self, nonce: bytes, associated: bytes, block: bytes, sealed: bytes) -> None:
        opener = AES.new(self._key, AES.MODE_GCM, nonce=nonce, mac_len=BLOCK_BYTES).update(associated)
        try:
            same = opener.decrypt_and_verify(sealed[:BLOCK_BYTES], sealed[BLOCK_BYTES:]) == block
        except ValueError:
            same = False
        if not same:
            message = "AES-GCM of this process is not that of its library"
            raise RuntimeError(message)

    def _prepare(self, frame: Frame) -> None:
        """Make an entry for each byte at each place, and what the common bytes and the block of lengths add."""
        if frame == self._frame:
            return
        template = frame.around(bytes(NONCE_BYTES), bytes(frame.tail_bytes))
        data_blocks = -(-len(template) // BLOCK_BYTES)
        powers = [self._hash_key]
        while len(powers) < data_blocks + 2:
            powers.append(_times(powers[-1], self._hash_key))
        tables = [table for power in reversed(powers[2:]) for table in _of_power(power)][: len(template)]
        lengths = (8 * len(template) << 64) | 8 * BLOCK_BYTES
        self._common = reduce(xor, map(getitem, tables, template), _times(lengths, self._hash_key))
        nonce_at = len(frame.before)
        own = tables[nonce_at : nonce_at + NONCE_BYTES] + tables[len(template) - frame.tail_bytes :]
        self._tables = own + _of_power(powers[1])
        self._frame = frame


def _of_power(power: int) -> list[list[int]]:
    """Make a table for each byte of a block: what that byte, at that place, times the power is."""
    tables = []
    for _ in range(BLOCK_BYTES):
        table = [0]
        bits = []
        for _ in range(8):
            bits.append(power)
            power = (power >> 1) ^ (_R if power & 1 else 0)
        for bit in reversed(bits):
            table += [bit ^ entry for entry in table]
        tables.append(table)
    return tables


def _times(left: int, right: int) -> int:
    """Multiply in GF(2^128) (SP 800-38D, algorithm 1): the leftmost bit is the constant term."""
    product = 0
    for place in range(127, -1, -1):
        if left >> place & 1:
            product ^= right
        right = (right >> 1) ^ (_R if right & 1 else 0)
    return product
