"""FF1, format-preserving encryption: digits to as many digits (NIST SP 800-38G, 5.1 and algorithms 7 and 8).

With the extra ``[fast]`` the library ``cryptography`` does the AES, else pycryptodome; the digits are the same.

Invariants: text and tweak are bound together, each tweak is a permutation of its own; a domain of fewer than a million
texts is refused (SP 800-38G Rev. 1 makes that a must: a smaller one is found by trying); no error holds text or key.
Python's integers have no constant time, so whoever measures this process to the nanosecond is not kept out.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from Crypto.Cipher import AES

from esl_shield.vault.hidden import Hidden

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES as FAST_AES
    from cryptography.hazmat.primitives.ciphers.modes import ECB
except ImportError:
    FAST = False
else:
    FAST = True

DIGITS = string.digits + string.ascii_lowercase
MIN_DOMAIN = 10**6
_ROUNDS = 10
_BLOCK = 16
_MAX_LENGTH = 64  # far below what SP 800-38G allows, far above what a telephone dials
_MAX_TWEAK_BYTES = 255


class Ff1(Hidden):
    """One AES key (16, 24 or 32 bytes) and a radix of 2 to 36, whose digits are 0-9 and a-z."""

    __slots__ = ("_alphabet", "_encrypt_block", "_radix")

    def __init__(self, key: bytes, radix: int = 10, *, fast: bool = FAST) -> None:
        if not 2 <= radix <= len(DIGITS):  # noqa: PLR2004 - fewer digits write nothing
            message = "FF1 is for a radix of 2 to 36 here"
            raise ValueError(message)
        self._radix = radix
        self._alphabet = frozenset(DIGITS[:radix])
        self._encrypt_block: Callable[[bytes], bytes] = _fast(key) if fast else AES.new(key, AES.MODE_ECB).encrypt

    def encrypt(self, tweak: bytes, text: str) -> str:
        """Encrypt digits; raises ValueError for what is no text of this radix, or one of too small a domain."""
        split, left, right, mac = self._begin(tweak, text)
        sizes = self._moduli(split, len(text))
        for number in range(_ROUNDS):
            left, right = right, (left + mac(number, right)) % sizes[number % 2]
        return self._spell(left, split) + self._spell(right, len(text) - split)

    def decrypt(self, tweak: bytes, text: str) -> str:
        """Undo ``encrypt``; raises as it does. Every text of the domain is decrypted to some other."""
        split, left, right, mac = self._begin(tweak, text)
        sizes = self._moduli(split, len(text))
        for number in reversed(range(_ROUNDS)):
            left, right = (right - mac(number, left)) % sizes[number % 2], left
        return self._spell(left, split) + self._spell(right, len(text) - split)

    def _begin(self, tweak: bytes, text: str) -> tuple[int, int, int, Callable[[int, int], int]]:
        length = len(text)
        if not self._alphabet.issuperset(text) or length > _MAX_LENGTH or len(tweak) > _MAX_TWEAK_BYTES:
            message = "not a text and tweak FF1 takes here"
            raise ValueError(message)
        if length < 2 or self._radix**length < MIN_DOMAIN:  # noqa: PLR2004 - two halves
            message = "FF1 needs a domain of a million texts or more"
            raise ValueError(message)
        split = length // 2
        left, right = int(text[:split], self._radix), int(text[split:], self._radix)
        return split, left, right, self._rounds(tweak, length, split)

    def _moduli(self, split: int, length: int) -> tuple[int, int]:
        return self._radix**split, self._radix ** (length - split)

    def _rounds(self, tweak: bytes, length: int, split: int) -> Callable[[int, int], int]:
        """Return the round function: round number and one half in, what is added to the other half out."""
        encrypt = self._encrypt_block
        wide = ((self._radix ** (length - split) - 1).bit_length() + 7) // 8
        taken = 4 * -(-wide // 4) + 4
        fixed = bytes((1, 2, 1)) + self._radix.to_bytes(3, "big") + bytes((_ROUNDS, split % 256))
        fixed += length.to_bytes(4, "big") + len(tweak).to_bytes(4, "big")
        before = tweak + bytes((-len(tweak) - wide - 1) % _BLOCK)
        chain = encrypt(fixed)
        whole = len(before) // _BLOCK * _BLOCK  # these blocks are the same in every round
        for at in range(0, whole, _BLOCK):
            chain = encrypt(_xor(chain, before[at : at + _BLOCK]))
        rest = before[whole:]

        def add(number: int, half: int) -> int:
            message = rest + bytes((number,)) + half.to_bytes(wide, "big")
            state = chain
            for at in range(0, len(message), _BLOCK):
                state = encrypt(_xor(state, message[at : at + _BLOCK]))
            stream = state
            for block in range(1, -(-taken // _BLOCK)):
                stream += encrypt(_xor(state, block.to_bytes(_BLOCK, "big")))
            return int.from_bytes(stream[:taken], "big")

        return add

    def _spell(self, value: int, length: int) -> str:
        if self._radix == 10:  # noqa: PLR2004 - what Python spells itself
            return str(value).zfill(length)
        digits = []
        for _ in range(length):
            value, digit = divmod(value, self._radix)
            digits.append(DIGITS[digit])
        return "".join(reversed(digits))


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(_BLOCK, "big")


def _fast(key: bytes) -> Callable[[bytes], bytes]:
    # Each block of ECB stands for itself, so one context serves for all of them.
    encryptor: Any = Cipher(FAST_AES(key), ECB()).encryptor()  # noqa: S305 - FF1's PRF is made of single blocks
    return encryptor.update  # type: ignore[no-any-return]
