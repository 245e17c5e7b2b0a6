"""``GET /metrics``, ``/livez``, ``/readyz`` and ``/healthz`` of a process, on a loopback address of its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gevent import socket

from esl_shield.config.resolver import ResolverConfig
from esl_shield.http.healthpages import answer_health
from esl_shield.http.listener import Listener
from esl_shield.http.messages import Reply, reply
from esl_shield.resolver.app import METRICS_TYPE
from esl_shield.service.inherited import METRICS, Inherited, check

if TYPE_CHECKING:
    import socket as stdlib
    from collections.abc import Callable

    from esl_shield.config.values import Address
    from esl_shield.http.healthpages import Parts
    from esl_shield.http.messages import Request

KEY = "[metrics] listen"


def pages(
    listen: Address | None, inherited: Inherited, metrics_page: Callable[[], bytes], parts: Callable[[], Parts]
) -> Pages | None:
    """Return the pages of a process, on a listener it was started with or one of its own; None when it has none.

    Under a supervisor processes of one configuration have a port each, from the configured one on.
    """
    if listen is None:
        return None
    given = inherited.get(METRICS)
    if given is not None:
        check(given, dataclasses.replace(listen, port=0), key=KEY)
    return Pages(listen, metrics_page, parts, adopted(given))


def adopted(listener: stdlib.socket | None) -> socket.socket | None:
    """Return a listener this process was started with as gevent's."""
    return None if listener is None else socket.socket(fileno=listener.detach())


_AWAY = Reply(reply("503 Service Unavailable", b"away", close=True), close=True)


class Pages:
    """A loopback listener with these pages; the resolver's listener behind it bounds time and memory."""

    def __init__(
        self, listen: Address, metrics_page: Callable[[], bytes], parts: Callable[[], Parts],
        listener: socket.socket | None = None,
    ) -> None:  # fmt: skip
        self._metrics_page = metrics_page
        self._parts = parts
        self._listener = Listener(ResolverConfig(listen=listen), self, key=KEY, listener=listener)

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one once started."""
        return self._listener.address

    def start(self) -> None:
        """Answer; raises ConfigError when the address cannot be had."""
        self._listener.start()

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
