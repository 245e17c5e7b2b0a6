"""Tenants' keys under the KEK, and the blind index.

Layout of a wrapped key: format (1 byte), algorithm (1), nonce (12), ciphertext (32 or that of a reference), tag (16).
Format 1 holds the key; format 2 the reference of a data key that lives in the KEK's device. Other algorithms than
AES-256-GCM (1) would have their own number.

Invariants: a wrapped key opens only under its KEK and as the tenant, purpose and version it was made for (associated
data); data keys encrypt, index keys index, ff1 keys compute tokens, never one for another. The blind index is
HMAC-SHA-256 (RFC 2104) under the tenant's index key over the tenant and the number: whoever holds that key can find a
number by trying them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import struct
from typing import TYPE_CHECKING, Any, Literal, overload

from esl_shield.errors.keys import KeyDamaged, WrongKek
from esl_shield.vault import cipher
from esl_shield.vault.keks import AnyKek, Keks
from esl_shield.vault.keys import KEY_BYTES, DataKey, Kek, Key
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.outside_key import OutsideKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Purpose = Literal["data", "index", "ff1"]
PURPOSES: tuple[Purpose, ...] = ("data", "index")  # what every tenant has; an ff1 key comes with its prefix
FIRST_VERSION = 1
FORMAT = 1
FORMAT_IN_DEVICE = 2
WRAPPED_BYTES = 2 + cipher.NONCE_BYTES + KEY_BYTES + cipher.TAG_BYTES
_LEAST_BYTES = cipher.NONCE_BYTES + cipher.TAG_BYTES + 1


def new_key(kek: Kek, *, tenant_id: int, purpose: Purpose, version: int, in_device: bool = False) -> DataKey:
    """Draw a key; ``in_device`` makes a data key where the KEK lives. Raises NoDevice, CryptoError."""
    if in_device and purpose == "data":
        return kek.new_outside_key(f"esl_shield tenant {tenant_id} data key {version}")
    return Key.new()


def in_device(wrapped: bytes) -> bool:
    """Whether a wrapped key is only the reference of one that lives in a device."""
    return bytes(wrapped[:1]) == bytes([FORMAT_IN_DEVICE])


def wrap(kek: Kek, key: DataKey, *, tenant_id: int, purpose: Purpose, version: int) -> bytes:
    """Encrypt a tenant's key, or its reference, under the KEK for the database to keep; 62 bytes, or fewer."""
    outside = isinstance(key, OutsideKey)
    header = bytes((FORMAT_IN_DEVICE if outside else FORMAT, cipher.AES_256_GCM))
    content = key.reference if isinstance(key, OutsideKey) else key.raw
    return header + kek.wrap(content, _associated(header, kek.id, tenant_id, purpose, version))


@overload
def unwrap(
    kek: AnyKek, wrapped: bytes, *, tenant_id: int, purpose: Literal["index", "ff1"], version: int, kek_id: str
) -> Key: ...
@overload
def unwrap(kek: AnyKek, wrapped: bytes, *, tenant_id: int, purpose: Purpose, version: int, kek_id: str) -> DataKey: ...
def unwrap(kek: AnyKek, wrapped: bytes, *, tenant_id: int, purpose: Purpose, version: int, kek_id: str) -> DataKey:
    """Open a wrapped key; ``kek_id`` is the fingerprint kept beside it.

    Raises WrongKek or KeyDamaged; NoDevice for a key in a device when the KEK is in none; what a device raises.
    """
    kek = Keks.of(kek).choose(kek_id)
    if kek_id != kek.id:
        raise WrongKek(purpose=purpose, version=version, wanted=kek_id, given=kek.id)
    wrapped = bytes(wrapped)
    header, sealed = wrapped[:2], wrapped[2:]
    outside = purpose == "data" and in_device(header)
    if header[1:] != bytes([cipher.AES_256_GCM]) or not (outside or header[0] == FORMAT):
        raise KeyDamaged(purpose=purpose, version=version)
    if len(sealed) < _LEAST_BYTES or (not outside and len(wrapped) != WRAPPED_BYTES):
        raise KeyDamaged(purpose=purpose, version=version)
    try:
        content = kek.unwrap(sealed, _associated(header, kek_id, tenant_id, purpose, version))
        return kek.outside_key(content) if outside else Key(content)
    except ValueError:
        raise KeyDamaged(purpose=purpose, version=version) from None


def blind_index(index_key: Key, number: SubscriberNumber, tenant_id: int) -> bytes:
    """Return the 32 bytes by which a tenant finds that it already has a number, without keeping the number."""
    return blind_indexes(index_key, [number], tenant_id)[0]


def indexer(index_key: Key, tenant_id: int) -> Callable[[SubscriberNumber], bytes]:
    """Return ``blind_index`` for one number after the other: HMAC whose work on the key is done once."""
    keyed = _keyed(index_key, tenant_id)
    return lambda number: _finished(keyed, SubscriberNumber.secret_digits_of([number]))[0]


def blind_indexes(index_key: Key, numbers: Sequence[SubscriberNumber], tenant_id: int) -> list[bytes]:
    """Return ``blind_index`` of each number."""
    return _finished(_keyed(index_key, tenant_id), SubscriberNumber.secret_digits_of(numbers))


def _keyed(index_key: Key, tenant_id: int) -> tuple[Any, Any]:
    """Begin the two hashes of HMAC-SHA-256 (RFC 2104), which is most of the work.

    It is written out because copying two hashes takes a tenth of the time copying an ``hmac`` object does.
    """
    key = index_key.raw.ljust(hashlib.sha256().block_size, b"\0")
    inner, outer = (_sha256(bytes(byte ^ pad for byte in key)) for pad in (0x36, 0x5C))
    inner.update(b"esl_shield index\0" + struct.pack(">Q", tenant_id))
    return inner, outer


def _finished(keyed: tuple[Any, Any], texts: Sequence[bytes]) -> list[bytes]:
    copy_inner, copy_outer = (begun.copy for begun in keyed)
    made: list[bytes] = []
    for text in texts:
        inner, outer = copy_inner(), copy_outer()
        inner.update(text)
        outer.update(inner.digest())
        made.append(outer.digest())
    return made


def _own_sha256() -> Callable[[bytes], Any]:
    """Return the interpreter's own SHA-256, whose objects are copied in a third of the time of OpenSSL 3's."""
    for module in ("_sha2", "_sha256"):  # as Python 3.12 and 3.11 call it; a build may leave it out
        with contextlib.suppress(ImportError):
            own: Callable[[bytes], Any] = importlib.import_module(module).sha256
            return own
    return hashlib.sha256


_sha256 = _own_sha256()


def _associated(header: bytes, kek_id: str, tenant_id: int, purpose: Purpose, version: int) -> bytes:
    return (
        b"esl_shield key\0" + header + struct.pack(">QI", tenant_id, version) + f"{purpose}\0{kek_id}".encode("ascii")
    )
