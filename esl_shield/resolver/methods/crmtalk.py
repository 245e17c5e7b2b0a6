"""What is said between the resolver and a tenant's service: the bytes and their signatures (docs/methods.md).

Invariants: both directions are signed with the shared secret, under words that tell them apart; an answer is for one
request, whose nonce its signature covers, so none can be replayed or swapped; what is not exactly right is no answer;
no error holds a byte of one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.methods import MethodAway
from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.prefixes import CRM

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

VERSION = "esl-shield-crm-1"
MAX_ANSWER_BYTES = 4096
OK, NOT_FOUND = 200, 404
_NONCE_BYTES = 16


class Question(NamedTuple):
    """One request: its headers, its body and the nonce its answer must name."""

    headers: dict[str, str]
    body: bytes
    nonce: str


def ask(secret: bytes, path: str, *, tenant: str, token: str, call: uuid.UUID, now_s: int) -> Question:
    """Spell and sign a request."""
    nonce = secrets.token_hex(_NONCE_BYTES)
    fields = {"call": str(call), "nonce": nonce, "tenant": tenant, "timestamp": now_s, "token": token}
    body = json.dumps(fields, separators=(",", ":")).encode("ascii")
    signature = sign(secret, "request", "POST", path, str(now_s), body=body)
    headers = {
        "Content-Type": "application/json", "Accept": "application/json", "User-Agent": "esl-shield",
        "X-Shield-Timestamp": str(now_s), "X-Shield-Signature": signature,
    }  # fmt: skip
    return Question(headers, body, nonce)


def sign(secret: bytes, *words: str, body: bytes) -> str:
    """Sign words and a body: ``v1=`` and HMAC-SHA-256 in hexadecimal."""
    message = "\n".join((VERSION, *words, "")).encode("ascii") + body
    return f"v1={hmac.new(secret, message, hashlib.sha256).hexdigest()}"


def read(
    secret: bytes, question: Question, status: int, headers: Mapping[str, str], body: bytes, *, now_s: int, skew_s: int
) -> SubscriberNumber | None:
    """Return the number an answer gives, None when the service knows no such token; raises MethodAway."""
    if status not in (OK, NOT_FOUND):
        raise _away("status")
    at, given = headers.get("X-Shield-Timestamp", ""), headers.get("X-Shield-Signature", "")
    if not at.isascii() or not at.isdigit() or len(at) > 12 or not given.isascii():  # noqa: PLR2004 - seconds
        raise _away("signature")
    wanted = sign(secret, "answer", str(status), question.nonce, at, body=body)
    if not hmac.compare_digest(wanted, given):
        raise _away("signature")
    if abs(int(at) - now_s) > skew_s:
        raise _away("clock")
    return None if status == NOT_FOUND else _number(body)


def _number(body: bytes) -> SubscriberNumber:
    try:
        found = json.loads(body)
        if isinstance(found, dict) and set(found) == {"number"} and isinstance(found["number"], str):
            return SubscriberNumber(found["number"])
    except (ValueError, RecursionError, NumberRejected):
        pass  # said below, outside of the handler: its error may hold the text
    raise _away("answer")


def _away(what: str) -> MethodAway:
    return MethodAway(method=CRM, reason=f"crm_{what}")
