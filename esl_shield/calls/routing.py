"""Gateways in order, and the caller ID the customer sees.

Invariants: failover follows the configured order and never repeats a gateway; one token is always shown the same
caller ID of a gateway, one of its own place where the gateway has such, so that a customer recognises who calls. None
of this is security: what must hold when a worker is taken over is in the database.
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


def routes(gateways: Sequence[Gateway], *, domain: str, token: str, max_attempts: int, region: str = "") -> list[Route]:
    """Return the ways a tenant's call may take, best first, at most ``max_attempts``; ``region`` is the customer's."""
    usable = [gateway for gateway in gateways if not gateway.domains or domain in gateway.domains]
    return [Route(gateway, _caller_id(gateway, token, region)) for gateway in usable[:max_attempts]]


def _caller_id(gateway: Gateway, token: str, region: str) -> str:
    pool = gateway.caller_id_in.get(region) or gateway.caller_id
    return pool[zlib.crc32(token.encode()) % len(pool)] if pool else ""
