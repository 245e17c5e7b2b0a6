"""Access tokens of an authorization server: taken only when everything about them is right."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey

from esl_shield.api.callers import client_hash
from esl_shield.config.api import OAuthConfig
from esl_shield.errors.api import ApiUnauthorized, TokenKeysAway
from esl_shield.service.oauth import LEAST_PAUSE_S, MAX_STALE_S, SignedTokens

ISSUER, AUDIENCE = "https://login.example", "https://shield.example"
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
OTHER = ECKey.generate_key("P-256", {"kid": "k1"})
NEW = RSAKey.generate_key(2048, {"kid": "k2"})
CONFIG = OAuthConfig(ISSUER, AUDIENCE, "file:/unused")


def jwks(*keys):
    """What the server publishes."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def claims(**changes):
    """The claims of a good token; None leaves one out."""
    made = {
        "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "client_id": "crm", "tenant": "acme",
        "scope": "tokens:read calls:read",
    } | changes  # fmt: skip
    return {name: value for name, value in made.items() if value is not None}


def signed(key=KEY, alg="ES256", header=None, **changes):
    """A token."""
    return jwt.encode({"alg": alg, "kid": key.kid} | (header or {}), claims(**changes), key, algorithms=[alg])


def spelled(**changes):
    """A token whose claims are JSON of ASCII alone, which can say what UTF-8 cannot."""
    header = {"alg": "ES256", "kid": "k1"}
    return jws.serialize_compact(header, json.dumps(claims(**changes)), KEY, algorithms=["ES256"])


@pytest.fixture
def tokens():
    """Whoever checks tokens of a server with one key."""
    return SignedTokens(CONFIG, lambda: jwks(KEY))


def test_a_token_stands_for_a_client_of_one_tenant(tokens):
    """Issuer, client and tenant name the key the database knows; the token's scopes narrow that key's."""
    caller = tokens.caller(signed())
    assert caller == (client_hash(ISSUER, "crm", "acme"), {"tokens:read", "calls:read"})
    assert tokens.caller(signed(scope=["tokens:read"])).scopes == {"tokens:read"}
    assert tokens.caller(signed(tenant="brick")).key != caller.key


