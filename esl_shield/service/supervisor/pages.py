"""``GET /metrics``, ``/livez``, ``/readyz`` and ``/healthz`` of the supervisor, without gevent and without a thread.

Invariants: a connection has REQUEST_S to ask and to take its answer, and MOST may at a time: beyond that the oldest is
closed; nothing here waits.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from esl_shield.errors.process import AddressTaken
from esl_shield.errors.resolver import RequestRejected
from esl_shield.http.healthpages import answer_health
from esl_shield.http.messages import RequestReader, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config.values import Address
    from esl_shield.http.healthpages import Parts

MOST = 32
REQUEST_S = 2.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CHUNK_BYTES = 4096


class Pages:
    """The pages behind a listener, served whenever ``turn`` is called."""

    def __init__(self, listen: Address, metrics_page: Callable[[], bytes], parts: Callable[[], Parts]) -> None:
        """Bind; raises AddressTaken."""
        self.listen = listen
        self._metrics_page, self._parts = metrics_page, parts
        self._open: list[_Connection] = []
        self._socket = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((listen.host, listen.port))
            self._socket.listen(MOST)
        except OSError as error:
            self._socket.close()
            raise AddressTaken(address=listen, problem=error.strerror or "") from None
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """The real port."""
        return int(self._socket.getsockname()[1])

    def sockets(self) -> list[socket.socket]:
        """Return what to wait for."""
        return [self._socket, *(connection.sock for connection in self._open)]

    def turn(self, now: float) -> None:
        """Take connections, read what there is, answer what was asked."""
        with contextlib.suppress(OSError):
            while True:
                self._open.append(_Connection(self._socket.accept()[0], now + REQUEST_S))
        for connection in self._open[:-MOST]:
            connection.deadline = now
        for connection in list(self._open):
            if connection.turn(self._answer) or now >= connection.deadline:
                connection.sock.close()
                self._open.remove(connection)

    def close(self) -> None:
        """Close everything."""
        for connection in self._open:
            connection.sock.close()
        self._socket.close()

    def _answer(self, method: str, target: str) -> bytes:
        match method, target:
            case "GET", "/metrics":
                return reply("200 OK", self._metrics_page(), close=True, content_type=METRICS_TYPE)
            case "GET", _ if page := answer_health(target, self._parts, closing=True):
                return page.data
        return _REFUSED


_REFUSED = reply("404 Not Found", b"refused", close=True)


class _Connection:
    """One request and its answer."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        sock.setblocking(False)
        self.sock, self.deadline = sock, deadline
        self._reader = RequestReader()
        self._left = b""
        self._answered = False

    def turn(self, answer: Callable[[str, str], bytes]) -> bool:
        """Go on without waiting; True when it is over."""
        try:
            if not self._answered:
                data = self.sock.recv(_CHUNK_BYTES)
                if not data:
                    return True
                self._reader.feed(data)
                request = self._reader.next_request()
                if request is None:
                    return False
                self._left, self._answered = answer(request.method, request.target), True
            self._left = self._left[self.sock.send(self._left) :]
        except RequestRejected:
            self._left, self._answered = _REFUSED, True
            return False
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not self._left
