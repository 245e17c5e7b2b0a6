"""Keys that are used where they live and never come here.

Invariants: such a key has the primitive ``cipher`` uses of a key in memory, AES-256-GCM with a 12-byte nonce and a
16-byte tag, and the same errors; all there is of it here is its reference, which is no secret.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from esl_shield.vault.hidden import Hidden


class OutsideKey(Hidden, ABC):
    """A data key in a device."""

    __slots__ = ()

    @property
    @abstractmethod
    def reference(self) -> bytes:
        """What finds the key again: the name the device has for it."""

    @abstractmethod
    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
        """Encrypt; returns ciphertext and tag. Raises CryptoError when the device does not do it."""

    @abstractmethod
    def unseal(self, nonce: bytes, ciphertext: bytes, tag: bytes, associated: bytes) -> bytes:
        """Decrypt; raises ValueError if any byte differs, CryptoError when the device does not do it."""

    @abstractmethod
    def destroy(self) -> None:
        """Remove the key from the device for good; raises CryptoError."""
