"""Keys in memory.

Invariants: 32 bytes, never shown.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Self

from esl_shield.vault.hidden import Hidden
from esl_shield.vault.outside_key import OutsideKey

KEY_BYTES = 32
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


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


def from_hex(text: str) -> bytes | None:
    """Return the 32 bytes that 64 hex digits (and white space around them) stand for; None for anything else."""
    digits = text.strip()
    if len(digits) != 2 * KEY_BYTES or not _HEX_DIGITS.issuperset(digits):
        return None
    return bytes.fromhex(digits)
