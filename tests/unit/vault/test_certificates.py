"""Certificates of erasure: what is signed verifies, whatever is changed in them does not."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid

import pytest
from Crypto.PublicKey import ECC

from esl_shield import canonical
from esl_shield.errors.life import CertificateFalse, CertificateUnreadable, SigningKeyUnusable
from esl_shield.vault import certificates, keys
from esl_shield.vault.certificates import Signer, read_public_key, verify
from esl_shield.vault.life import Case, Erasure, Name

AT = dt.datetime(2030, 3, 4, 9, 15, tzinfo=dt.UTC)
ERASURE = Erasure(
    Name("70123456789012", None), "70123456789012", "erased", uuid.UUID(int=7), AT, "eraser",
    Case("DSR-88", "asked — 删除"),
    {"ciphertexts": 1, "indexes": 1},
)  # fmt: skip


@pytest.fixture
def signer(tmp_path):
    """A signer with a key of its own."""
    uri = f"file:{tmp_path}/key"
    assert keys.create_kek(uri)
    return Signer(uri)


@pytest.fixture
def text(signer):
    """A certificate of one erasure."""
    return signer.certify("bank", [ERASURE], AT)


def test_what_is_signed_verifies(signer, text):
    """The public key, as it is given out, verifies what stands in the certificate, however that is laid out."""
    public = read_public_key(signer.public_pem.encode(), "x")
    held = verify(text.encode(), public, "x")
    assert held["erasures"] == [
        {
            "token": "70123456789012", "erasure": str(uuid.UUID(int=7)), "erased_at": "2030-03-04T09:15:00+00:00",
            "by": "eraser", "case": "DSR-88", "reason": "asked — 删除", "erased": {"ciphertexts": 1, "indexes": 1},
        }
    ]  # fmt: skip
    assert {entry["what"].partition(",")[0].partition(":")[0] for entry in held["kept"]} >= {
        "call records",
        "audit events",
    }
    assert verify(json.dumps(json.loads(text), indent=4).encode(), public, "x") == held
    assert text.isascii()


def _leaves(value, path=()):
    """Paths to every value of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _leaves(inner, (*path, key))


def test_every_change_is_found(signer, text):
    """Changing, adding or removing any value anywhere makes the certificate false or unreadable."""
    document = json.loads(text)
    paths = list(_leaves(document))
    assert len(paths) > 20
    for path in paths:
        for change in (lambda old: 0 if old != 0 else 1, lambda old: [old], None):
            changed = json.loads(text)
            inner = changed
            for step in path[:-1]:
                inner = inner[step]
            if change is None:
                del inner[path[-1]]
            else:
                inner[path[-1]] = change(inner[path[-1]])
            with pytest.raises((CertificateFalse, CertificateUnreadable)):
                verify(json.dumps(changed).encode(), signer.public, "x")


def test_another_key_did_not_sign(text):
    """Under another key a certificate is false, and the error names that key."""
    other = ECC.generate(curve="Ed25519").public_key()
    with pytest.raises(CertificateFalse) as caught:
        verify(text.encode(), other, "c.json")
    assert certificates.fingerprint(other) in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    [
        b"", b"null", b"[]", b"{}", b"\xff", b"{" * 100_000, b'{"format": "esl-shield erasure 1"}', b"x" * 10,
        b'{"a": NaN}', b"9" * 10_000,
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_certificate(signer, broken):
    """Anything else is no certificate, in one sentence without what stands in it."""
    with pytest.raises(CertificateUnreadable):
        verify(broken, signer.public, "x")


def test_ambiguous_documents(signer, text):
    """A key twice, a fraction, a signature that is no base64, a length beyond measure: none is taken."""
    twice = text.replace('"tenant":', '"tenant":"other","tenant":', 1)
    fraction = text.replace('"ciphertexts":1', '"ciphertexts":1.0', 1)
    for broken in (twice, fraction, text + " " * certificates.MAX_BYTES):
        with pytest.raises(CertificateUnreadable):
            verify(broken.encode(), signer.public, "x")
    document = json.loads(text)
    for signature in ("", "!", document["signature"] + "\n", base64.b64encode(b"x" * 64).decode()):
        with pytest.raises(CertificateFalse):
            verify(canonical.write(document | {"signature": signature}), signer.public, "x")


@pytest.mark.parametrize("kind", ["private", "p256", "text", "nothing"])
def test_what_is_no_public_key(kind):
    """A private key, one of another curve and anything else are not taken for the key to verify with."""
    text = {
        "private": ECC.generate(curve="Ed25519").export_key(format="PEM"),
        "p256": ECC.generate(curve="P-256").public_key().export_key(format="PEM"),
        "text": "70123456789012",
        "nothing": "",
    }[kind]
    with pytest.raises(CertificateUnreadable):
        read_public_key(text.encode(), "x")


def test_keys_that_are_not_used(tmp_path):
    """A key that is missing, not named, readable by others or damaged signs nothing."""
    exposed, damaged = tmp_path / "exposed", tmp_path / "damaged"
    exposed.write_text("ab" * 32 + "\n")
    exposed.chmod(0o644)
    damaged.write_text("no key\n")
    damaged.chmod(0o400)
    for uri in (None, f"file:{tmp_path}/none", f"file:{exposed}", f"file:{damaged}"):
        with pytest.raises(SigningKeyUnusable):
            Signer(uri)
    assert "abab" not in repr(Signer.__dict__)
