"""gevent's WSGI server made fit for callers we do not know.

Invariants: every wait for a caller ends (head, body, each write); a head is at most MAX_HEAD_BYTES long; a connection
too many is told 503, of twice as many it is closed; who is not on the allow-list is not read from; what is no plain
HTTP/1.1 or 1.0 request is refused and its connection closed, so that a proxy in front and this cannot disagree where a
request ends; nothing of a request, and no traceback with its values, is ever written anywhere.

ADR 30 says why not the reader of ``http``, and what of gevent.pywsgi this takes away.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import struct
from typing import TYPE_CHECKING, Any, cast

import gevent
from gevent import socket
from gevent.pool import Group
from gevent.pywsgi import Input, WSGIHandler, WSGIServer

from esl_shield.api.problems import problem
from esl_shield.config.values import Address
from esl_shield.errors.api import ApiBadRequest, ApiBusy, ApiUnexpected

if TYPE_CHECKING:
    from esl_shield.config.api import HttpConfig
    from esl_shield.errors import ShieldError

LOG = logging.getLogger(__name__)

MAX_HEAD_BYTES = 16 << 10
IDLE_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 10.0
LINGER_S = 0.5
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_REQUEST_LINE = re.compile(r"[A-Z]{1,16} [\x21-\x7e]{1,4096} HTTP/1\.[01]")
_LENGTH = re.compile(r"[0-9]{1,12}")
_ONCE = ("content-length", "transfer-encoding", "host", "authorization", "idempotency-key", "content-type")


def within(seconds: float) -> gevent.Timeout:
    """Return a timer for ``with``; a block that takes longer ends without an error, after its last statement."""
    return gevent.Timeout(seconds, cast("Any", False))


class _NoLog:
    """Takes what pywsgi would print, and keeps nothing."""

    def write(self, text: str) -> None:
        """Drop a line: it quotes the request."""

    def writelines(self, text: list[str]) -> None:
        """Drop lines."""

    def flush(self) -> None:
        """Do nothing."""


class _Head:
    """A request's head, as far as it may go."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = MAX_HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        """Read a line; raises ValueError beyond the head's bound, and for what another reader may end a line at."""
        line: bytes = self._file.readline(min(limit, self._left + 1))
        self._left -= len(line)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if self._left < 0 or b"\r" in text or b"\0" in text:
            raise ValueError
        return line


class _Body(Input):
    """A body that is not read to its end for its own sake: what the application left ends the connection."""

    __slots__ = ()

    @property
    def is_read(self) -> bool:
        """Whether the next byte is the next request's."""
        if self.chunked_input:
            return bool(self.chunk_length == 0)
        return bool(self.position >= (self.content_length or 0))

    def _discard(self) -> None:
        return


