"""Ed25519 (RFC 8032) keys of sealers and journals.

Invariants: a private key is 32 bytes that come from a file of their process alone and are never shown; a public key is
named by the first 16 hex digits of its SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from esl_shield.errors.sealing import SealingKeyUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEX = re.compile(rb"[0-9a-fA-F]{64}")


class Signer:
    """A private key at work."""

    __slots__ = ("__scheme", "public")

    def __init__(self, seed: bytes) -> None:
        """Take the 32 secret bytes."""
        key = ECC.construct(curve="Ed25519", seed=seed)
        self.__scheme = eddsa.new(key, "rfc8032")
        self.public = PublicKey(key.public_key().export_key(format="raw"))

    def __repr__(self) -> str:
        return f"Signer({self.public.id})"

    @classmethod
    def from_secret(cls, secret: bytes, *, source: str) -> Signer:
        """Take what a key's file holds, 64 hex digits; raises SealingKeyUnusable."""
        if not _HEX.fullmatch(secret):
            raise SealingKeyUnusable(source=source, problem="it is not 64 hex digits and a newline")
        return cls(bytes.fromhex(secret.decode()))

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self.__scheme.sign(message)


class PublicKey:
    """A public key; ``id`` names it, ``hex`` spells it."""

    __slots__ = ("_scheme", "hex", "id")

    def __init__(self, raw: bytes) -> None:
        """Take 32 bytes; raises ValueError when they are no key."""
        self._scheme = eddsa.new(eddsa.import_public_key(raw), "rfc8032")
        self.hex = raw.hex()
        self.id = hashlib.sha256(raw).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str, *, source: str) -> PublicKey:
        """Read 64 hex digits; raises SealingKeyUnusable."""
        if _HEX.fullmatch(text.strip().encode()):
            try:
                return cls(bytes.fromhex(text.strip()))
            except ValueError:
                pass
        raise SealingKeyUnusable(source=source, problem="it is not a public key, 64 hex digits")

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Say whether this key made the signature."""
        try:
            self._scheme.verify(message, signature)
        except ValueError:
            return False
        return True


def signed_by(keys: Mapping[str, PublicKey], key_id: str, message: bytes, signature: bytes) -> bool:
    """Say whether the key of that name is known and made the signature."""
    key = keys.get(key_id)
    return key is not None and key.signed(message, signature)
