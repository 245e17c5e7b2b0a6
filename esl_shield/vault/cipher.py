"""A number as the database keeps it: AES-256-GCM under the tenant's data key.

Layout: format (1 byte), algorithm (1), data key version (4, big-endian), nonce (12), ciphertext (16), tag (16). The
plaintext is the E.164 digits padded with NUL to 16 bytes, so that its length says nothing about the number.

With the extra ``[fast]`` the library ``cryptography`` seals and opens, else pycryptodome; the bytes are the same kind.

Invariants: the nonce is fresh and random for every encryption (NIST SP 800-38D, 8.2.2: far fewer than 2^32 a key); the
associated data binds the whole header, the tenant and the token, so a ciphertext moved to another row is refused;
an error holds neither key nor number.
"""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING, Any

from Crypto.Cipher import AES

from esl_shield.errors.keys import CipherDamaged, CipherOtherVersion, CipherUnknownFormat
from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault.gcm import Frame, Sealer
from esl_shield.vault.hidden import Hidden
from esl_shield.vault.numbers import SubscriberNumber, secret_digits
from esl_shield.vault.outside_key import OutsideKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.vault.keys.key import DataKey

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    FAST = False
else:
    FAST = True

FORMAT = 1
AES_256_GCM = 1
NONCE_BYTES = 12
TAG_BYTES = 16
_PADDED = 16
_HEADER = struct.Struct(f">BBI{NONCE_BYTES}s")
CIPHERTEXT_BYTES = _HEADER.size + _PADDED + TAG_BYTES
_CONTEXT = b"esl_shield number\0"


def encrypt(key: DataKey, number: SubscriberNumber, tenant_id: int, token: str, key_version: int) -> bytes:
    """Encrypt a number for one token of one tenant; 50 bytes."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    header = _HEADER.pack(FORMAT, AES_256_GCM, key_version, nonce)
    sealed, tag = seal(key, nonce, _padded(number), _associated(header, tenant_id, token))
    return header + sealed + tag


class Encryptor(Hidden):
    """``encrypt`` for many numbers of one tenant under one key; ``fast`` says by which library."""

    def __init__(self, key: DataKey, tenant_id: int, key_version: int, *, fast: bool = FAST) -> None:
        self._before = _HEADER.pack(FORMAT, AES_256_GCM, key_version, b"")[:-NONCE_BYTES]
        self._between = struct.pack(">Q", tenant_id)
        self._outside = key if isinstance(key, OutsideKey) else None
        self._library: Any = None
        self._sealer: Sealer | None = None
        if not isinstance(key, OutsideKey):
            self._library = AESGCM(key.raw) if fast else None
            self._sealer = None if fast else Sealer(key.raw)

    def encrypt(self, numbers: Sequence[SubscriberNumber], tokens: Sequence[str]) -> list[bytes]:
        """Encrypt each number for its token; all tokens are of one length."""
        drawn = secrets.token_bytes(NONCE_BYTES * len(numbers))
        nonces = [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]
        tails = [token.encode("ascii") for token in tokens]
        blocks = [digits.ljust(_PADDED, b"\0") for digits in SubscriberNumber.secret_digits_of(numbers)]
        frame = Frame(_CONTEXT + self._before, self._between, len(tails[0]) if tails else 0)
        first, before, between = self._before, frame.before, frame.between
        if self._outside is not None:
            one, around = self._outside.seal, frame.around
            sealed = [b"".join(one(n, b, around(n, t))) for n, t, b in zip(nonces, tails, blocks, strict=True)]
        elif self._sealer is not None:
            sealed = self._sealer.seal(frame, nonces, tails, blocks)
        else:
            seal_one = self._library.encrypt
            return [
                first + nonce + seal_one(nonce, block, before + nonce + between + tail)
                for nonce, tail, block in zip(nonces, tails, blocks, strict=True)
            ]
        return [first + nonce + both for nonce, both in zip(nonces, sealed, strict=True)]


def decrypt(key: DataKey, blob: bytes, tenant_id: int, token: str, key_version: int) -> SubscriberNumber:
    """Give back the number of exactly this token, tenant and key version.

    Raises CipherUnknownFormat, CipherOtherVersion or CipherDamaged; for a key in a device also what that raises.
    """
    blob = bytes(blob)
    _check_header(blob, key_version)
    header, sealed = blob[: _HEADER.size], blob[_HEADER.size : -TAG_BYTES]
    nonce = header[-NONCE_BYTES:]
    try:
        padded = unseal(key, nonce, sealed, blob[-TAG_BYTES:], _associated(header, tenant_id, token))
        return SubscriberNumber("+" + padded.rstrip(b"\0").decode("ascii"))
    except (ValueError, NumberRejected):
        raise CipherDamaged from None


def seal(key: DataKey, nonce: bytes, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
    """AES-256-GCM (NIST SP 800-38D); returns ciphertext and 16-byte tag."""
    if isinstance(key, OutsideKey):
        return key.seal(nonce, plaintext, associated)
    if FAST:
        sealed = AESGCM(key.raw).encrypt(nonce, plaintext, associated)
        return sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
    gcm = AES.new(key.raw, AES.MODE_GCM, nonce=nonce, mac_len=TAG_BYTES)
    gcm.update(associated)
    return gcm.encrypt_and_digest(plaintext)


def unseal(key: DataKey, nonce: bytes, ciphertext: bytes, tag: bytes, associated: bytes) -> bytes:
    """Undo ``seal``; raises ValueError, before anything is returned, if any byte differs."""
    if isinstance(key, OutsideKey):
        return key.unseal(nonce, ciphertext, tag, associated)
    if FAST:
        try:
            return AESGCM(key.raw).decrypt(nonce, ciphertext + tag, associated)
        except InvalidTag:
            message = "the tag is wrong"
            raise ValueError(message) from None
    gcm = AES.new(key.raw, AES.MODE_GCM, nonce=nonce, mac_len=TAG_BYTES)
    gcm.update(associated)
    return gcm.decrypt_and_verify(ciphertext, tag)


def _padded(number: SubscriberNumber) -> bytes:
    return secret_digits(number).encode("ascii").ljust(_PADDED, b"\0")


def parts(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    """Take nonce, ciphertext and tag apart that lie behind one another."""
    return sealed[:NONCE_BYTES], sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:]


def _check_header(blob: bytes, key_version: int) -> None:
    if len(blob) >= _HEADER.size:
        kind, algorithm, found, _ = _HEADER.unpack_from(blob)
        if (kind, algorithm) != (FORMAT, AES_256_GCM):
            raise CipherUnknownFormat(format=kind, algorithm=algorithm)
        if found != key_version:
            raise CipherOtherVersion(found=found, given=key_version)
    if len(blob) != CIPHERTEXT_BYTES:
        raise CipherDamaged


def _associated(header: bytes, tenant_id: int, token: str) -> bytes:
    return _CONTEXT + header + struct.pack(">Q", tenant_id) + token.encode("ascii")
