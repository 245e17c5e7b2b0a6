"""Who asks: the edge and the commands of reveals by bearer secrets, FreeSWITCH's Lua script by a signature.

Invariants: loopback is no authentication; a caller stands for exactly one delivery, or for reveals; secrets are
compared in constant time and never logged; two callers never share a secret, or the weaker place would speak for the
stronger. The script signs instead of sending its secret because every argument of a FreeSWITCH API call is an event
others can read.

No limiter slows failed attempts: all callers of a machine share one address, so it would lock out the right one, and a
secret of 16 bytes or more is not found by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING

from esl_shield.config.secretfile import read_secret
from esl_shield.errors.config import ConfigError
from esl_shield.errors.resolver import CallerRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esl_shield.config.gateways import Delivery
    from esl_shield.config.resolver import ResolverConfig
    from esl_shield.resolver.forms import RedeemForm

_BEARER = re.compile(r"Bearer ([\x21-\x7e]{1,512})", re.IGNORECASE)
_SIGNATURE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")


class Callers:
    """The secrets of the callers this resolver knows; one that has none is refused."""

    def __init__(
        self,
        *,
        edge: bytes | None = None,
        lua: bytes | None = None,
        mask: bytes | None = None,
        reveals: bytes | None = None,
        clock_skew_s: int = 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._edge = edge
        self._lua = lua
        self._mask = mask
        self._reveals = reveals
        self._clock_skew_s = clock_skew_s
        self._clock = clock

    @classmethod
    def from_config(cls, config: ResolverConfig) -> Callers:
        """Read the secrets' files; raises ConfigError."""
        secrets = {caller: read_secret(caller, source) for caller, source in config.secrets.items()}
        if len(set(secrets.values())) != len(secrets):
            raise ConfigError(
                source="[resolver] secrets", problem="two callers have the same secret; make each its own"
            )
        return cls(
            edge=secrets.get("edge"),
            lua=secrets.get("lua"),
            mask=secrets.get("mask"),
            reveals=secrets.get("reveals"),
            clock_skew_s=config.clock_skew_s,
        )

    @property
    def deliveries(self) -> frozenset[Delivery]:
        """What the known callers may ask for."""
        known: dict[Delivery, bytes | None] = {"edge": self._edge, "direct": self._lua}
        return frozenset(delivery for delivery, secret in known.items() if secret)

    def delivery_of(self, headers: Mapping[str, str], form: RedeemForm) -> Delivery:
        """Say which delivery the caller stands for; raises CallerRejected with a reason that is only counted."""
        bearer, signature = headers.get("authorization"), headers.get("x-shield-signature")
        if bearer is not None and signature is not None:
            raise CallerRejected(reason="ambiguous")
        if bearer is not None:
            _check_bearer(bearer, self._edge)
            return "edge"
        if signature is not None:
            self._check_signature(signature, form)
            return "direct"
        raise CallerRejected(reason="unauthenticated")

    def require_masker(self, headers: Mapping[str, str]) -> None:
        """Raise CallerRejected unless the caller may have numbers masked; no other secret lets it."""
        _require_bearer(headers, self._mask)

    def require_revealer(self, headers: Mapping[str, str]) -> None:
        """Raise CallerRejected unless the caller may bring tickets of reveals; no other secret lets it."""
        _require_bearer(headers, self._reveals)

    def _check_signature(self, header: str, form: RedeemForm) -> None:
        match = _SIGNATURE.fullmatch(header)
        if not match or not self._lua:
            raise CallerRejected(reason="bad_signature")
        expected = sign(self._lua, match[1], form)
        if not hmac.compare_digest(match[2], expected):
            raise CallerRejected(reason="bad_signature")
        if abs(self._clock() - int(match[1])) > self._clock_skew_s:
            raise CallerRejected(reason="stale_signature")


def _require_bearer(headers: Mapping[str, str], secret: bytes | None) -> None:
    bearer = headers.get("authorization")
    if bearer is None or "x-shield-signature" in headers:
        raise CallerRejected(reason="unauthenticated")
    _check_bearer(bearer, secret)


def _check_bearer(header: str, secret: bytes | None) -> None:
    match = _BEARER.fullmatch(header)
    if not match or not secret or not hmac.compare_digest(match[1].encode("ascii"), secret):
        raise CallerRejected(reason="bad_secret")


def sign(secret: bytes, seconds: str, form: RedeemForm) -> str:
    """Sign a request as ``esl_shield.lua`` does: hex HMAC-SHA-256 over ``SECONDS|PERMIT|TOKEN|GATEWAY``."""
    message = f"{seconds}|{form.permit}|{form.token}|{form.gateway}".encode("ascii")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
