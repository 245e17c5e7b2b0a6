"""Values that several sections of the configuration hold, and checks of them."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass

MAX_PORT = 65535


@dataclass(frozen=True)
class Address:
    """An IP address and a TCP port; names are refused because resolving one would block the hub."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``127.0.0.1:8084`` or ``[::1]:8084``; raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MAX_PORT:
            message = f"{text!r} is not ADDRESS:PORT"
            raise ValueError(message)
        return cls(str(ipaddress.ip_address(host.strip("[]"))), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def positive(section: object, where: str, *names: str) -> None:
    """Raise ValueError unless each named number of the section is finite and more than 0."""
    for name in names:
        if not 0 < getattr(section, name) < math.inf:
            message = f"[{where}] {name} must be more than 0"
            raise ValueError(message)


def networks(where: str, addresses: tuple[str, ...]) -> None:
    """Raise ValueError unless each is an IP address or network."""
    for address in addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError:
            message = f"[{where}] allow: {address!r} is not an IP address or network such as 192.0.2.0/24"
            raise ValueError(message) from None
