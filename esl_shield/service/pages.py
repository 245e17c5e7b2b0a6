"""``GET /metrics`` and ``GET /healthz`` of a process that has no other HTTP listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esl_shield.config.resolver import ResolverConfig
from esl_shield.http.listener import Listener, Reply
from esl_shield.http.messages import reply
from esl_shield.resolver.app import METRICS_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config.values import Address
    from esl_shield.http.messages import Request


_AWAY = Reply(reply("503 Service Unavailable", b"away", close=True), close=True)


class Pages:
    """A loopback listener with two pages; the resolver's listener behind it bounds time and memory."""

    def __init__(self, listen: Address, metrics_page: Callable[[], bytes], is_well: Callable[[], bool]) -> None:
        self._metrics_page = metrics_page
        self._is_well = is_well
        self._listener = Listener(ResolverConfig(listen=listen), self)

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one once started."""
        return self._listener.address

    def start(self) -> None:
        """Answer; raises OSError when the address cannot be had."""
        self._listener.start()

    def stop(self) -> None:
        """Close the listener."""
        self._listener.stop(1.0)

    def answer(self, request: Request, *, closing: bool) -> Reply:
        """Answer one request."""
        match request.method, request.target:
            case "GET", "/healthz":
                return Reply(reply("200 OK", b"ok", close=closing), close=closing) if self._is_well() else _AWAY
            case "GET", "/metrics":
                page = reply("200 OK", self._metrics_page(), close=closing, content_type=METRICS_TYPE)
                return Reply(page, close=closing)
        return self.reject("path")

    def reject(self, reason: str) -> Reply:  # noqa: ARG002 - nobody needs to be told why
        """Refuse what is not one of the two pages."""
        return Reply(reply("404 Not Found", b"refused", close=True), close=True)

    def turn_away(self) -> Reply:
        """Say 503 to a connection too many."""
        return _AWAY

    def shut_out(self) -> None:
        """Take no note: only loopback can be listened on."""
