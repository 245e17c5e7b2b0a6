"""Certificates of erasure: which tokens' numbers were erased, when, by whom, what of them is kept and why.

A certificate is a JSON object signed with Ed25519 (RFC 8032) over its canonical form
(``esl_shield/canonical``) without ``signature``.

Invariants: nothing in it came from a number; verifying asks no database; a document with a key twice, a fraction or
anything unknown is no certificate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from esl_shield import canonical
from esl_shield.errors.keys import CryptoError
from esl_shield.errors.life import CertificateFalse, CertificateUnreadable, SigningKeyUnusable
from esl_shield.vault.keys import file

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from Crypto.PublicKey.ECC import EccKey

    from esl_shield.vault.life import Erasure

FORMAT = "esl-shield erasure 1"
MAX_BYTES = 64 * 1024 * 1024
_WHY_KEPT = {
    "the token, with case, reason, time and login of its erasure": "so that it is never given out again",
    "call records: token, agents, times, causes": "record of calls made; no number and no alias in them",
    "audit events: token, kind, time, login": "accountability; append-only",
    "backups and write-ahead logs made before": "ciphertext without its key, until their retention ends",
}
KEPT = tuple({"what": what, "why": why} for what, why in _WHY_KEPT.items())
_FIELDS = {"format", "tenant", "issued_at", "erasures", "kept", "key", "signature"}


class Signer:
    """The private key of certificates; shows nothing of itself."""

    def __init__(self, uri: str | None) -> None:
        """Open the key ``[erasure] key`` names, 64 hex digits only their owner can read; raises SigningKeyUnusable."""
        if uri is None:
            raise SigningKeyUnusable(problem="the configuration names none")
        try:
            seed = file.read(uri.removeprefix("file:"))
        except CryptoError as error:
            problem = f"{uri} is missing, damaged or readable by others ({error.error_id})"
        else:
            self._key = eddsa.import_private_key(seed)
            return
        raise SigningKeyUnusable(problem=problem)

    @property
    def public_pem(self) -> str:
        """The public key, for those who verify."""
        return str(self._key.public_key().export_key(format="PEM")) + "\n"

    @property
    def public(self) -> EccKey:
        """The public key."""
        return self._key.public_key()

    def certify(self, tenant: str, erasures: Iterable[Erasure], issued_at: dt.datetime) -> str:
        """Make the signed certificate of these erasures, as text ending in a newline."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "tenant": tenant,
            "issued_at": issued_at.isoformat(timespec="seconds"),
            "erasures": [_facts(erasure) for erasure in erasures],
            "kept": list(KEPT),
            "key": fingerprint(self.public),
        }
        signature = eddsa.new(self._key, "rfc8032").sign(canonical.write(document))
        document["signature"] = base64.b64encode(signature).decode("ascii")
        return canonical.write(document).decode("ascii") + "\n"


def verify(text: bytes, key: EccKey, path: str) -> dict[str, Any]:
    """Return a certificate's content if the key signed it; raises CertificateUnreadable, CertificateFalse."""
    document = _read(text, path)
    signature = document.pop("signature")
    try:
        eddsa.new(key, "rfc8032").verify(canonical.write(document), base64.b64decode(signature, validate=True))
    except (ValueError, binascii.Error):
        document = {}
    if not document:
        raise CertificateFalse(path=path, key=fingerprint(key))
    return document


def read_public_key(text: bytes, path: str) -> EccKey:
    """Read a public key in PEM; raises CertificateUnreadable, also for a private one."""
    try:
        key = ECC.import_key(text.decode("ascii"))
    except (ValueError, IndexError, TypeError):
        key = None
    if key is None or key.has_private() or key.curve != "Ed25519":
        raise CertificateUnreadable(path=path, what="a public key", problem="it is no Ed25519 public key in PEM")
    return key


def fingerprint(key: EccKey) -> str:
    """Name a public key: the first 16 hex digits of its SHA-256."""
    raw = key.public_key().export_key(format="raw")
    return hashlib.sha256(raw if isinstance(raw, bytes) else raw.encode()).hexdigest()[:16]


def _facts(erasure: Erasure) -> dict[str, Any]:
    case, at = erasure.case, erasure.erased_at
    if case is None or at is None:
        message = "nothing was erased"
        raise ValueError(message)
    return {
        "token": erasure.token, "erasure": str(erasure.id), "erased_at": at.isoformat(timespec="seconds"),
        "by": erasure.login, "case": case.id, "reason": case.reason, "erased": erasure.erased,
    }  # fmt: skip


def _read(text: bytes, path: str) -> dict[str, Any]:
    problem = ""
    try:
        if len(text) > MAX_BYTES:
            problem = f"it is longer than {MAX_BYTES} bytes"
        else:
            document = canonical.read(text)
            sound = isinstance(document, dict) and set(document) == _FIELDS and document["format"] == FORMAT
            if sound and isinstance(document["signature"], str) and isinstance(document["erasures"], list):
                return dict(document)
            problem = "it has not the fields of a certificate"
    except (ValueError, RecursionError):
        problem = "it is no JSON of the form certificates have"
    raise CertificateUnreadable(path=path, what="a certificate of erasure", problem=problem)
