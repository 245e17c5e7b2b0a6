"""Permits: 128 random bits, the right to learn one number once.

Invariants: a permit is drawn here and nowhere else; the database is given its SHA-256 only; a permit shows itself in
no repr, because whoever holds it within its seconds of life can have the number.
"""

from __future__ import annotations

import hashlib
import secrets

PERMIT_BYTES = 16


class Permit:
    """One permit: ``text`` for the wire (32 hex digits), ``digest`` for the database (32 bytes)."""

    __slots__ = ("digest", "text")

    def __init__(self) -> None:
        drawn = secrets.token_bytes(PERMIT_BYTES)
        self.text = drawn.hex()
        self.digest = hashlib.sha256(drawn).digest()

    def __repr__(self) -> str:
        return "Permit(hidden)"
