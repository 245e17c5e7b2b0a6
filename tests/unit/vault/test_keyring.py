import hashlib
import hmac
import struct

import pytest

from esl_shield.errors.keys import KeyDamaged, WrongKek
from esl_shield.vault import keyring
from esl_shield.vault.keys import Kek, Key, MemoryKek
from esl_shield.vault.numbers import SubscriberNumber

KEK = MemoryKek(bytes(range(32)))
KEY = Key(bytes(range(32, 64)))
WRAPPED = keyring.wrap(KEK, KEY, tenant_id=5, purpose="data", version=1)
NAMES = {"tenant_id": 5, "purpose": "data", "version": 1, "kek_id": KEK.id}


def test_round_trip():
    """A wrapped key opens under its KEK as the tenant, purpose and version it was made for."""
    assert keyring.unwrap(KEK, WRAPPED, **NAMES) == KEY
    assert keyring.unwrap(KEK, memoryview(WRAPPED), **NAMES) == KEY


def test_wrong_kek():
    """Another KEK is refused by its fingerprint, and the sentence names both."""
    other = Kek.new()
    with pytest.raises(WrongKek) as caught:
        keyring.unwrap(other, WRAPPED, **NAMES)
    assert KEK.id in str(caught.value)
    assert other.id in str(caught.value)
    assert other.raw.hex() not in str(caught.value)


def test_wrong_kek_under_the_right_name():
    """A row that claims another KEK's fingerprint does not open."""
    other = Kek.new()
    with pytest.raises(KeyDamaged):
        keyring.unwrap(other, WRAPPED, **{**NAMES, "kek_id": other.id})


@pytest.mark.parametrize("change", [{"tenant_id": 6}, {"purpose": "index"}, {"version": 2}])
def test_swapped(change):
    """A wrapped key of another tenant, purpose or version is refused."""
    with pytest.raises(KeyDamaged):
        keyring.unwrap(KEK, WRAPPED, **{**NAMES, **change})


@pytest.mark.parametrize("length", range(keyring.WRAPPED_BYTES))
def test_truncated_and_tampered(length):
    """A wrapped key cut at any length or changed in any byte is refused."""
    changed = bytearray(WRAPPED)
    changed[length] ^= 1
    for damaged in (WRAPPED[:length], bytes(changed)):
        with pytest.raises(KeyDamaged):
            keyring.unwrap(KEK, damaged, **NAMES)


def test_blind_index():
    """The blind index is HMAC-SHA-256 over tenant and digits under the index key: 32 bytes, the same each time."""
    number = SubscriberNumber("+8613800138001")
    message = b"esl_shield index\0" + struct.pack(">Q", 5) + b"8613800138001"
    assert keyring.blind_index(KEY, number, 5) == hmac.new(KEY.raw, message, hashlib.sha256).digest()


def test_blind_index_differs():
    """Another tenant, number or key gives another index."""
    number = SubscriberNumber("+8613800138001")
    indexes = {
        keyring.blind_index(KEY, number, 5),
        keyring.blind_index(KEY, number, 6),
        keyring.blind_index(KEY, SubscriberNumber("+8613800138002"), 5),
        keyring.blind_index(Key(bytes(32)), number, 5),
    }
    assert len(indexes) == 4


# RFC 4231, test cases 1, 2, 6 and 7.
_VECTORS = [
    ("0b" * 20, b"Hi There".hex(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?".hex(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First".hex(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("key", "message", "expected"), _VECTORS)
def test_known_answers(key, message, expected):
    """The primitive under the blind index gives RFC 4231's answers."""
    assert hmac.digest(bytes.fromhex(key), bytes.fromhex(message), hashlib.sha256).hex() == expected
