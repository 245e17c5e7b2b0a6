"""AES-256-GCM (NIST SP 800-38D) for a thousand short messages at once, from pycryptodome's AES block cipher.

pycryptodome sets up seven C objects for each message, which takes twenty times as long as the encryption itself. Here
all messages' counter blocks go through AES in one call. GHASH is linear: the hash is a sum of what each byte adds, and
what the bytes at one place add is looked up for all messages in one ``bytes.translate`` for each byte of the hash.

Invariants: it only seals; whatever is opened goes through the library. What an entry is looked up by (nonce, token,
ciphertext) is public, so no cache line depends on a secret. Making the tables, once for a key and frame, does: Python's
integers have no constant time; nobody outside can have it done or repeated. A nonce is 12 fresh random bytes, and no
batch with one twice is sealed; of each batch one message, drawn at random, is opened by the library before any is given
out.
"""

from __future__ import annotations

import secrets
from functools import reduce
from operator import getitem, xor
from typing import TYPE_CHECKING, NamedTuple

from Crypto.Cipher import AES

from esl_shield.vault.hidden import Hidden

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


class Sealer(Hidden):
    """Seals messages of one block under one key; remembers the tables of the last frame, about 200 kB."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aes = AES.new(key, AES.MODE_ECB)
        self._hash_key = int.from_bytes(self._aes.encrypt(bytes(BLOCK_BYTES)), "big")
        self._frame: Frame | None = None
        self._tables: list[list[bytes]] = []
        self._common = b""

    def seal(
        self, frame: Frame, nonces: Sequence[bytes], tails: Sequence[bytes], blocks: Sequence[bytes]
    ) -> list[bytes]:
        """Return each ciphertext and tag, 32 bytes.

        Raises ValueError for a value of another length or a nonce that comes twice, RuntimeError when the library
        cannot open what was made.
        """
        if not nonces:
            return []
        _check(frame, nonces, tails, blocks)
        self._prepare(frame)
        masks = self._aes.encrypt(_FIRST.join(nonces) + _FIRST + _SECOND.join(nonces) + _SECOND)
        half = BLOCK_BYTES * len(nonces)
        ciphertexts = _sum(half, masks[half:], b"".join(blocks))
        hashes = self._hashes(b"".join(nonces), b"".join(tails), ciphertexts, frame.tail_bytes)
        tags = _sum(half, masks[:half], hashes, self._common * len(nonces))
        places = range(0, half, BLOCK_BYTES)
        sealed = [ciphertexts[at : at + BLOCK_BYTES] + tags[at : at + BLOCK_BYTES] for at in places]
        one = secrets.randbelow(len(nonces))
        self._prove(nonces[one], frame.around(nonces[one], tails[one]), blocks[one], sealed[one])
        return sealed

    def _hashes(self, nonces: bytes, tails: bytes, ciphertexts: bytes, tail_bytes: int) -> bytes:
        """Sum up what the messages' own bytes add to their hashes, 16 bytes a message."""
        columns = [nonces[at::NONCE_BYTES] for at in range(NONCE_BYTES)]
        columns += [tails[at::tail_bytes] for at in range(tail_bytes)]
        columns += [ciphertexts[at::BLOCK_BYTES] for at in range(BLOCK_BYTES)]
        count, size = len(columns[0]), len(ciphertexts)
        added = (b"".join(map(column.translate, table)) for column, table in zip(columns, self._tables, strict=True))
        by_place = _sum(size, *added)
        hashes = bytearray(size)
        for at in range(BLOCK_BYTES):
            hashes[at::BLOCK_BYTES] = by_place[at * count : (at + 1) * count]
        return bytes(hashes)

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
        common = reduce(xor, map(getitem, tables, template), _times(lengths, self._hash_key))
        self._common = common.to_bytes(BLOCK_BYTES, "big")
        nonce_at = len(frame.before)
        own = tables[nonce_at : nonce_at + NONCE_BYTES] + tables[len(template) - frame.tail_bytes :]
        self._tables = [_by_place(table) for table in own + _of_power(powers[1])]
        self._frame = frame


def _check(frame: Frame, nonces: Sequence[bytes], tails: Sequence[bytes], blocks: Sequence[bytes]) -> None:
    """Raise ValueError unless all have the frame's form and nonces of their own: one that slips moves all."""
    wanted = ((nonces, NONCE_BYTES), (tails, frame.tail_bytes), (blocks, BLOCK_BYTES))
    if any(len(values) != len(nonces) or set(map(len, values)) != {size} for values, size in wanted):
        message = "a message of another length than its batch"
        raise ValueError(message)
    if len(set(nonces)) != len(nonces):
        message = "a nonce comes twice: the random generator is broken"
        raise ValueError(message)


def _sum(size: int, *terms: bytes) -> bytes:
    """Add up (exclusive or) byte strings of one size."""
    return reduce(xor, (int.from_bytes(term, "big") for term in terms)).to_bytes(size, "big")


def _by_place(table: list[int]) -> list[bytes]:
    """Take a table of blocks apart into one for each of their bytes, as ``bytes.translate`` takes it."""
    together = b"".join(entry.to_bytes(BLOCK_BYTES, "big") for entry in table)
    return [together[at::BLOCK_BYTES] for at in range(BLOCK_BYTES)]


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
