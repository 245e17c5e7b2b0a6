"""The section of calls by click: whose event socket rings an agent's phone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from esl_shield.config.values import Address, positive

_USER = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True)
class ClicksConfig:
    """FreeSWITCH's event socket, and for how long an agent's phone rings.

    ``user`` (NAME@DOMAIN of FreeSWITCH's directory) logs in as one who may do no more than originate; without it the
    password is the event socket's own, which may do everything.
    """

    address: Address
    password: str
    user: str = ""
    ring_s: int = 25
    timeout_s: float = 3.0

    def __post_init__(self) -> None:
        positive(self, "clicks", "ring_s", "timeout_s")
        if not self.password.startswith("file:"):
            message = "[clicks] password must be file:PATH"
            raise ValueError(message)
        if self.user and not _USER.fullmatch(self.user):
            message = "[clicks] user must be NAME@DOMAIN of FreeSWITCH's directory"
            raise ValueError(message)
