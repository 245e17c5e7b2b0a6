"""What a caller asks: the forms of ``POST /redeem``, ``POST /mask`` and ``POST /reveal``.

Invariants: each field occurs once and in one spelling; an unknown field is refused; nothing here says what was wrong
with a value, because the value may be anything.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.errors.resolver import RequestRejected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

_REDEEM = {
    "permit": re.compile(r"[0-9a-f]{32}"),
    "token": re.compile(r"[0-9]{8,20}"),
    "gateway": re.compile(r"[A-Za-z0-9._-]{1,64}"),
    "call": re.compile(r"[\x21-\x7e]{0,128}"),
}
_MASK = {
    "number": re.compile(r"[+]?[0-9]{3,20}"),
    "did": re.compile(r"[+][0-9]{5,15}"),
    "call": re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}
_REVEAL = {
    "ticket": re.compile(r"[0-9a-f]{32}"),
    "number": re.compile(r"[+][1-9][0-9]{4,14}"),
}
_MOST_FIELDS = 4


@dataclass(frozen=True, repr=False, slots=True)
class RedeemForm:
    """A permit, the token and the gateway it is for; ``call`` is the b-leg's SIP Call-ID, empty in direct delivery."""

    permit: str
    token: str
    gateway: str
    call: str = ""

    @property
    def permit_hash(self) -> bytes:
        """What the database knows the permit by: SHA-256 of its 16 bytes."""
        return hashlib.sha256(bytes.fromhex(self.permit)).digest()

    @classmethod
    def parse(cls, body: bytes) -> RedeemForm:
        """Read ``application/x-www-form-urlencoded``; raises RequestRejected."""
        return cls(**_fields(body, _REDEEM, {"permit", "token", "gateway"}))


@dataclass(frozen=True, repr=False, slots=True)
class MaskForm:
    """A caller's number as the carrier spelled it, the DID it called (E.164), the edge's name of the call (a UUID)."""

    number: str
    did: str
    call: str

    @classmethod
    def parse(cls, body: bytes) -> MaskForm:
        """Read ``application/x-www-form-urlencoded``; raises RequestRejected."""
        return cls(**_fields(body, _MASK, _MASK.keys()))


@dataclass(frozen=True, repr=False, slots=True)
class RevealForm:
    """The ticket for one step of a reveal; ``number`` (E.164) is what the step is about, None to be told the answer."""

    ticket: str
    number: str | None = None

    @property
    def ticket_hash(self) -> bytes:
        """What the database knows the ticket by: SHA-256 of its 16 bytes."""
        return hashlib.sha256(bytes.fromhex(self.ticket)).digest()

    @classmethod
    def parse(cls, body: bytes) -> RevealForm:
        """Read ``application/x-www-form-urlencoded``; raises RequestRejected."""
        return cls(**_fields(body, _REVEAL, {"ticket"}))


def _fields(body: bytes, patterns: Mapping[str, re.Pattern[str]], required: AbstractSet[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    try:
        for pair in body.decode("ascii").split("&", _MOST_FIELDS):
            name, value = map(_unquoted, pair.split("=", 1))
            if name in fields or name not in patterns or patterns[name].fullmatch(value) is None:
                raise RequestRejected(reason="form")
            fields[name] = value
    except ValueError:  # not ASCII, no UTF-8 behind its %XX, no = in a pair
        raise RequestRejected(reason="form") from None
    if not required <= fields.keys():
        raise RequestRejected(reason="form")
    return fields


def _unquoted(text: str) -> str:
    return urllib.parse.unquote_plus(text, errors="strict") if "%" in text or "+" in text else text
