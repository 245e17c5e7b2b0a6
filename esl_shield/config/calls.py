"""The sections of the worker: its listener, its calls and FreeSWITCH."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from esl_shield.config.values import Address, networks, positive

_MAX_DAYS = 3650
_MOST_TENANTS = 1000


@dataclass(frozen=True)
class EslConfig:
    """The listener FreeSWITCH's ``socket`` application connects to."""

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8084))
    allow: tuple[str, ...] = ()
    max_calls: int = 4000
    reserve: int = 400
    admission_timeout_s: float = 0.5
    command_timeout_s: float = 5.0
    drain_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        networks("esl", self.allow)
        if not self.listen.is_loopback and not self.allow:
            message = f"[esl] listen = {self.listen} is reachable from outside; name FreeSWITCH's addresses in allow"
            raise ValueError(message)
        positive(self, "esl", "max_calls", "reserve", "admission_timeout_s", "command_timeout_s", "drain_timeout_s")


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
        positive(self, "calls", "answer_timeout_s", "max_attempts", "max_call_s")


@dataclass(frozen=True)
class InboundConfig:
    """Calls that come in through the edge: how long whom is rung.

    ``last_agent_days`` is how long the agent who called a customer last is rung first; 0 means never.
    """

    ring_s: int = 25
    queue_s: int = 600
    last_agent_days: int = 30

    def __post_init__(self) -> None:
        positive(self, "inbound", "ring_s", "queue_s")
        if not 0 <= self.last_agent_days <= _MAX_DAYS:
            message = f"[inbound] last_agent_days must be 0 to {_MAX_DAYS}"
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
        positive(self, "freeswitch", "calls_per_s", "calls", "timeout_s")


@dataclass(frozen=True)
class MetricsConfig:
    """Where a process answers ``GET /metrics`` and health's pages, and how many tenants have figures of their own.

    A worker and a sealer answer nowhere unless ``listen`` is given, a resolver at its own listener only.
    """

    listen: Address | None = None
    tenants: int = 50

    def __post_init__(self) -> None:
        if self.listen is not None and not self.listen.is_loopback:
            message = "[metrics] listen must be a loopback address; put a proxy in front of it"
            raise ValueError(message)
        if not 0 <= self.tenants <= _MOST_TENANTS:
            message = f"[metrics] tenants must be 0 to {_MOST_TENANTS}"
            raise ValueError(message)
