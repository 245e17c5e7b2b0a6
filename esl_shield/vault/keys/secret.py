"""Keys in memory, and what a KEK is wherever it lives.

Invariants: 32 bytes, never shown; the KEK's fingerprint is public and says nothing about the key; who uses a KEK knows
neither where it lives nor, but for one in memory, its bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from abc import ABC, abstractmethod
from typing import Self

from esl_shield.errors.device import NoDevice
from esl_shield.vault import cipher
from esl_shield.vault.hidden import Hidden
from esl_shield.vault.outside_key import OutsideKey

KEY_BYTES = 32
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_FINGERPRINT_BYTES = 8


class Key(Hidden):
    """32 secret bytes; ``raw`` is for the primitives in ``cipher`` and ``keyring``."""

    __slots__ = ("__raw",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, raw: bytes) -> None:
        """Take exactly 32 bytes; raises ValueError."""
        if len(raw) != KEY_BYTES:
            message = f"a key has {KEY_BYTES} bytes"
            raise ValueError(message)
        self.__raw = bytes(raw)

    @classmethod
    def new(cls) -> Self:
        """Draw a key from the operating system's generator."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def raw(self) -> bytes:
        """The secret bytes."""
        return self.__raw

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return hmac.compare_digest(self.__raw, other.__raw)


DataKey = Key | OutsideKey
"""What encrypts a tenant's numbers: a key in memory, or one in a device."""


class Kek(Hidden, ABC):
    """The key that wraps the tenants' keys; ``id`` is its public fingerprint, 16 hex digits."""

    __slots__ = ()

    @classmethod
    def new(cls) -> Kek:
        """Draw one in memory."""
        return MemoryKek(secrets.token_bytes(KEY_BYTES))

    @property
    @abstractmethod
    def id(self) -> str:
        """What names the KEK, so that the wrong one is known before anything is unwrapped."""

    @abstractmethod
    def wrap(self, content: bytes, associated: bytes) -> bytes:
        """Encrypt; returns a fresh nonce, ciphertext and tag. Raises CryptoError when a device does not do it."""

    @abstractmethod
    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes:
        """Undo ``wrap``; raises ValueError if any byte differs, CryptoError when a device does not do it."""

    def check(self) -> None:
        """Return if the KEK could be used now; raises CryptoError."""

    def new_outside_key(self, label: str) -> OutsideKey:
        """Make a data key where the KEK lives; raises NoDevice if that is in no device."""
        raise NoDevice(kek=f"{self.id} ({label})")

    def outside_key(self, reference: bytes) -> OutsideKey:
        """Return the data key of a reference; raises NoDevice if the KEK is in no device."""
        raise NoDevice(kek=f"{self.id} ({reference.hex()})")


class MemoryKek(Key, Kek):
    """A KEK whose bytes are here: of ``file:`` and ``env:``."""

    __slots__ = ()

    @classmethod
    def new(cls) -> Self:
        """Draw one from the operating system's generator."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def id(self) -> str:
        """A keyed hash of a constant."""
        return hmac.digest(self.raw, b"esl_shield KEK fingerprint", hashlib.sha256)[:_FINGERPRINT_BYTES].hex()

    def wrap(self, content: bytes, associated: bytes) -> bytes:
        """Encrypt here."""
        nonce = secrets.token_bytes(cipher.NONCE_BYTES)
        return nonce + b"".join(cipher.seal(self, nonce, content, associated))

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes:
        """Decrypt here; raises ValueError."""
        nonce, sealed, tag = cipher.parts(wrapped)
        return cipher.unseal(self, nonce, sealed, tag, associated)


def from_hex(text: str) -> bytes | None:
    """Return the 32 bytes that 64 hex digits (and white space around them) stand for; None for anything else."""
    digits = text.strip()
    if len(digits) != 2 * KEY_BYTES or not _HEX_DIGITS.issuperset(digits):
        return None
    return bytes.fromhex(digits)
