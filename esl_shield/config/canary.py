"""The section of canary calls: the agent's phone this package plays, and whose numbers it calls."""

from __future__ import annotations

import re
from dataclasses import dataclass

from esl_shield.config.database import DatabaseConfig
from esl_shield.config.values import Address, positive

_USER = re.compile(r"[A-Za-z0-9._+\-]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9.\-]{1,253}")
_REGION = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True)
class CanaryConfig:
    """Calls to canary numbers: ``agent`` at ``domain`` dials at ``switch``, the agents' SIP address of FreeSWITCH.

    ``database`` is a login of role canary, limited to ``tenant``. ``region`` is whose fictional numbers are drawn; the
    tenant's own where it is empty. ``signing_key`` signs reports. Times are in seconds: how long a call may ring, is
    talked, and its record may take; how long files must be still before they are searched, and how long that is waited
    for.
    """

    tenant: str
    domain: str
    agent: str
    password: str
    switch: Address
    database: DatabaseConfig
    signing_key: str | None = None
    region: str = ""
    ring_s: float = 20.0
    talk_s: float = 2.0
    record_s: float = 15.0
    quiet_s: float = 2.0
    settle_s: float = 30.0

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.agent) or not _DOMAIN.fullmatch(self.domain):
            message = "[canary] agent and domain must be a user of FreeSWITCH's directory"
            raise ValueError(message)
        for name in ("password", "signing_key"):
            source = getattr(self, name)
            if source is not None and not source.startswith("file:"):
                message = f"[canary] {name} must be file:PATH"
                raise ValueError(message)
        if self.region and not _REGION.fullmatch(self.region):
            message = f"[canary] region {self.region!r} is not an ISO 3166 code such as GB"
            raise ValueError(message)
        positive(self, "canary", "ring_s", "talk_s", "record_s", "quiet_s", "settle_s")
