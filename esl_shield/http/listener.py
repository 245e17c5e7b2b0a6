"""The TCP side of a small HTTP server: who may connect, how long a request may take, how much is held for it.

Invariants: every wait has an end; memory is bounded by ``max_connections`` times what one request may hold; a
connection too many is told 503 at once instead of being left to wait, and of twice as many it is just closed; only
callers on the allow-list (without one: on this machine) are read from at all. Nothing a caller sent is ever logged.

Built on gevent's StreamServer and not on gevent.pywsgi: that prints tracebacks and request lines on bad input, answers
400, 414 and 500 in its own words, which tells a stranger what was wrong, dates every reply and looks up its own name
in the DNS when it starts.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket as _socket
from typing import TYPE_CHECKING, ParamSpec, Protocol

import gevent
from gevent.pool import Group
from gevent.server import StreamServer

from esl_shield.config.values import Address
from esl_shield.errors.config import ConfigError
from esl_shield.errors.resolver import RequestRejected
from esl_shield.http.messages import MAX_BODY_BYTES, Reply, Request, RequestReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent import socket
    from greenlet import greenlet


REQUEST_TIMEOUT_S = 2.0
IDLE_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 2.0
LINGER_S = 0.5
_CHUNK_BYTES = 4096
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_P = ParamSpec("_P")
_LOOPBACK = ("127.0.0.0/8", "::1/128")


def within(seconds: float) -> gevent.Timeout:
    """Return a timer for ``with``; a block that takes longer ends without an error, after its last statement."""
    return gevent.Timeout(seconds, False)  # type: ignore[arg-type] # gevent: False means without an error


class Limits(Protocol):
    """The part of a section of the configuration a listener reads."""

    @property
    def listen(self) -> Address:
        """Where to listen."""

    @property
    def allow(self) -> tuple[str, ...]:
        """Networks callers are in; none means this machine."""

    @property
    def max_connections(self) -> int:
        """How many callers are heard at once."""


class Site(Protocol):
    """What is behind the listener."""

    def answer(self, request: Request, *, closing: bool) -> Reply:
        """Answer a request; ``closing`` says that the connection ends with the reply."""

    def reject(self, reason: str) -> Reply:
        """Answer what was not a request."""

    def turn_away(self) -> Reply:
        """Answer a connection there is no room for, before reading from it."""

    def shut_out(self) -> None:
        """Take note of a connection from an address that may not connect; it gets no answer."""


class Listener:
    """Accepts callers and carries their requests to a site, one greenlet a connection."""

    def __init__(
        self, config: Limits, site: Site, *, key: str, listener: socket.socket | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:  # fmt: skip
        """``key`` is what the address is called in the configuration, such as ``[intake] listen``."""
        self._key = key
        self._site = site
        self._max_body_bytes = max_body_bytes
        self._allowed = [ipaddress.ip_network(network) for network in config.allow or _LOOPBACK]
        self._max_connections = config.max_connections
        self._connections: Group = Group()
        self._idle: set[greenlet] = set()
        self._draining = False
        where = listener or (config.listen.host, config.listen.port)
        self._server = StreamServer(where, self._converse, spawn=self._spawn)

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one once started."""
        return Address(self._server.server_host or "", self._server.server_port or 0)

    def start(self) -> None:
        """Bind and accept; raises ConfigError when the address cannot be had."""
        try:
            self._server.start()
        except OSError as error:
            problem = f"the address cannot be had ({os.strerror(error.errno or 0)})"
            raise ConfigError(source=self._key, problem=problem) from None

    def wait(self) -> None:
        """Return when ``stop`` was called."""
        self._server.serve_forever()

    def stop(self, drain_s: float) -> None:
        """Accept no more, let requests under way finish for at most ``drain_s`` seconds, then cut them."""
        self._draining = True
        self._server.close()
        for waiting in list(self._idle):
            gevent.kill(waiting)
        self._connections.join(timeout=drain_s)
        self._connections.kill(block=True, timeout=1.0)

    def _spawn(self, handle: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> greenlet:
        """Run a connection in a greenlet of the group: a pool in its place would stop accepting when full."""
        return self._connections.spawn(handle, *args, **kwargs)

    def _converse(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if not self._allows(address[0]):
            self._site.shut_out()
            return
        if len(self._connections) > 2 * self._max_connections:
            self._site.turn_away()
            return
        with contextlib.suppress(OSError):  # the caller left: nobody is there to be told
            if len(self._connections) > self._max_connections:
                self._send_last(sock, self._site.turn_away())
            else:
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
                self._exchange(sock)

    def _allows(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._allowed)

    def _exchange(self, sock: socket.socket) -> None:
        """Answer requests until the caller or we have had enough."""
        reader = RequestReader(self._max_body_bytes)
        served = 0
        while True:
            try:
                request = self._next_request(sock, reader, may_idle=served > 0)
            except RequestRejected as error:
                self._send_last(sock, self._site.reject(error.reason))
                return
            if request is None:
                return
            reply = self._site.answer(request, closing=self._draining or not request.keep_alive)
            if reply.close:
                self._send_last(sock, reply)
                return
            _send(sock, reply.data)
            del reply, request  # an idle connection remembers neither a number nor a secret
            served += 1

    def _next_request(self, sock: socket.socket, reader: RequestReader, *, may_idle: bool) -> Request | None:
        """Read one request; None when the caller closed or stayed silent. Raises RequestRejected, OSError."""
        request = reader.next_request()
        if request is None and reader.is_empty and may_idle:
            data = self._idle_receive(sock)
            if not data:
                return None
            reader.feed(data)
            request = reader.next_request()
        if request is not None:  # a whole one at once needs no timer
            return request
        with within(REQUEST_TIMEOUT_S):
            while (request := reader.next_request()) is None:
                if reader.asks_to_continue():
                    sock.sendall(_CONTINUE)
                data = sock.recv(_CHUNK_BYTES)
                if not data:
                    return None
                reader.feed(data)
            return request
        if reader.is_empty:
            return None
        raise RequestRejected(reason="slow")

    def _idle_receive(self, sock: socket.socket) -> bytes:
        """Wait for the first bytes of another request; a drain ends this wait."""
        this = gevent.getcurrent()
        self._idle.add(this)
        try:
            with within(0.0 if self._draining else IDLE_TIMEOUT_S):
                return sock.recv(_CHUNK_BYTES)
            return b""
        finally:
            self._idle.discard(this)

    @staticmethod
    def _send_last(sock: socket.socket, reply: Reply) -> None:
        """Send and close so that the caller gets the reply even when it had more to say (else TCP resets it away)."""
        _send(sock, reply.data)
        sock.shutdown(_socket.SHUT_WR)
        with within(LINGER_S):
            while sock.recv(_CHUNK_BYTES):
                pass


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sent = sock.send(data, 0, 0.0)  # type: ignore[call-arg] # gevent: without waiting, so without a timer
    except BlockingIOError:
        sent = 0
    if sent == len(data):
        return
    with within(WRITE_TIMEOUT_S):
        sock.sendall(data[sent:])
        return
    raise TimeoutError
