"""The sections of the HTTP API: the process callers speak to, and the one that makes tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from esl_shield.config.values import Address, networks, positive

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_CLAIM = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")


@dataclass(frozen=True)
class OAuthConfig:
    """An authorization server whose JSON Web Tokens stand for keys: RFC 9068, RFC 7523 and RFC 7517 in short.

    ``jwks`` is ``file:PATH`` or an ``https://`` URL, read again every ``jwks_every_s`` seconds.
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"
    client_claim: str = "client_id"
    jwks_every_s: float = 300.0
    leeway_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.algorithms or not set(self.algorithms) <= set(_ALGORITHMS):
            message = f"[oauth] algorithms must be some of {', '.join(_ALGORITHMS)}"
            raise ValueError(message)
        if not self.jwks.startswith(("file:/", "https://", "http://127.0.0.1:", "http://[::1]:")):
            message = "[oauth] jwks must be file:/PATH or an https:// address"
            raise ValueError(message)
        for name in ("tenant_claim", "scope_claim", "client_claim"):
            if not _CLAIM.fullmatch(getattr(self, name)):
                message = f"[oauth] {name} must be the name of a claim"
                raise ValueError(message)
        if not self.issuer or not self.audience:
            message = "[oauth] issuer and audience must not be empty"
            raise ValueError(message)
        positive(self, "oauth", "jwks_every_s", "leeway_s")


@dataclass(frozen=True)
class HttpConfig:
    """Where to listen and what one caller may take; times are in seconds, ``requests_per_s`` holds for each key."""

    SECTION: ClassVar[str]

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 0))
    allow: tuple[str, ...] = ()
    max_connections: int = 128
    max_body_bytes: int = 1 << 20
    read_timeout_s: float = 10.0
    requests_per_s: float = 50.0
    burst: int = 100
    drain_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        networks(self.SECTION, self.allow)
        positive(
            self, self.SECTION, "max_connections", "max_body_bytes", "read_timeout_s", "requests_per_s", "burst",
            "drain_timeout_s",
        )  # fmt: skip
        if not self.listen.is_loopback and not self.allow:
            message = (
                f"[{self.SECTION}] listen = {self.listen} is reachable from outside; name callers' addresses in allow"
            )
            raise ValueError(message)


@dataclass(frozen=True)
class ApiConfig(HttpConfig):
    """The HTTP API; ``tokeniser`` is where requests with numbers go to; an export may take ``export_timeout_s``."""

    SECTION: ClassVar[str] = "api"

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8092))
    tokeniser: Address = field(default_factory=lambda: Address("127.0.0.1", 8093))
    tokeniser_timeout_s: float = 30.0
    export_timeout_s: float = 900.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, self.SECTION, "tokeniser_timeout_s", "export_timeout_s")


@dataclass(frozen=True)
class TokeniserConfig(HttpConfig):
    """The process that has the keys and takes numbers."""

    SECTION: ClassVar[str] = "tokeniser"

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8093))
