"""Gateways in order, and the caller ID the customer sees.

Invariants: failover follows the configured order and never repeats a gateway; one token is always shown the same
caller ID of a gateway, so that a customer recognises who calls. None of this is security: what must hold when a worker
is taken over is in the database.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.config.gateways import Gateway


class Route(NamedTuple):
    """One way to the customer; ``caller_id`` is empty when the gateway decides."""

    gateway: Gateway
    caller_id: str


def routes(gateways: Sequence[Gateway], *, domain: str, token: str, max_attempts: int) -> list[Route]:
    """Return the ways a tenant's call may take, best first, at most ``max_attempts``."""
    usable = [gateway for gateway in gateways if not gateway.domains or domain in gateway.domains]
    return [Route(gateway, _caller_id(gateway, token)) for gateway in usable[:max_attempts]]


def _caller_id(gateway: Gateway, token: str) -> str:
    if not gateway.caller_id:
        return ""
    return gateway.caller_id[zlib.crc32(token.encode()) % len(gateway.caller_id)]
