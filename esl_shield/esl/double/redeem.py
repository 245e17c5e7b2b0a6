"""How the edge and the script learn the number: the resolver's ``POST /redeem``, or any callable in its place.

The edge proves itself by its secret as a bearer token, the script by signing ``SECONDS|PERMIT|TOKEN|GATEWAY``. The
answer is a status and a text; anything that goes wrong on the way counts as 503.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode, urlsplit

import gevent
from gevent import socket

AWAY = (503, "away")
_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, repr=False)
class Redemption:
    """One permit to be exchanged; ``call_id`` is the b-leg's SIP Call-ID, empty in direct delivery."""

    delivery: Literal["edge", "direct"]
    permit: str
    token: str
    gateway: str
    call_id: str = ""


Redeem = Callable[[Redemption], tuple[int, str]]


def refuse_all(redemption: Redemption) -> tuple[int, str]:  # noqa: ARG001 - a Redeem
    """Refuse whatever is asked: a resolver that knows no permit."""
    return 404, "refused"


@dataclass(frozen=True, repr=False)
class HttpRedeem:
    """Redeems at a resolver's ``url`` with the edge's and the script's secrets; waits ``timeout_s`` at most."""

    url: str
    edge_secret: bytes = b""
    lua_secret: bytes = b""
    timeout_s: float = 1.0

    def __call__(self, redemption: Redemption) -> tuple[int, str]:
        """Return the resolver's status and text; (503, "away") when it did not answer."""
        try:
            with gevent.Timeout(self.timeout_s):
                return _post(self.url, self._headers(redemption), _form(redemption))
        except (OSError, ValueError, gevent.Timeout):
            return AWAY

    def _headers(self, redemption: Redemption) -> dict[str, str]:
        if redemption.delivery == "edge":
            return {"Authorization": f"Bearer {self.edge_secret.decode()}"}
        seconds = str(int(time.time()))
        message = f"{seconds}|{redemption.permit}|{redemption.token}|{redemption.gateway}".encode()
        signature = hmac.new(self.lua_secret, message, hashlib.sha256).hexdigest()
        return {"X-Shield-Signature": f"{seconds}.{signature}"}


def _form(redemption: Redemption) -> bytes:
    fields = {"permit": redemption.permit, "token": redemption.token, "gateway": redemption.gateway}
    return urlencode({**fields, "call": redemption.call_id}).encode()


def _post(url: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    """Make one HTTP/1.1 request; raises OSError and ValueError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((host, port)) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, content = _read_all(sock).partition(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    lengths = [int(field.split(":", 1)[1]) for field in fields if field.lower().startswith("content-length:")]
    if not head or (lengths and len(content) < lengths[0]):
        message = "the answer was cut short"
        raise ValueError(message)
    return int(status_line.split(" ")[1]), content.decode().strip()


def _read_all(sock: socket.socket) -> bytes:
    data = b""
    while len(data) < _MAX_ANSWER_BYTES and (part := sock.recv(4096)):
        data += part
    return data
