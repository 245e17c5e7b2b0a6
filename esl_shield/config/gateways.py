"""The ways to carriers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from esl_shield.config.values import MAX_PORT

Delivery = Literal["edge", "direct"]


NumberFormat = Literal["e164", "e164_noplus", "national"]


_GATEWAY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


_CALLER_ID = re.compile(r"\+?[0-9]{3,15}")


_PROXY = re.compile(r"[A-Za-z0-9.-]+:([0-9]{1,5})")


@dataclass(frozen=True)
class Gateway:
    """One way to a carrier: a Sofia gateway's name, how the number reaches the wire and in which format.

    ``domains`` limits it to those tenants' SIP domains; none means every tenant. ``country`` (ISO 3166) is where the
    gateway's national numbers are at home; ``prefix`` goes in front of a number without ``+``. ``caller_id_in`` has, by
    a place as ``esl-shield token show`` names a customer's region, the pool in place of ``caller_id`` there.
    """

    name: str
    delivery: Delivery
    proxy: str = ""
    number_format: NumberFormat = "e164"
    prefix: str = ""
    country: str = ""
    caller_id: tuple[str, ...] = ()
    caller_id_in: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
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
        for caller_id in self.caller_ids:
            if not _CALLER_ID.fullmatch(caller_id):
                message = f"[[gateways]] {self.name}: a caller_id is 3 to 15 digits with or without +"
                raise ValueError(message)

    @property
    def caller_ids(self) -> tuple[str, ...]:
        """Every number it may show."""
        return (*self.caller_id, *(number for pool in self.caller_id_in.values() for number in pool))

    def _check_proxy(self) -> None:
        match = _PROXY.fullmatch(self.proxy)
        if match is None or not 0 < int(match[1]) <= MAX_PORT:
            # FreeSWITCH's Lua script takes no brackets: whatever it dials it checks against this very form
            message = f"[[gateways]] {self.name}: direct delivery needs proxy = HOST:PORT, a name or an IPv4 address"
            raise ValueError(message)
