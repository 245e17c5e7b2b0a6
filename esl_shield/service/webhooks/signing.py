"""The signature of a webhook's request, after the Standard Webhooks specification 1.0 (standardwebhooks.com).

Invariants: no webhook's secret is stored: each is derived (HMAC-SHA-256) from the site's master secret, the tenant, the
webhook's name and a version, so that neither the database nor a backup of it can sign; another name, tenant or version
gives another secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"
_LABEL = b"esl-shield webhook v1"


def derive(master: bytes, tenant: str, name: str, version: int) -> bytes:
    """Return a webhook's secret, 32 bytes."""
    parts = [_LABEL, tenant.encode(), name.encode(), str(version).encode()]
    return hmac.digest(master, b"\0".join(parts), hashlib.sha256)


def spell(secret: bytes) -> str:
    """Return a secret as receivers' libraries take it."""
    return PREFIX + base64.b64encode(secret).decode()


def headers(secrets: list[bytes], event: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a request; with two secrets either is enough for the receiver."""
    signed = f"{event}.{at_s}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": event,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
