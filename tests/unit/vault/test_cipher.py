import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.keys import CipherDamaged, CipherOtherVersion, CipherUnknownFormat, CryptoError
from esl_shield.vault import cipher
from esl_shield.vault.keys import Key
from esl_shield.vault.numbers import SubscriberNumber

KEY = Key(bytes(range(32)))
NUMBER = SubscriberNumber("+8613800138001")
TOKEN = "77000000000012"
BLOB = cipher.encrypt(KEY, NUMBER, 5, TOKEN, 3)


def _says_nothing(error):
    assert "138001" not in str(error)
    assert KEY.raw.hex() not in str(error)


@given(st.integers(10_000, 10**15 - 1), st.integers(0, 2**63), st.integers(0, 2**32 - 1))
def test_round_trip(digits, tenant_id, version):
    """Every E.164 number comes back for its token, tenant and key version, from 50 bytes."""
    number = SubscriberNumber(f"+{digits}")
    blob = cipher.encrypt(KEY, number, tenant_id, TOKEN, version)
    assert len(blob) == cipher.CIPHERTEXT_BYTES == 50
    assert cipher.decrypt(KEY, blob, tenant_id, TOKEN, version) == number


def test_header():
    """A ciphertext starts with format, algorithm and key version, big-endian."""
    assert BLOB[:6] == bytes((1, 1, 0, 0, 0, 3))


def test_memoryview():
    """A ciphertext is taken as psycopg2 gives it."""
    assert cipher.decrypt(KEY, memoryview(BLOB), 5, TOKEN, 3) == NUMBER


def test_fresh_nonce():
    """The same number twice gives two ciphertexts with nothing in common behind the header."""
    other = cipher.encrypt(KEY, NUMBER, 5, TOKEN, 3)
    assert other[6:18] != BLOB[6:18]
    assert other[18:] != BLOB[18:]


@pytest.mark.parametrize("length", range(50))
def test_truncated(length):
    """A ciphertext cut at any length is refused."""
    with pytest.raises(CipherDamaged) as caught:
        cipher.decrypt(KEY, BLOB[:length], 5, TOKEN, 3)
    _says_nothing(caught.value)


def test_extended():
    """A ciphertext with a byte more is refused."""
    with pytest.raises(CipherDamaged):
        cipher.decrypt(KEY, BLOB + b"\0", 5, TOKEN, 3)


@pytest.mark.parametrize("at", range(50))
@pytest.mark.parametrize("bit", [1, 128])
def test_tampered(at, bit):
    """A change of any byte is refused, and the header's with its own error."""
    changed = bytearray(BLOB)
    changed[at] ^= bit
    expected = CipherUnknownFormat if at < 2 else CipherOtherVersion if at < 6 else CipherDamaged
    with pytest.raises(expected) as caught:
        cipher.decrypt(KEY, bytes(changed), 5, TOKEN, 3)
    _says_nothing(caught.value)


@pytest.mark.parametrize(
    ("key", "tenant_id", "token"),
    [
        (Key(bytes(32)), 5, TOKEN),
        (KEY, 6, TOKEN),
        (KEY, 5, "77000000000020"),
        (KEY, 5, TOKEN + "0"),
    ],
)
def test_swapped(key, tenant_id, token):
    """Another key, tenant or token is refused."""
    with pytest.raises(CipherDamaged):
        cipher.decrypt(key, BLOB, tenant_id, token, 3)


def test_other_key_version():
    """The ciphertext of another key version is refused before anything is decrypted."""
    with pytest.raises(CipherOtherVersion):
        cipher.decrypt(KEY, BLOB, 5, TOKEN, 4)


def test_version_is_bound():
    """A ciphertext whose version was rewritten to the expected one is refused."""
    changed = BLOB[:5] + b"\4" + BLOB[6:]
    with pytest.raises(CipherDamaged):
        cipher.decrypt(KEY, changed, 5, TOKEN, 4)


def test_plaintext_that_is_no_number():
    """An authentic ciphertext of something else than a number is refused as damaged."""
    header = BLOB[:18]
    sealed, tag = cipher.seal(KEY, header[6:], b"not a number\0\0\0\0", cipher._associated(header, 5, TOKEN))
    with pytest.raises(CryptoError) as caught:
        cipher.decrypt(KEY, header + sealed + tag, 5, TOKEN, 3)
    assert "not a number" not in str(caught.value)


@given(st.binary(max_size=120))
def test_takes_anything(blob):
    """Any bytes are refused with one of our errors."""
    with pytest.raises(CryptoError):
        cipher.decrypt(KEY, blob, 5, TOKEN, 3)


# NIST CAVP gcmEncryptExtIV256.rsp / McGrew and Viega, test cases 13, 14 and 16 (AES-256).
_VECTORS = [
    ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    (
        "feffe9928665731c6d6a8f9467308308" * 2,
        "cafebabefacedbaddecaf888",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
]


@pytest.mark.parametrize(("key", "nonce", "plaintext", "associated", "ciphertext", "tag"), _VECTORS)
def test_known_answers(*, key, nonce, plaintext, associated, ciphertext, tag):
    """The primitive under the ciphertext gives the published AES-256-GCM answers."""
    raw = Key(bytes.fromhex(key))
    sealed = cipher.seal(raw, bytes.fromhex(nonce), bytes.fromhex(plaintext), bytes.fromhex(associated))
    assert sealed == (bytes.fromhex(ciphertext), bytes.fromhex(tag))
    opened = cipher.unseal(raw, bytes.fromhex(nonce), *sealed, bytes.fromhex(associated))
    assert opened == bytes.fromhex(plaintext)