class Handler(WSGIHandler):
    """One connection."""

    server: Server
    cut = False

    def handle_one_request(self) -> Any:
        """Answer one request; None ends the connection."""
        self._timer = gevent.Timeout(IDLE_TIMEOUT_S)
        self._timer.start()
        this = gevent.getcurrent()
        self.server.idle.add(this)
        try:
            outcome = super().handle_one_request()
            unread = isinstance(self.wsgi_input, _Body) and not self.wsgi_input.is_read
            if outcome is True and (unread or self.server.draining):
                outcome = None
            if self.cut:
                self._reset()
            elif outcome is not True:
                self._linger(outcome)
        except gevent.Timeout as timer:
            if timer is not self._timer:
                raise
            return None
        except OSError:  # the caller left: nobody is there to be told
            return None
        finally:
            self._timer.close()
            self.server.idle.discard(this)
        return outcome if outcome is True else None

    def _reset(self) -> None:
        """Have the close be a reset: an answer without a length or chunks is whole to whoever sees an ordinary end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _linger(self, outcome: Any) -> None:
        """Send what is left to say and close so that the caller gets it, even if it had more to say."""
        if outcome is not None:
            self.socket.sendall(outcome[1])
        self.socket.shutdown(socket.SHUT_WR)
        with within(LINGER_S):
            while self.socket.recv(4096):
                pass

    def read_requestline(self) -> str:
        """Read the first line; from its first byte on the rest of the head has a time of its own."""
        self.rfile.peek(1)
        self.server.idle.discard(gevent.getcurrent())
        self._timer.close()
        self._timer = gevent.Timeout(self.server.read_timeout_s)
        self._timer.start()
        line: str = super().read_requestline()
        return line

    def read_request(self, raw_requestline: str) -> Any:
        """Read the head; raises ValueError for what is not plainly a request."""
        if not _REQUEST_LINE.fullmatch(raw_requestline.removesuffix("\n").removesuffix("\r")):
            raise ValueError
        super().read_request(raw_requestline)
        for name in _ONCE:
            if len(self.headers.get_all(name) or ()) > 1:
                raise ValueError
        length, coding = self._raw_length, self.headers.get("transfer-encoding")
        if (length is not None and (coding is not None or not _LENGTH.fullmatch(length))) or (
            coding is not None and coding != "chunked"
        ):
            raise ValueError
        return True

    def MessageClass(self, file: Any, *more: Any) -> Any:  # noqa: N802 - pywsgi's name
        """Parse the headers of a bounded head; keeps the length given, which pywsgi forgets of a chunked body."""
        headers = super().MessageClass(cast("Any", _Head(file)), *more)
        folded = any("\n" in value for value in headers.values())
        if folded or headers.defects or headers.get_payload():  # a payload is lines after one that is no header
            raise ValueError
        self._raw_length = headers.get("content-length")
        return headers

    def get_environ(self) -> Any:
        """Make the environment, with a body that nobody reads to its end."""
        environ = super().get_environ()
        given = cast("Input", self.wsgi_input)
        self.wsgi_input = _Body(self.rfile, self.content_length, given.socket, given.chunked_input)
        environ["wsgi.input"] = self.wsgi_input
        return environ

    def handle_one_response(self) -> None:
        """Answer; from here the application and each write have times of their own."""
        self._timer.close()
        self.socket.settimeout(WRITE_TIMEOUT_S)
        try:
            super().handle_one_response()
        finally:
            if "socket" in self.__dict__:
                self.socket.settimeout(None)

    def _handle_client_error(self, ex: BaseException) -> tuple[str, bytes]:
        del ex
        LOG.info("api.bad_request")
        return "400", _refusal("400 Bad Request", ApiBadRequest())

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """Note where, not with what; tell the caller if it was told nothing yet, else break off."""
        self.cut = bool(self.headers_sent) and not self.response_use_chunked
        if issubclass(t, gevent.GreenletExit) or issubclass(t, OSError):
            self.close_connection = True
            return
        LOG.error("api.unexpected", exc_info=(t, v, tb))
        self.close_connection = True
        if not self.headers_sent:
            self.socket.sendall(_refusal("500 Internal Server Error", ApiUnexpected()))

    def log_error(self, msg: str, *args: object) -> None:
        """Drop it: it quotes the request."""

    def log_request(self) -> None:
        """Drop it: the metrics count."""


class Server(WSGIServer):
    """Accepts callers for an application."""

    def __init__(self, config: HttpConfig, application: Any, *, listener: socket.socket | None = None) -> None:
        self.read_timeout_s = config.read_timeout_s
        self.draining = False
        self.idle: set[Any] = set()
        self._allowed = [ipaddress.ip_network(network) for network in config.allow or _LOOPBACK]
        self._max_connections = config.max_connections
        self._connections: Group = Group()
        quiet = cast("Any", _NoLog())
        super().__init__(
            listener or (config.listen.host, config.listen.port), application,
            spawn=cast("Any", self._connections.spawn), log=quiet, error_log=quiet, handler_class=Handler,
            environ={"SERVER_NAME": "esl-shield"},  # else it asks the DNS
        )  # fmt: skip

    @property
    def where(self) -> Address:
        """Where it listens; the port is the real one once started."""
        return Address(self.server_host or "", self.server_port or 0)

    def handle(self, sock: Any, address: Any) -> None:
        """Carry one connection."""
        if not self._allows(address[0]) or len(self._connections) > 2 * self._max_connections:
            sock.close()
            return
        if len(self._connections) > self._max_connections:
            with contextlib.suppress(OSError), contextlib.closing(sock), within(LINGER_S):
                sock.sendall(_refusal("503 Service Unavailable", ApiBusy()))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            return
        super().handle(sock, address)

    def drain(self, drain_s: float) -> None:
        """Accept no more, let requests under way finish for at most ``drain_s`` seconds, then cut them."""
        self.draining = True
        self.close()
        for waiting in list(self.idle):
            gevent.kill(waiting)
        self._connections.join(timeout=drain_s)
        self._connections.kill(block=True, timeout=1.0)

    def _allows(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._allowed)


def _refusal(status: str, error: ShieldError) -> bytes:
    _, _, body = problem(error)
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
