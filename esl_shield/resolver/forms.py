"""What a caller asks: the form of ``POST /redeem``.

Invariants: each field occurs once and in one spelling; an unknown field is refused; nothing here says what was wrong
with a value, because the value may be anything.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from dataclasses import dataclass

from esl_shield.errors import RequestRejected

_PATTERNS = {
    "permit": re.compile(r"[0-9a-f]{32}"),
    "token": re.compile(r"[0-9]{8,20}"),
    "gateway": re.compile(r"[A-Za-z0-9._-]{1,64}"),
    "call": re.compile(r"[\x21-\x7e]{0,128}"),
}


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
        try:
            pairs = urllib.parse.parse_qsl(
                body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=4
            )
        except ValueError:
            raise RequestRejected(reason="form") from None
        fields = dict(pairs)
        right = len(fields) == len(pairs) and all(
            name in _PATTERNS and _PATTERNS[name].fullmatch(value) for name, value in pairs
        )
        if not right or not {"permit", "token", "gateway"} <= fields.keys():
            raise RequestRejected(reason="form")
        return cls(**fields)
