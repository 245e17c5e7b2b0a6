"""The sections of the resolver: keys, callers, reveals and what may be called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from esl_shield.config.database import DatabaseConfig
from esl_shield.config.pkcs11_uri import SCHEME, Place
from esl_shield.config.values import Address, networks, positive

_MAX_SESSIONS = 64
_KEK_SCHEMES = ("file:", "env:", SCHEME)
_REGION = re.compile(r"[A-Z]{2}|001")


@dataclass(frozen=True)
class DeviceConfig:
    """How a PKCS#11 device (HSM) that holds the KEK is used; times are in seconds.

    ``timeout_s`` is what one operation may take, ``open_timeout_s`` loading the module, logging in and making keys.
    """

    sessions: int = 4
    timeout_s: float = 0.7
    open_timeout_s: float = 10.0
    accept_weak_key: bool = False

    def __post_init__(self) -> None:
        positive(self, "keys.device", "sessions", "timeout_s", "open_timeout_s")
        if self.sessions > _MAX_SESSIONS:
            message = f"[keys.device] sessions must be at most {_MAX_SESSIONS}"
            raise ValueError(message)


@dataclass(frozen=True)
class KeysConfig:
    """Where the key-encryption key (KEK) is, and the KEKs some keys are still wrapped under while it is changed."""

    kek: str
    previous: tuple[str, ...] = ()
    device: DeviceConfig = field(default_factory=DeviceConfig)

    def __post_init__(self) -> None:
        if not self.kek.startswith(_KEK_SCHEMES):
            message = "[keys] kek must be file:PATH or pkcs11:... (env:NAME is for the demo only)"
            raise ValueError(message)
        if not all(uri.startswith(_KEK_SCHEMES) for uri in self.previous) or self.kek in self.previous:
            message = "[keys] previous takes earlier KEKs, spelled as kek is, and not kek itself"
            raise ValueError(message)
        for key, uri in (("kek", self.kek), *(("previous", uri) for uri in self.previous)):
            try:
                place_of(uri)
            except ValueError as error:
                message = f"[keys] {key}: {error}"
                raise ValueError(message) from None

    @property
    def places(self) -> tuple[tuple[str, Place | None], ...]:
        """The URI of each KEK, the current one first; of a ``pkcs11:`` one also where it is."""
        return tuple((uri, place_of(uri)) for uri in (self.kek, *self.previous))


def place_of(uri: str) -> Place | None:
    """Return module, PIN file, token and key of a ``pkcs11:`` KEK, None for another; raises ValueError."""
    return Place.of(uri) if uri.startswith(SCHEME) else None


@dataclass(frozen=True)
class ResolverConfig:
    """The resolver's listener and its callers' secrets, by caller: ``edge``, ``lua``, ``mask``, ``reveals``."""

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8090))
    secrets: dict[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    clock_skew_s: int = 30
    max_requests: int = 64
    max_connections: int = 256
    drain_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        positive(self, "resolver", "clock_skew_s", "max_requests", "max_connections", "drain_timeout_s")
        for caller, source in self.secrets.items():
            if caller not in ("edge", "lua", "mask", "reveals"):
                message = f"[resolver] secrets knows edge, lua, mask and reveals, not {caller!r}"
                raise ValueError(message)
            if not source.startswith("file:"):
                message = f"[resolver] secrets.{caller} must be file:PATH"
                raise ValueError(message)
        networks("resolver", self.allow)
        if not self.listen.is_loopback and not self.allow:
            message = f"[resolver] listen = {self.listen} is reachable from outside; name its callers in allow"
            raise ValueError(message)


@dataclass(frozen=True)
class MaskingConfig:
    """The login with which the resolver turns callers' numbers into tokens; no other may find a number's token."""

    database: DatabaseConfig | None = None


@dataclass(frozen=True)
class RevealsConfig:
    """Where the commands of reveals find the resolver, and the secret they prove themselves with.

    Numbers go there in clear, so it is on this machine, or the near end of a tunnel is.
    """

    resolver: Address = field(default_factory=lambda: Address("127.0.0.1", 8090))
    secret: str | None = None

    def __post_init__(self) -> None:
        if not self.resolver.is_loopback:
            message = (
                "[reveals] resolver must be a loopback address: numbers go there in clear; use a tunnel's near end"
            )
            raise ValueError(message)
        if self.secret is not None and not self.secret.startswith("file:"):
            message = "[reveals] secret must be file:PATH"
            raise ValueError(message)


@dataclass(frozen=True)
class DestinationsConfig:
    """Which numbers may be called at all; checked by the resolver after decryption.

    ``countries`` are ISO 3166 codes, none meaning any; ``own_numbers`` are the call centre's own E.164 numbers.
    Emergency numbers are always refused, premium-rate and shared-cost numbers unless named in ``line_types``.
    """

    countries: tuple[str, ...] = ()
    line_types: tuple[str, ...] = (
        "fixed_line", "mobile", "fixed_line_or_mobile", "voip", "toll_free", "personal", "uan",
    )  # fmt: skip
    own_numbers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for country in self.countries:
            if not _REGION.fullmatch(country):
                message = f"[destinations] countries: {country!r} is not an ISO 3166 code such as CN"
                raise ValueError(message)
