"""Whose request it is: a key by its hash, or a JSON Web Token by its issuer and client.

Invariants: a key is looked at no further than its form and its hash, the database knows which tenant it acts for; a
token must be signed by the configured server for us, and name a client the administrator registered for its tenant.
A process that was taken over can act with keys it is shown; and for clients of authorization servers, whose proof SQL
cannot check, it can act without.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple, Protocol

from esl_shield.errors.api import ApiUnauthorized

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

PREFIX = "esk_"
KEY_BYTES = 32
_BEARER = re.compile(r"Bearer +([\x21-\x7e]{1,8192})", re.IGNORECASE)
_KEY = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Caller(NamedTuple):
    """``key`` is what the database knows the caller by; ``scopes`` narrows that key's, None does not."""

    key: bytes
    scopes: AbstractSet[str] | None = None


class Tokens(Protocol):
    """Whoever checks JSON Web Tokens."""

    def caller(self, token: str) -> Caller:
        """Return whom a token stands for; raises ApiUnauthorized, DependencyAway."""


def new_key() -> tuple[str, bytes]:
    """Draw a key of 256 random bits; returns it and what the database keeps of it."""
    key = PREFIX + urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode("ascii")
    return key, key_hash(key)


def key_hash(key: str) -> bytes:
    """Return what the database keeps of a key; of so many random bits a plain hash gives nothing away."""
    return hashlib.sha256(key.encode("ascii")).digest()


def client_hash(issuer: str, client: str, tenant: str) -> bytes:
    """Return what the database knows a client of an authorization server by, for the one tenant it was registered."""
    return hashlib.sha256(f"oauth\0{issuer}\0{client}\0{tenant}".encode()).digest()


def read_caller(authorization: str | None, tokens: Tokens | None) -> Caller:
    """Read the header Authorization; raises ApiUnauthorized, and what ``tokens`` raises."""
    match = _BEARER.fullmatch(authorization or "")
    if match is None:
        raise ApiUnauthorized
    if _KEY.fullmatch(match[1]):
        return Caller(key_hash(match[1]))
    if tokens is not None and _JWT.fullmatch(match[1]):
        return tokens.caller(match[1])
    raise ApiUnauthorized
