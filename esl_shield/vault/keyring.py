"""Tenants' keys under the KEK, and the blind index.

Layout of a wrapped key: format (1 byte), algorithm (1), nonce (12), ciphertext (32), tag (16).

Invariants: a wrapped key opens only under its KEK and as the tenant, purpose and version it was made for (associated
data); data keys encrypt, index keys index, never the other way. The blind index is HMAC-SHA-256 (RFC 2104) under the
tenant's index key over the tenant and the number: whoever holds that key can find a number by trying them all.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Literal

from esl_shield.errors.keys import KeyDamaged, WrongKek
from esl_shield.vault import cipher
from esl_shield.vault.keks import AnyKek, Keks
from esl_shield.vault.keys import KEY_BYTES, Kek, Key
from esl_shield.vault.numbers import SubscriberNumber, secret_digits

Purpose = Literal["data", "index"]
PURPOSES: tuple[Purpose, ...] = ("data", "index")
FIRST_VERSION = 1
FORMAT = 1
WRAPPED_BYTES = 2 + cipher.NONCE_BYTES + KEY_BYTES + cipher.TAG_BYTES
_HEADER = bytes((FORMAT, cipher.AES_256_GCM))


def wrap(kek: Kek, key: Key, *, tenant_id: int, purpose: Purpose, version: int) -> bytes:
    """Encrypt a tenant's key under the KEK for the database to keep; 62 bytes."""
    nonce = secrets.token_bytes(cipher.NONCE_BYTES)
    sealed, tag = cipher.seal(kek, nonce, key.raw, _associated(kek.id, tenant_id, purpose, version))
    return _HEADER + nonce + sealed + tag


def unwrap(kek: AnyKek, wrapped: bytes, *, tenant_id: int, purpose: Purpose, version: int, kek_id: str) -> Key:
    """Open a wrapped key; ``kek_id`` is the fingerprint kept beside it. Raises WrongKek or KeyDamaged."""
    kek = Keks.of(kek).choose(kek_id)
    if kek_id != kek.id:
        raise WrongKek(purpose=purpose, version=version, wanted=kek_id, given=kek.id)
    wrapped = bytes(wrapped)
    if len(wrapped) != WRAPPED_BYTES or wrapped[:2] != _HEADER:
        raise KeyDamaged(purpose=purpose, version=version)
    nonce, sealed, tag = _parts(wrapped)
    try:
        return Key(cipher.unseal(kek, nonce, sealed, tag, _associated(kek_id, tenant_id, purpose, version)))
    except ValueError:
        raise KeyDamaged(purpose=purpose, version=version) from None


def blind_index(index_key: Key, number: SubscriberNumber, tenant_id: int) -> bytes:
    """Return the 32 bytes by which a tenant finds that it already has a number, without keeping the number."""
    message = b"esl_shield index\0" + struct.pack(">Q", tenant_id) + secret_digits(number).encode("ascii")
    return hmac.digest(index_key.raw, message, hashlib.sha256)


def _parts(wrapped: bytes) -> tuple[bytes, bytes, bytes]:
    body = wrapped[len(_HEADER) :]
    return body[: cipher.NONCE_BYTES], body[cipher.NONCE_BYTES : -cipher.TAG_BYTES], body[-cipher.TAG_BYTES :]


def _associated(kek_id: str, tenant_id: int, purpose: Purpose, version: int) -> bytes:
    return (
        b"esl_shield key\0" + _HEADER + struct.pack(">QI", tenant_id, version) + f"{purpose}\0{kek_id}".encode("ascii")
    )
