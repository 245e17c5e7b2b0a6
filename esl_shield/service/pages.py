"""``GET /metrics``, ``/livez``, ``/readyz`` and ``/healthz`` of a process, on a loopback address of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from esl_shield.config.resolver import ResolverConfig
from esl_shield.errors.config import ConfigError
from esl_shield.resolver.app import METRICS_TYPE
from esl_shield.resolver.healthpages import answer_health
from esl_shield.resolver.http import reply
from esl_shield.resolver.listener import Listener, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config.values import Address
    from esl_shield.resolver.healthpages import Parts
    from esl_shield.resolver.http import Request


_AWAY = Reply(reply("503 Service Unavailable", b"away", close=True), close=True)


class Pages:
    """A loopback listener with these pages; the resolver's listener behind it bounds time and memory."""

    def __init__(self, listen: Address, metrics_page: Callable[[], bytes], parts: Callable[[], Parts]) -> None:
        self._metrics_page = metrics_page
        self._parts = parts
        self._listener = Listener(ResolverConfig(listen=listen), self)

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one once started."""
        return self._listener.address

    def start(self) -> None:
        """Answer; raises ConfigError when the address cannot be had."""
        try:
            self._listener.start()
        except OSError as error:
            problem = f"the address cannot be had ({os.strerror(error.errno or 0)})"
            raise ConfigError(source="[metrics] listen", problem=problem) from None

    def stop(self) -> None:
        """Close the listener."""
        self._listener.stop(1.0)

    def answer(self, request: Request, *, closing: bool) -> Reply:
        """Answer one request."""
        if request.method != "GET":
            return self.reject("method")
        if request.target == "/metrics":
            page = reply("200 OK", self._metrics_page(), close=closing, content_type=METRICS_TYPE)
            return Reply(page, close=closing)
        return answer_health(request.target, self._parts, closing=closing) or self.reject("path")

    def reject(self, reason: str) -> Reply:  # noqa: ARG002 - nobody needs to be told why
        """Refuse what is none of the pages."""
        return Reply(reply("404 Not Found", b"refused", close=True), close=True)

    def turn_away(self) -> Reply:
        """Say 503 to a connection too many."""
        return _AWAY

    def shut_out(self) -> None:
        """Take no note: only loopback can be listened on."""
