"""Batches of AES-GCM are those of NIST, of pycryptodome and of cryptography."""

import pickle
import secrets

import pytest
from Crypto.Cipher import AES
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.keys import CipherDamaged
from esl_shield.vault import cipher, gcm
from esl_shield.vault.gcm import Frame, Sealer
from esl_shield.vault.keys import Key
from esl_shield.vault.numbers import SubscriberNumber

KEY = Key(bytes(range(32)))
TOKENS = [f"7700000000{n:04d}" for n in range(40)]
NUMBERS = [SubscriberNumber(f"+8613800138{n:03d}") for n in range(40)]

# SP 800-38D's test cases for AES-256 (the GCM specification's 14 and, to whole blocks, of CAVP's gcmEncryptExtIV256).
NIST = [
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    (
        "92e11dcdaa866f5ce790fd24501f92509aacf4cb8b1339d50c9c1240935dd08b", "ac93a1a6145299bde902f21a",
        "2d71bcfa914e4ac045b2aa60955fad24", "1e0889016f67601c8ebea4943bc23ad6",
        "8995ae2e6df3dbf96fac7b7137bae67f", "eca5aa77d51d4a0a14d9c51e1da474ab",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "nonce", "block", "associated", "ciphertext", "tag"), NIST, ids=["zeros", "cavp"])
def test_nist(key, nonce, block, associated, ciphertext, tag):
    """NIST's vectors come out."""
    key, nonce, block, associated = map(bytes.fromhex, (key, nonce, block, associated))
    sealed = Sealer(key).seal(Frame(b"", b"", len(associated)), [nonce], [associated], [block])
    if associated:  # our associated data hold the nonce; the vector's stand behind it
        again = AES.new(key, AES.MODE_GCM, nonce=nonce).update(nonce + associated).encrypt_and_digest(block)
        assert sealed == [b"".join(again)]
    assert sealed[0][:16].hex() == ciphertext
    plain = AES.new(key, AES.MODE_GCM, nonce=nonce).update(associated).encrypt_and_digest(block)
    assert [part.hex() for part in plain] == [ciphertext, tag]


@given(
    st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 40),
    st.integers(1, 5),
)  # fmt: skip
def test_is_the_libraries(key, before, between, tail_bytes, count):
    """For every key and every length of associated data a batch is what both libraries make one by one."""
    frame = Frame(before, between, tail_bytes)
    nonces, tails, blocks = ([secrets.token_bytes(size) for _ in range(count)] for size in (12, tail_bytes, 16))
    for nonce, tail, block, sealed in zip(
        nonces, tails, blocks, Sealer(key).seal(frame, nonces, tails, blocks), strict=True
    ):
        associated = before + nonce + between + tail
        assert AESGCM(key).encrypt(nonce, block, associated) == sealed
        assert b"".join(AES.new(key, AES.MODE_GCM, nonce=nonce).update(associated).encrypt_and_digest(block)) == sealed


def test_frames_in_turn():
    """A sealer that met another frame seals as one that did not."""
    sealer = Sealer(KEY.raw)
    for tail_bytes in (14, 8, 14, 20):
        frame, values = Frame(b"before", b"between", tail_bytes), ([bytes(12)], [bytes(tail_bytes)], [bytes(16)])
        assert sealer.seal(frame, *values) == Sealer(KEY.raw).seal(frame, *values)


def test_a_wrong_batch_is_not_given_out(monkeypatch):
    """When arithmetic fails the library notices before any ciphertext leaves."""
    sealer = Sealer(KEY.raw)
    monkeypatch.setattr(gcm, "_times", lambda left, right: left ^ right)
    with pytest.raises(RuntimeError, match="not that of its library"):
        sealer.seal(Frame(b"a", b"b", 1), [bytes(12)], [b"c"], [bytes(16)])


@pytest.mark.parametrize(
    "change",
    [
        {"nonces": [b"n" * 12, b"n" * 12]}, {"nonces": [b"n" * 11, b"m" * 13]}, {"tails": [b"", b"tail" * 2]},
        {"tails": [b"tail"]}, {"blocks": [b"b" * 15, b"b" * 17]}, {"blocks": [b"b" * 16] * 3},
    ],
    ids=["nonce-twice", "nonce-lengths", "tail-lengths", "tail-missing", "block-lengths", "block-too-many"],
)  # fmt: skip
def test_a_batch_of_mixed_messages_is_refused(change):
    """A nonce that comes twice, or values that would slip into each other's places, are sealed by nobody."""
    sound = {"nonces": [b"n" * 12, b"m" * 12], "tails": [b"tail"] * 2, "blocks": [b"b" * 16] * 2}
    sealer = Sealer(KEY.raw)
    assert len(sealer.seal(Frame(b"", b"", 4), **sound)) == 2
    with pytest.raises(ValueError, match=r"another length|comes twice"):
        sealer.seal(Frame(b"", b"", 4), **{**sound, **change})


def test_a_sealer_shows_nothing():
    """Neither a sealer's representation nor a pickle of it holds its key."""
    for holder in (Sealer(KEY.raw), cipher.Encryptor(KEY, 5, 3, fast=False)):
        assert repr(holder) == f"{type(holder).__name__}(hidden)"
        with pytest.raises(TypeError):
            pickle.dumps(holder)


@pytest.mark.parametrize("opens", [True, False], ids=["opened-fast", "opened-without"])
@pytest.mark.parametrize("fast", [True, False], ids=["made-fast", "made-without"])
def test_either_library_opens_the_others(monkeypatch, fast, opens):
    """What one library sealed the other opens, and refuses for any other token."""
    blobs = cipher.Encryptor(KEY, 5, 3, fast=fast).encrypt(NUMBERS, TOKENS)
    assert len(set(blobs)) == len(blobs)
    monkeypatch.setattr(cipher, "FAST", opens)
    for blob, number, token in zip(blobs, NUMBERS, TOKENS, strict=True):
        assert cipher.decrypt(KEY, blob, 5, token, 3) == number
        with pytest.raises(CipherDamaged):
            cipher.decrypt(KEY, blob, 5, "77000000009999", 3)
        with pytest.raises(CipherDamaged):
            cipher.decrypt(KEY, blob, 6, token, 3)
    one = cipher.encrypt(KEY, NUMBERS[0], 5, TOKENS[0], 3)
    assert cipher.decrypt(KEY, one, 5, TOKENS[0], 3) == NUMBERS[0]


def test_nothing_to_encrypt():
    """No numbers give no ciphertexts."""
    assert cipher.Encryptor(KEY, 5, 3, fast=False).encrypt([], []) == []
    assert cipher.Encryptor(KEY, 5, 3, fast=True).encrypt([], []) == []
