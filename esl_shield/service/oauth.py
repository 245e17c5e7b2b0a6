"""JSON Web Tokens of the site's authorization server, as clients get them by client credentials (RFC 6749, 4.4).

Invariants: a token is taken only if a key of the configured set signed it with an algorithm of the configured list (no
symmetric one can be listed), for us, by the issuer, and it has not ended; whatever is wrong with one, it is the same
answer; what a client may do is at most what the administrator registered it for. Keys that cannot be read again are
used for MAX_STALE_S longer, then no token is taken any more.
"""

from __future__ import annotations

import base64
import json
import logging
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.lock import Semaphore

from esl_shield.api.callers import Caller, client_hash
from esl_shield.errors.api import ApiUnauthorized, TokenKeysAway
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.api.callers import Tokens
    from esl_shield.config.api import OAuthConfig

LOG = logging.getLogger(__name__)

MAX_JWKS_BYTES = 256 << 10
FETCH_TIMEOUT_S = 5.0
MAX_STALE_S = 3600.0
LEAST_PAUSE_S = 10.0  # between two looks for a key nobody has seen
_KEY_TYPES = ("RSA", "EC", "OKP")
_TYPES = ("jwt", "at+jwt", "application/at+jwt")


def open_tokens(config: OAuthConfig | None) -> Tokens | None:
    """Return who checks tokens, None without [oauth]; raises ConfigError when its library is not installed."""
    if config is None:
        return None
    try:
        import joserfc  # noqa: F401, PLC0415 - a site without an authorization server needs none
    except ImportError:
        raise ConfigError(source="[oauth]", problem="it needs the extra: pip install 'esl-shield[oauth]'") from None
    return SignedTokens(config, _reader(config.jwks))


class SignedTokens:
    """Checks tokens against the server's keys; safe to call from many greenlets."""

    def __init__(
        self, config: OAuthConfig, read: Callable[[], bytes], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._read = read
        self._clock = clock
        self._keys: dict[str, Any] = {}
        self._bad = 0  # how many of the server's keys were none when that was logged
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._reading = Semaphore()

    def caller(self, token: str) -> Caller:
        """Return whom a token stands for; raises ApiUnauthorized, TokenKeysAway."""
        claims = self._claims(token)
        config = self._config
        client, tenant = claims.get(config.client_claim), claims.get(config.tenant_claim)
        given = claims.get(config.scope_claim)
        scopes = given.split() if isinstance(given, str) else given
        if not (isinstance(client, str) and client and isinstance(tenant, str) and tenant and isinstance(scopes, list)):
            raise ApiUnauthorized
        try:
            key = client_hash(config.issuer, client, tenant)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and nothing is called
            raise ApiUnauthorized from None
        return Caller(key, frozenset(scope for scope in scopes if isinstance(scope, str)))

    def _claims(self, token: str) -> dict[str, Any]:
        from joserfc import jwt  # noqa: PLC0415

        config = self._config
        try:
            header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
            kid, typ = header["kid"], str(header.get("typ", "jwt")).lower()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ApiUnauthorized from None
        key = self._key(kid) if isinstance(kid, str) and typ in _TYPES else None
        if key is None:
            raise ApiUnauthorized
        rules = jwt.JWTClaimsRegistry(
            leeway=int(config.leeway_s), iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "value": config.audience}, exp={"essential": True},
        )  # fmt: skip
        try:
            claims = jwt.decode(token, key, algorithms=list(config.algorithms)).claims
            rules.validate(claims)
        except Exception:  # noqa: BLE001 - whatever a stranger's token makes a library raise, it is no token
            raise ApiUnauthorized from None
        return claims

    def _key(self, kid: str) -> Any:
        """Return the key of this name, None when the server has none; raises TokenKeysAway."""
        now = self._clock()
        if now - self._read_at > self._config.jwks_every_s or kid not in self._keys:
            self._refresh()
        if now - self._read_at > self._config.jwks_every_s + MAX_STALE_S:
            raise TokenKeysAway
        return self._keys.get(kid)

    def _refresh(self) -> None:
        with self._reading:
            if self._clock() - self._tried_at < LEAST_PAUSE_S:
                return
            self._tried_at = self._clock()
            try:
                self._keys, bad = _parse(self._read())
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                LOG.warning("oauth.keys_away", extra={"fields": {"kind": type(error).__name__}})
                return
            self._read_at = self._clock()
            if bad and bad != self._bad:
                LOG.warning("oauth.keys_bad", extra={"fields": {"count": bad}})
            self._bad = bad


def _parse(data: bytes) -> tuple[dict[str, Any], int]:
    """Read a JWK set; returns its keys by name and how many are none. Those that sign nothing for us are left out.

    Raises ValueError, TypeError, KeyError, RecursionError when it is no set.
    """
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import import_key  # noqa: PLC0415

    keys, bad = {}, 0
    for key in iter(json.loads(data)["keys"]):
        try:
            if key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig" and isinstance(key.get("kid"), str):
                public = import_key({name: value for name, value in key.items() if name != "d"})
                public.public_key  # noqa: B018 - some keys are looked at when they are used first
                keys[key["kid"]] = public
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):  # one bad key takes no other along
            bad += 1
    return keys, bad


def _reader(source: str) -> Callable[[], bytes]:
    if source.startswith("file:"):
        return Path(source.removeprefix("file:")).read_bytes
    opener = urllib.request.OpenerDirector()  # follows no redirect, reads no file, knows no proxy
    for handler in (urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(), urllib.request.HTTPErrorProcessor()):
        opener.add_handler(handler)

    def fetch() -> bytes:
        with opener.open(source, timeout=FETCH_TIMEOUT_S) as response:
            data: bytes = response.read(MAX_JWKS_BYTES)
            return data if response.status == 200 else b""  # noqa: PLR2004

    return lambda: gevent.get_hub().threadpool.apply(fetch)  # the name look-up and the wait would hold up the hub
