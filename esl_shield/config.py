"""The TOML configuration as frozen dataclasses.

Invariants: an unknown key is an error, so that a typing mistake never silently weakens a setting; every value is
checked when the file is read, before any socket or key is opened; a secret is named by where it is (``file:``), never
written in the file; the one exception, a password in the database's URL, is taken from a file only its owner can read.
Each role (worker, resolver, seeder, auditor, administrator) has a file of its own.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import os
import re
import stat
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from esl_shield.errors import ConfigError, ConfigExposed

Delivery = Literal["edge", "direct"]
NumberFormat = Literal["e164", "e164_noplus", "national"]

CONFIG_VARIABLE = "ESL_SHIELD_CONFIG"
_T = TypeVar("_T")
_GATEWAY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CALLER_ID = re.compile(r"\+?[0-9]{3,15}")
_REGION = re.compile(r"[A-Z]{2}|001")
_PROXY = re.compile(r"[A-Za-z0-9.-]+:([0-9]{1,5})")
_MAX_PORT = 65535
_MAX_DAYS = 3650
_SCHEME = "postgresql+psycopg2://"
_NOT_IN_FILE = {"not_in_file": True}


@dataclass(frozen=True)
class Address:
    """An IP address and a TCP port; names are refused because resolving one would block the hub."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``127.0.0.1:8084`` or ``[::1]:8084``; raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > _MAX_PORT:
            message = f"{text!r} is not ADDRESS:PORT"
            raise ValueError(message)
        return cls(str(ipaddress.ip_address(host.strip("[]"))), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class DatabaseConfig:
    """Where PostgreSQL is and how long we wait for it; its password is in ``url`` or in the file ``password`` names."""

    url: str = field(repr=False)
    pool_size: int = 16
    connect_timeout_s: float = 1.0
    statement_timeout_s: float = 1.2
    password: str | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(_SCHEME):
            message = f"[database] url must start with {_SCHEME}"
            raise ValueError(message)
        holds_password = self.holds_password
        if self.password is not None and not self.password.startswith("file:"):
            message = "[database] password must be file:PATH"
            raise ValueError(message)
        if self.password is not None and holds_password:
            message = "[database] has a password in url and another in password; keep one"
            raise ValueError(message)
        _positive(self, "database", "pool_size", "connect_timeout_s", "statement_timeout_s")

    @property
    def holds_password(self) -> bool:
        """Whether ``url`` has a password in it; raises ConfigError when it cannot be read."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415 - `--help` needs no SQLAlchemy
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

        try:
            url = make_url(self.url)
        except (ArgumentError, ValueError):
            url = None
        if url is None or "@" in (url.host or ""):  # outside of the handler: the error quotes the URL and its password
            problem = f"it is not {_SCHEME}USER@HOST:PORT/NAME (a password in it has its :/@%? written as %XX)"
            raise ConfigError(source="[database] url", problem=problem)
        return bool(url.password) or "password" in url.query


@dataclass(frozen=True)
class KeysConfig:
    """Where the key-encryption key (KEK) is."""

    kek: str

    def __post_init__(self) -> None:
        if not self.kek.startswith(("file:", "env:")):
            message = "[keys] kek must be file:PATH (env:NAME is for the demo only)"
            raise ValueError(message)


@dataclass(frozen=True)
class EslConfig:
    """The listener FreeSWITCH's ``socket`` application connects to."""

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8084))
    allow: tuple[str, ...] = ()
    max_calls: int = 4000
    reserve: int = 400
    command_timeout_s: float = 5.0
    drain_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        _networks("esl", self.allow)
        if not self.listen.is_loopback and not self.allow:
            message = f"[esl] listen = {self.listen} is reachable from outside; name FreeSWITCH's addresses in allow"
            raise ValueError(message)
        _positive(self, "esl", "max_calls", "reserve", "command_timeout_s", "drain_timeout_s")


@dataclass(frozen=True)
class HandoffConfig:
    """How an agent names the token: dialled, or in ``X-Shield-Token`` behind one fixed dummy number."""

    dummy_number: str | None = None

    def __post_init__(self) -> None:
        if self.dummy_number is not None and not re.fullmatch(r"[0-9]{2,15}", self.dummy_number):
            message = "[handoff] dummy_number must be 2 to 15 digits"
            raise ValueError(message)


