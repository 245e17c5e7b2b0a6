"""Requests with numbers, passed on to the tokeniser as they came.

Invariants: what is passed on was checked, and is kept nowhere; the caller's own key goes along, since the tokeniser
takes nobody's word for whose request it is; every wait has an end. Whoever wants numbers not even to pass here lets the
proxy in front send these paths to the tokeniser, or the CRM ask it directly: it answers the same.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
from typing import TYPE_CHECKING

import gevent
from gevent import socket

from esl_shield.api.app import Answer, Asked, Handler
from esl_shield.errors.api import TokeniserAway

if TYPE_CHECKING:
    from esl_shield.config.values import Address

LOG = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 1 << 20
_PASSED_BACK = ("WWW-Authenticate", "Retry-After")


def handlers(tokeniser: Address, timeout_s: float) -> dict[str, Handler]:
    """Return the handlers of operations that take numbers."""

    def forward(path: str) -> Handler:
        return lambda asked: _forward(tokeniser, timeout_s, path, asked)

    return {"tokenise": forward("/v1/tokens"), "tokenise_batch": forward("/v1/tokens:batch")}


def _forward(tokeniser: Address, timeout_s: float, path: str, asked: Asked) -> Answer:
    headers = {"Authorization": asked.authorization, "Content-Type": "application/json"}
    if "Idempotency-Key" in asked.parameters:
        headers["Idempotency-Key"] = asked.parameters["Idempotency-Key"]
    connection = http.client.HTTPConnection(tokeniser.host, tokeniser.port)
    with contextlib.closing(connection):
        try:
            with gevent.Timeout(timeout_s, TimeoutError()):
                # gevent's socket: http.client's own would hold up every other request
                connection.sock = socket.create_connection((tokeniser.host, tokeniser.port))
                connection.request("POST", path, asked.raw, headers)
                response = connection.getresponse()
                body = response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            LOG.warning("api.tokeniser_away", extra={"fields": {"kind": type(error).__name__}})
            raise TokeniserAway from None
    back = {name: value for name in _PASSED_BACK if (value := response.getheader(name))}
    return Answer(response.status, raw=body, media_type=response.getheader("Content-Type") or "", headers=back)