def forged(secret):
    """A token signed with a public key as if that were a secret (CVE-2015-9235)."""
    parts = [json.dumps({"alg": "HS256", "kid": "k1"}).encode(), json.dumps(claims()).encode()]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.new(secret, text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


REFUSED = {
    "other-signer": lambda: signed(OTHER),
    "expired": lambda: signed(exp=int(time.time()) - 120),
    "no-end": lambda: signed(exp=None),
    "not-yet": lambda: signed(nbf=int(time.time()) + 600),
    "other-issuer": lambda: signed(iss="https://evil.example"),
    "no-issuer": lambda: signed(iss=None),
    "other-audience": lambda: signed(aud="https://other.example"),
    "no-audience": lambda: signed(aud=None),
    "no-tenant": lambda: signed(tenant=None),
    "tenant-list": lambda: signed(tenant=["acme", "brick"]),
    "no-client": lambda: signed(client_id=None),
    "no-scope": lambda: signed(scope=None),
    "unknown-key": lambda: signed(ECKey.generate_key("P-256", {"kid": "k9"})),
    "algorithm-not-listed": lambda: signed(ECKey.generate_key("P-384", {"kid": "k1"}), "ES384"),
    "public-key-as-secret": lambda: forged(KEY.as_pem(private=False)),
    "other-type": lambda: signed(header={"typ": "dpop+jwt"}),
    "unsigned": lambda: "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ." + signed().split(".")[1] + ".AA",
    "tenant-is-no-text": lambda: spelled(tenant="\ud800"),
    "client-is-no-text": lambda: spelled(client_id="\ud800"),
    "end-is-no-number": lambda: spelled(exp=float("nan")),
    "end-is-a-text": lambda: signed(exp="9999999999"),
    "own-key-in-header": lambda: signed(OTHER, header={"jwk": OTHER.as_dict(private=False)}),
    "signature-left-out": lambda: signed().rpartition(".")[0] + ".A",
    "no-json": lambda: "AAAA.BBBB.CCCC",
    "deep-header": lambda: base64.urlsafe_b64encode(b"[" * 6000).decode().rstrip("=") + ".e30.AA",
    "list-header": lambda: "W10.e30.AA",
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_not_exactly_right_is_refused_alike(tokens, case):
    """Each way a token can be wrong is the same refusal."""
    with pytest.raises(ApiUnauthorized):
        tokens.caller(REFUSED[case]())


def test_keys_are_read_again_when_they_change_and_not_for_every_guess():
    """A key nobody has seen is looked for, at most every few seconds; a published one is then taken."""
    published, reads, now = [KEY], [], [0.0]

    def read():
        reads.append(now[0])
        return jwks(*published)

    tokens = SignedTokens(CONFIG, read, clock=lambda: now[0])
    tokens.caller(signed())
    published.append(NEW)
    for _ in range(3):
        with pytest.raises(ApiUnauthorized):
            tokens.caller(signed(NEW, "RS256"))
    now[0] = LEAST_PAUSE_S
    assert tokens.caller(signed(NEW, "RS256"))
    assert reads == [0.0, LEAST_PAUSE_S]


BAD_KEYS = {
    "no-parameters": {"kty": "RSA", "kid": "b"}, "no-curve": {"kty": "EC", "kid": "b"},
    "other-curve": {"kty": "EC", "kid": "b", "crv": "P-1", "x": "AA", "y": "AA"},
    "off-the-curve": {"kty": "EC", "kid": "b", "crv": "P-256", "x": "AA", "y": "AA"},
    "zero": {"kty": "RSA", "kid": "b", "n": "AA", "e": "AA"}, "number": {"kty": "RSA", "kid": "b", "n": 1, "e": 1},
    "no-base64": {"kty": "OKP", "kid": "b", "crv": "Ed25519", "x": "\u00fc"},
    "list": [], "nothing": None,
    "number-operations": {"kty": "RSA", "kid": "b", "n": "AQAB", "e": "AQAB", "key_ops": 7},
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_KEYS, ids=str)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_key_that_is_none_takes_no_other_along(case, first, caplog):
    """Beside a bad key the good one's tokens are taken, the bad one's are refused, and the log says so once."""
    good, bad, now = [KEY.as_dict(private=False)], [BAD_KEYS[case]], [0.0]
    published = json.dumps({"keys": bad + good if first else good + bad}).encode()
    tokens = SignedTokens(CONFIG, lambda: published, clock=lambda: now[0])
    for _ in range(3):
        assert tokens.caller(signed())
        with pytest.raises(ApiUnauthorized):
            tokens.caller(signed(ECKey.generate_key("P-256", {"kid": "b"})))
        now[0] += LEAST_PAUSE_S
    assert [record.message for record in caplog.records] == ["oauth.keys_bad"]


@pytest.mark.parametrize(
    "published", [b"[" * 100_000, b"{}", b"[]", b'{"keys": 7}'], ids=["deep", "none", "list", "number"]
)
def test_what_is_no_set_of_keys_is_a_server_that_is_away(published):
    """No token can be checked, which is told as such."""
    with pytest.raises(TokenKeysAway):
        SignedTokens(CONFIG, lambda: published).caller(signed())


def test_keys_that_cannot_be_read_again_are_used_for_a_while_and_then_not():
    """A server that is away locks nobody out at once; after an hour no token is taken."""
    now, away = [0.0], [False]

    def read():
        if away[0]:
            raise OSError
        return jwks(KEY)

    tokens = SignedTokens(CONFIG, read, clock=lambda: now[0])
    tokens.caller(signed())
    away[0], now[0] = True, CONFIG.jwks_every_s + MAX_STALE_S - 1
    assert tokens.caller(signed())
    now[0] += LEAST_PAUSE_S
    with pytest.raises(TokenKeysAway):
        tokens.caller(signed())