@dataclass(frozen=True)
class CallsConfig:
    """Limits on one call."""

    answer_timeout_s: int = 60
    max_attempts: int = 3
    max_call_s: int = 4 * 3600

    def __post_init__(self) -> None:
        _positive(self, "calls", "answer_timeout_s", "max_attempts", "max_call_s")


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
        _positive(self, "resolver", "clock_skew_s", "max_requests", "max_connections", "drain_timeout_s")
        for caller, source in self.secrets.items():
            if caller not in ("edge", "lua", "mask", "reveals"):
                message = f"[resolver] secrets knows edge, lua, mask and reveals, not {caller!r}"
                raise ValueError(message)
            if not source.startswith("file:"):
                message = f"[resolver] secrets.{caller} must be file:PATH"
                raise ValueError(message)
        _networks("resolver", self.allow)
        if not self.listen.is_loopback and not self.allow:
            message = f"[resolver] listen = {self.listen} is reachable from outside; name its callers in allow"
            raise ValueError(message)


@dataclass(frozen=True)
class MaskingConfig:
    """The login with which the resolver turns callers' numbers into tokens; no other may find a number's token."""

    database: DatabaseConfig | None = None


@dataclass(frozen=True)
class InboundConfig:
    """Calls that come in through the edge: how long whom is rung.

    ``last_agent_days`` is how long the agent who called a customer last is rung first; 0 means never.
    """

    ring_s: int = 25
    queue_s: int = 600
    last_agent_days: int = 30

    def __post_init__(self) -> None:
        _positive(self, "inbound", "ring_s", "queue_s")
        if not 0 <= self.last_agent_days <= _MAX_DAYS:
            message = f"[inbound] last_agent_days must be 0 to {_MAX_DAYS}"
            raise ValueError(message)


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
class FreeSwitchConfig:
    """FreeSWITCH's own event socket, asked by ``doctor``, and what it must be able to carry.

    ``workers`` are the workers its dialplan may park calls into; none means [esl] listen alone.
    """

    address: Address
    password: str
    workers: tuple[Address, ...] = ()
    calls_per_s: float = 28.0
    calls: int = 1000
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.password.startswith("file:"):
            message = "[freeswitch] password must be file:PATH"
            raise ValueError(message)
        _positive(self, "freeswitch", "calls_per_s", "calls", "timeout_s")


@dataclass(frozen=True)
class MetricsConfig:
    """Where the worker answers ``GET /metrics`` and ``/healthz``; nowhere unless ``listen`` is given."""

    listen: Address | None = None

    def __post_init__(self) -> None:
        if self.listen is not None and not self.listen.is_loopback:
            message = "[metrics] listen must be a loopback address; put a proxy in front of it"
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


@dataclass(frozen=True)
class Gateway:
    """One way to a carrier: a Sofia gateway's name, how the number reaches the wire and in which format.

    ``domains`` limits it to those tenants' SIP domains; none means every tenant. ``country`` (ISO 3166) is where the
    gateway's national numbers are at home; ``prefix`` goes in front of a number without ``+``.
    """

    name: str
    delivery: Delivery
    proxy: str = ""
    number_format: NumberFormat = "e164"
    prefix: str = ""
    country: str = ""
    caller_id: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _GATEWAY_NAME.fullmatch(self.name):
            message = f"[[gateways]] name {self.name!r} must be 1 to 64 of letters, digits, dot, dash, underscore"
            raise ValueError(message)
        if self.delivery == "direct":
            self._check_proxy()
        if not re.fullmatch(r"\+?[0-9]{0,15}", self.prefix):
            message = f"[[gateways]] {self.name}: prefix must be digits"
            raise ValueError(message)
        if self.country and not re.fullmatch(r"[A-Z]{2}", self.country):
            message = f"[[gateways]] {self.name}: country {self.country!r} is not an ISO 3166 code such as CN"
            raise ValueError(message)
        for caller_id in self.caller_id:
            if not _CALLER_ID.fullmatch(caller_id):
                message = f"[[gateways]] {self.name}: a caller_id is 3 to 15 digits with or without +"
                raise ValueError(message)

    def _check_proxy(self) -> None:
        match = _PROXY.fullmatch(self.proxy)
        if match is None or not 0 < int(match[1]) <= _MAX_PORT:
            # FreeSWITCH's Lua script takes no brackets: whatever it dials it checks against this very form
            message = f"[[gateways]] {self.name}: direct delivery needs proxy = HOST:PORT, a name or an IPv4 address"
            raise ValueError(message)


