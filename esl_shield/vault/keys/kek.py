"""What a key-encryption key (KEK) is wherever it lives, and one in memory.

Invariants: its fingerprint is public and says nothing about the key; who uses a KEK knows neither where it lives nor,
but for one in memory, its bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from esl_shield.errors.device import NoDevice
from esl_shield.vault import cipher
from esl_shield.vault.hidden import Hidden
from esl_shield.vault.keys.key import KEY_BYTES, Key

if TYPE_CHECKING:
    from esl_shield.vault.outside_key import OutsideKey

_FINGERPRINT_BYTES = 8


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
