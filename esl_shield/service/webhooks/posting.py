"""One webhook's request: posted from a thread, over a connection that is kept, within a time it cannot outstay.

Invariants: nothing is followed (no redirect, no proxy from the environment), so an event goes where its webhook says or
nowhere; of an answer only the status and ``Retry-After`` are used and at most a few kilobytes read; however a receiver
dawdles (handshake, header by header, body), ``Post.abort`` ends it from outside. What went wrong is one of a few words.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from esl_shield import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_ANSWER_BYTES = 16384
MOST_RETRY_AFTER_S = 3600.0
MOST_IDLE = 16
IDLE_S = 20.0  # receivers close idle connections after a minute or more
_TOO_EARLY, _TOO_MANY, _TIMEOUT, _SERVER = 425, 429, 408, 500
_OK = range(200, 300)
_REUSED_GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


class Outcome(NamedTuple):
    """``problem`` is empty if the event was taken; ``unwell``: the receiver could take none, this event or another."""

    problem: str = ""
    unwell: bool = False
    retry_after_s: float = 0.0


class _Connection:
    """A connection whose socket can be shut from another thread at any moment of its life, its handshake included."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, timeout_s: float) -> None:
        self.used_at: float | None = None
        self.http = http.client.HTTPConnection(host, port, timeout=timeout_s)
        self.http.auto_open = 0  # it would not be encrypted
        self.http.default_port = 443 if context else 80
        self._address = host, port
        self._context = context
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._aborted = False
        self._handle: socket.socket | None = None

    def open(self) -> None:
        """Connect; raises OSError, ssl.SSLError, TimeoutError when it was aborted."""
        made = socket.create_connection(self._address, self._timeout_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._aborted:
                made.close()
                raise TimeoutError
            # TLS takes the descriptor out of the socket it wraps, so a second one is kept to shut.
            self._handle = socket.socket(fileno=os.dup(made.fileno()))
        self.http.sock = self._context.wrap_socket(made, server_hostname=self._address[0]) if self._context else made

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._handle:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            if self._handle:
                self._handle.close()
                self._handle = None
        self.http.close()


class Receiver:
    """One webhook's address and the connections to it; used by several threads."""

    def __init__(self, url: str, context: ssl.SSLContext, timeout_s: float) -> None:
        parts = urlsplit(url)
        self.url = url
        self._address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._context = context if parts.scheme == "https" else None
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []

    def take(self) -> _Connection:
        """Take an idle connection that is young enough, or make one that is not connected yet."""
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took the last one
                connection = self._idle.pop()
                if connection.used_at is not None and time.monotonic() - connection.used_at < IDLE_S:
                    return connection
                connection.close()
        return _Connection(*self._address, self._context, self._timeout_s)

    def keep(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        connection.used_at = time.monotonic()
        self._idle.append(connection)
        if len(self._idle) > MOST_IDLE:
            self._idle.pop(0).close()

    def request(self, connection: _Connection, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a request and read the answer's head."""
        if connection.used_at is None:
            connection.open()
        connection.http.request("POST", self._target, body, dict(headers))
        return connection.http.getresponse()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()


class Post:
    """One attempt. ``run`` is called in a thread, ``abort`` from another when it has taken too long."""

    def __init__(self, receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> None:
        self._receiver = receiver
        self._body = body
        self._headers = {
            "Content-Type": "application/json", "User-Agent": f"esl-shield/{__version__}", **headers,
        }  # fmt: skip
        self._connection: _Connection | None = None
        self._aborted = threading.Event()
        self.began = 0.0

    def run(self) -> Outcome:
        """Post; raises nothing that a receiver or a network can cause."""
        self.began = time.monotonic()
        try:
            outcome = self._attempt(again=True)
        except ssl.SSLError:
            outcome = Outcome("tls_failed", unwell=True)
        except socket.gaierror:
            outcome = Outcome("name_unknown", unwell=True)
        except TimeoutError:
            outcome = Outcome("timeout", unwell=True)
        except ConnectionRefusedError:
            outcome = Outcome("connection_refused", unwell=True)
        except OSError:
            outcome = Outcome("connection_broken", unwell=True)
        except (http.client.HTTPException, ValueError):
            outcome = Outcome("answer_malformed", unwell=True)
        return Outcome("timeout", unwell=True) if outcome.problem and self._aborted.is_set() else outcome

    def abort(self) -> None:
        """End the attempt now, wherever it is."""
        self._aborted.set()
        if self._connection:
            self._connection.abort()

    def _attempt(self, *, again: bool) -> Outcome:
        connection = self._connection = self._receiver.take()
        reused = connection.used_at is not None
        if self._aborted.is_set():
            connection.abort()
        try:
            with self._receiver.request(connection, self._body, self._headers) as response:
                outcome = _judge(response)
                response.read(MOST_ANSWER_BYTES)
                whole = response.isclosed() and not response.will_close
        except _REUSED_GONE:
            connection.close()
            # The receiver closed an idle connection; whether it had read the request is unknown, and twice is allowed.
            if reused and again and not self._aborted.is_set():
                return self._attempt(again=False)
            raise
        except BaseException:
            connection.close()
            raise
        if whole:
            self._receiver.keep(connection)
        else:
            connection.close()
        return outcome


def _judge(response: http.client.HTTPResponse) -> Outcome:
    status = response.status
    if status in _OK:
        return Outcome()
    unwell = status >= _SERVER or status in (_TIMEOUT, _TOO_EARLY, _TOO_MANY)
    after_s = _retry_after(response.headers.get("Retry-After", "")) if unwell else 0.0
    family = {3: "redirect", 4: "client_error", 5: "server_error"}.get(status // 100, "answer_malformed")
    words = {404: "not_found", 410: "gone", 401: "unauthorized", 403: "forbidden", _TOO_MANY: "too_many_requests"}
    return Outcome(words.get(status, family), unwell, after_s)


def _retry_after(text: str) -> float:
    """Read seconds or a date (RFC 9110, 10.2.3); 0 if it is neither."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(int(MOST_RETRY_AFTER_S))):
        return min(float(text), MOST_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(at - time.time(), 0.0), MOST_RETRY_AFTER_S)