@dataclass(frozen=True)
class Config:
    """One role's whole configuration; sections a role does not use are absent. ``source`` is the file's path."""

    database: DatabaseConfig
    keys: KeysConfig | None = None
    esl: EslConfig = field(default_factory=EslConfig)
    handoff: HandoffConfig = field(default_factory=HandoffConfig)
    calls: CallsConfig = field(default_factory=CallsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    inbound: InboundConfig = field(default_factory=InboundConfig)
    freeswitch: FreeSwitchConfig | None = None
    resolver: ResolverConfig = field(default_factory=ResolverConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    reveals: RevealsConfig = field(default_factory=RevealsConfig)
    destinations: DestinationsConfig = field(default_factory=DestinationsConfig)
    gateways: tuple[Gateway, ...] = ()
    source: str = field(default="text", compare=False, metadata=_NOT_IN_FILE)

    def __post_init__(self) -> None:
        names = [gateway.name for gateway in self.gateways]
        if len(set(names)) != len(names):
            message = "[[gateways]] two gateways have the same name"
            raise ValueError(message)


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the file given, or the one ``ESL_SHIELD_CONFIG`` names; raises ConfigError, ConfigExposed."""
    chosen = path or os.environ.get(CONFIG_VARIABLE)
    if not chosen:
        raise ConfigError(source="file", problem=f"none was named; give --config FILE or set {CONFIG_VARIABLE}")
    try:
        with Path(chosen).open(encoding="utf-8") as file:
            text, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(source=chosen, problem=f"it cannot be read ({problem})") from None
    config = loads(text, source=str(chosen))
    databases = [config.database, *filter(None, [config.masking.database])]
    if mode & (stat.S_IRGRP | stat.S_IROTH) and any(database.holds_password for database in databases):
        raise ConfigExposed(source=chosen, mode=f"{mode:04o}")
    return config


def loads(text: str, *, source: str = "text") -> Config:
    """Read configuration from TOML text; ``source`` names it in errors. Raises ConfigError."""
    try:
        return dataclasses.replace(_build(Config, tomllib.loads(text), where=""), source=source)
    except (tomllib.TOMLDecodeError, ValueError, TypeError) as error:
        raise ConfigError(source=source, problem=str(error)) from None
    except ConfigError as error:
        raise error.in_file(source) from None


def _positive(section: object, where: str, *names: str) -> None:
    for name in names:
        if not 0 < getattr(section, name) < math.inf:
            message = f"[{where}] {name} must be more than 0"
            raise ValueError(message)


def _networks(where: str, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError:
            message = f"[{where}] allow: {address!r} is not an IP address or network such as 192.0.2.0/24"
            raise ValueError(message) from None


def _build(cls: type[_T], table: dict[str, Any], *, where: str) -> _T:
    """Make a dataclass of a TOML table; unknown, missing and mistyped keys raise ValueError."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.metadata != _NOT_IN_FILE}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            message = f"unknown key {where}{key}"
            raise ValueError(message)
    for name, spec in fields.items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and name not in table:
            message = f"{where}{name} is missing"
            raise ValueError(message)
    return cls(**{key: _convert(hints[key], value, where=f"{where}{key}") for key, value in table.items()})


def _convert(hint: Any, value: Any, *, where: str) -> Any:  # noqa: PLR0911 - one line per TOML shape
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(next(a for a in arguments if a is not type(None)), value, where=where)
    if origin is Literal:
        return _expect(value, value in arguments, where, " or ".join(map(repr, arguments)))
    if origin is tuple:
        _expect(value, isinstance(value, list), where, "a list")
        return tuple(_convert(arguments[0], item, where=f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(value, isinstance(value, dict), where, "a table")
        return {key: _convert(arguments[1], item, where=f"{where}.{key}") for key, item in value.items()}
    if hint is Address:
        _expect(value, isinstance(value, str), where, "ADDRESS:PORT")
        try:
            return Address.parse(value)
        except ValueError:
            message = f"{where} = {value!r} must be an IP address and a port, such as 127.0.0.1:8084 or [::1]:8084"
            raise ValueError(message) from None
    if dataclasses.is_dataclass(hint):
        _expect(value, isinstance(value, dict), where, "a table")
        return _build(typing.cast("type[Any]", hint), value, where=f"{where}.")
    if hint is float:
        return float(_expect(value, isinstance(value, int | float) and not isinstance(value, bool), where, "a number"))
    return _expect(value, type(value) is hint, where, {str: "text", int: "a whole number"}.get(hint, hint.__name__))


def _expect(value: Any, holds: bool, where: str, what: str) -> Any:
    if not holds:
        message = f"{where} must be {what}"
        raise ValueError(message)
    return value
