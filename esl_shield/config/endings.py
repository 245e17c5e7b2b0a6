"""The sections of who ends calls whose worker died: the intake of FreeSWITCH's records, and the reaper."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from esl_shield.config.values import Address, networks, positive


@dataclass(frozen=True)
class IntakeConfig:
    """Where mod_json_cdr posts to, as whom, and the folders it writes to while nobody answers."""

    secret: str
    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8091))
    user: str = "freeswitch"
    allow: tuple[str, ...] = ()
    spool: tuple[str, ...] = ()
    spool_every_s: float = 5.0
    max_connections: int = 64

    def __post_init__(self) -> None:
        positive(self, "intake", "spool_every_s", "max_connections")
        networks("intake", self.allow)
        if not self.secret.startswith("file:"):
            message = "[intake] secret must be file:PATH"
            raise ValueError(message)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.user):
            message = "[intake] user must be 1 to 64 of letters, digits, dot, dash, underscore"
            raise ValueError(message)
        if not self.listen.is_loopback and not self.allow:
            message = f"[intake] listen = {self.listen} is reachable from outside; name FreeSWITCH's addresses in allow"
            raise ValueError(message)
        for folder in self.spool:
            if not folder.startswith("/"):
                message = "[intake] spool: a folder's path is absolute"
                raise ValueError(message)


@dataclass(frozen=True)
class SwitchConfig:
    """One FreeSWITCH's event socket."""

    address: Address
    password: str

    def __post_init__(self) -> None:
        if not self.password.startswith("file:"):
            message = "[[reaper.switches]] password must be file:PATH"
            raise ValueError(message)


@dataclass(frozen=True)
class MintingConfig:
    """When a worker's login is locked for permits that nobody redeems, or somebody else does; times in seconds.

    Of ``least`` calls or more within ``window_s`` a share of ``unredeemed`` is too much, and ``elsewhere`` permits
    brought by another gateway, delivery or leg are. ``lock_all``: also the last logins that mint.
    """

    every_s: float = 30.0
    window_s: float = 300.0
    least: int = 50
    unredeemed: float = 0.9
    elsewhere: int = 5
    lock_all: bool = False

    def __post_init__(self) -> None:
        positive(self, "reaper.minting", "every_s", "window_s", "least", "unredeemed", "elsewhere")
        if self.unredeemed > 1:
            message = "[reaper.minting] unredeemed is a share of 1, such as 0.9"
            raise ValueError(message)


@dataclass(frozen=True)
class ReaperConfig:
    """Every FreeSWITCH calls may be on, and how long a record of a leg that is gone is waited for."""

    switches: tuple[SwitchConfig, ...] = ()
    every_s: float = 1.0
    record_wait_s: float = 30.0
    timeout_s: float = 5.0
    minting: MintingConfig = field(default_factory=MintingConfig)

    def __post_init__(self) -> None:
        positive(self, "reaper", "every_s", "record_wait_s", "timeout_s")
        if not self.switches:
            message = "[reaper] needs a [[reaper.switches]] for every FreeSWITCH calls may be on"
            raise ValueError(message)
