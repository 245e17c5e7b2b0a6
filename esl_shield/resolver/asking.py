"""The other end of ``POST /reveal``: a command that asks the resolver.

Invariants: a ticket is drawn from the system's random source and shows itself to nobody; a number goes to the resolver
and nowhere else; what is raised holds neither ticket, number nor answer; every wait has an end.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import secrets
import urllib.parse
from typing import TYPE_CHECKING, Any

from esl_shield.errors.resolver import ResolverAway
from esl_shield.errors.reveals import RevealRefused
from esl_shield.vault.hidden import Hidden

if TYPE_CHECKING:
    from esl_shield.config.values import Address
    from esl_shield.vault.numbers import SubscriberNumber

TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4 << 20
_OK, _NOT_FOUND = 200, 404


class Ticket(Hidden):
    """128 random bits: the right to take one step of one reveal at the resolver, once."""

    __slots__ = ("__bits",)

    def __init__(self) -> None:
        self.__bits = secrets.token_bytes(16)

    @property
    def hash(self) -> bytes:
        """What the database keeps of it: SHA-256, 32 bytes."""
        return hashlib.sha256(self.__bits).digest()

    def hex(self) -> str:
        """Spell it for the resolver."""
        return self.__bits.hex()


class ResolverClient:
    """Asks the resolver at an address, proving itself with the secret of reveals."""

    def __init__(self, address: Address, secret: bytes) -> None:
        self._address = address
        self._secret = secret

    def require_well(self) -> None:
        """Raise ResolverAway unless the resolver says that it could answer now."""
        status, _ = self._ask("GET", "/healthz")
        if status != _OK:
            raise ResolverAway(address=self._address, problem="it says that it is not well")

    def bind(self, ticket: Ticket, number: SubscriberNumber) -> None:
        """Say which number a step is about; raises RevealRefused, ResolverAway."""
        self._post({"ticket": ticket.hex(), "number": number.reveal()})

    def redeem(self, ticket: Ticket) -> dict[str, Any]:
        """Return what was asked for; raises RevealRefused, ResolverAway."""
        answer: dict[str, Any] = json.loads(self._post({"ticket": ticket.hex()}))
        return answer

    def _post(self, fields: dict[str, str]) -> bytes:
        status, body = self._ask("POST", "/reveal", urllib.parse.urlencode(fields))
        if status == _NOT_FOUND:
            raise RevealRefused
        if status != _OK:
            raise ResolverAway(address=self._address, problem="it says that it cannot answer now")
        return body

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._secret.decode('ascii')}"} if body else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.read(MAX_ANSWER_BYTES)
            except (OSError, http.client.HTTPException) as error:
                problem = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise ResolverAway(address=self._address, problem=problem)
