"""Reports that an auditor can check without us: canonical JSON signed with Ed25519 (RFC 8032).

Invariants: what is signed is the canonical form (``esl_shield/canonical``) behind a text that says what it is, so
that a signature serves for nothing else; a private key is a file of mode 0400 that is never overwritten; a report is
believed only against a public key the auditor brought, never against one that came with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path
from typing import Any

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from esl_shield import canonical
from esl_shield.config import private_file
from esl_shield.config.private_file import PrivateFileRefusedError, Refusal
from esl_shield.errors.canary import ReportRejected, SigningKeyUnusable

_PURPOSE = b"esl_shield report v1\n"
_CURVE = "Ed25519"
_MOST_BYTES = 1 << 30
_MOST_KEY_BYTES = 4096
_FINGERPRINT_DIGITS = 32
_FIELDS = {"key", "report", "signature"}
_REFUSED = {
    Refusal.MISSING: "it cannot be opened ({})",
    Refusal.UNREADABLE: "it cannot be opened ({})",
    Refusal.IRREGULAR: "it is not a file",
    Refusal.EXPOSED: "others can read it, so it proves nothing any more",
    Refusal.ANOTHERS: "it belongs to user {}, who can change it",
}


def make_keys(path: str) -> str:
    """Write a new pair to ``path`` (mode 0400) and ``path.pub``; returns its fingerprint. Raises SigningKeyUnusable."""
    key = ECC.generate(curve=_CURVE)
    _write(path, key.export_key(format="PEM"), 0o400)
    try:
        _write(f"{path}.pub", key.public_key().export_key(format="PEM"), 0o444)
    except SigningKeyUnusable:
        Path(path).unlink()  # this call made it a moment ago: no half of a pair stays
        raise
    return fingerprint(key)


def private_key(path: str) -> ECC.EccKey:
    """Read a key that signs; one that others can read is refused. Raises SigningKeyUnusable."""
    key = _read(path, public=False)
    if not key.has_private():
        raise SigningKeyUnusable(path=path, problem="it is a public key, which signs nothing")
    return key


def public_key(path: str) -> ECC.EccKey:
    """Read the key to verify with, raises SigningKeyUnusable."""
    return _read(path, public=True).public_key()


def fingerprint(key: ECC.EccKey) -> str:
    """Name a key by the beginning of the SHA-256 of its public half, in hexadecimal digits."""
    raw = key.public_key().export_key(format="raw")
    return hashlib.sha256(raw).hexdigest()[:_FINGERPRINT_DIGITS]


def sign(report: dict[str, Any], key: ECC.EccKey) -> str:
    """Return the signed report as one line of canonical JSON."""
    signature = eddsa.new(key, "rfc8032").sign(_PURPOSE + canonical.write(report))
    signed = {"key": fingerprint(key), "report": report, "signature": base64.b64encode(signature).decode("ascii")}
    return canonical.write(signed).decode("ascii")


def verify(path: str, key: ECC.EccKey) -> dict[str, Any]:
    """Read a signed report and return it when this key's owner signed it; raises ReportRejected."""
    signed = _parsed(path)
    if not isinstance(signed, dict) or set(signed) != _FIELDS or not isinstance(signed["report"], dict):
        raise ReportRejected(path=path, problem="it is no signed report")
    if signed["key"] != fingerprint(key):
        raise ReportRejected(path=path, problem=f"it names another key than {fingerprint(key)}")
    try:
        signature = base64.b64decode(signed["signature"], validate=True)
        eddsa.new(key, "rfc8032").verify(_PURPOSE + canonical.write(signed["report"]), signature)
    except (ValueError, TypeError, binascii.Error):
        raise ReportRejected(path=path, problem="its signature is not this key's over this text") from None
    report: dict[str, Any] = signed["report"]
    return report


def _parsed(path: str) -> Any:
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(_MOST_BYTES).decode("ascii")
        return canonical.read(text)
    except OSError as error:
        raise ReportRejected(path=path, problem=f"it cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ReportRejected(path=path, problem="it is not the JSON such a report is written in") from None


def _read(path: str, *, public: bool) -> ECC.EccKey:
    problem = "it is no Ed25519 key in PEM"
    key = None
    try:
        key = ECC.import_key(private_file.read(path, _MOST_KEY_BYTES, public=public))
    except PrivateFileRefusedError as refused:
        problem = _REFUSED[refused.refusal].format(refused.detail)
    except (ValueError, IndexError, TypeError):
        pass
    if key is None or key.curve != _CURVE:
        raise SigningKeyUnusable(path=path, problem=problem)
    return key


def _write(path: str, text: str, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        problem = (
            "it is there already" if isinstance(error, FileExistsError) else f"it cannot be written ({error.strerror})"
        )
        raise SigningKeyUnusable(path=path, problem=problem) from None
    with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - an open descriptor
        stream.write(text + "\n")
        os.fchmod(descriptor, mode)
        stream.flush()
        os.fsync(descriptor)
