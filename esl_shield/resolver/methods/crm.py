"""The method crm: the tenant's own service is asked which number a token stands for.

Invariants: asking, from the look-up of the name to the last byte, takes ``timeout_s`` at most and never blocks the hub:
sockets, TLS and look-ups are gevent's; no proxy, redirect or cookie is followed or kept; an answer is read up to 4 kB;
only a certificate of ``ca`` for the URL's host is talked to; a connection is used again only after a whole answer, and
asked again (with another nonce) is only when a kept connection turned out to be closed before any answer came.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import ssl
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
from gevent import socket
from gevent.ssl import SSLContext

from esl_shield.config import private_file
from esl_shield.config.private_file import PrivateFileRefusedError
from esl_shield.config.secretfile import read_secret
from esl_shield.errors.config import ConfigError
from esl_shield.errors.methods import MethodAway, MethodRefused
from esl_shield.resolver.methods import crmtalk
from esl_shield.vault.prefixes import CRM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esl_shield.config.crm import CrmConfig
    from esl_shield.resolver.permits import Redeemed
    from esl_shield.vault.numbers import SubscriberNumber
    from esl_shield.vault.prefixes import TokenPrefix

IDLE_S = 30.0
ADDRESSES_S = 60.0
_MAX_KEY_BYTES = 64 << 10
_CLOSED = "closed"
_GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class CrmMethod:
    """Asks the service of the token's tenant; a number its prefix does not allow is refused."""

    name = CRM
    budget_s = 0.9  # past the longest time-out, which says more

    def __init__(self, services: Iterable[CrmService]) -> None:
        self._services = {service.tenant: service for service in services}

    def close(self) -> None:
        """Close the connections that are kept."""
        for service in self._services.values():
            service.close()

    def number_of(self, redeemed: Redeemed, prefix: TokenPrefix) -> SubscriberNumber:
        """Return the token's number; raises MethodRefused, MethodAway."""
        service = self._services.get(prefix.tenant)
        if service is None:
            raise MethodAway(method=CRM, reason="crm_unconfigured")
        number = service.ask(redeemed)
        if number is None:
            raise MethodRefused(method=CRM, reason="crm_unknown")
        if not prefix.allows(number):
            raise MethodRefused(method=CRM, reason="crm_not_allowed")
        return number


class _Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is connected already; it never connects again by itself."""

    auto_open = 0

    def __init__(self, host: str, port: int, sock: Any) -> None:
        super().__init__(host, port)
        self.sock = sock
        self.idle_since = 0.0

    def is_usable(self) -> bool:
        """Whether it was kept for a short time and the other side has neither closed it nor said anything."""
        if time.monotonic() > self.idle_since + IDLE_S:
            return False
        waiting = select.poll()
        waiting.register(self.sock.fileno(), select.POLLIN)
        return not waiting.poll(0)


class CrmService:
    """One tenant's service; safe to call from many greenlets."""

    def __init__(self, config: CrmConfig) -> None:
        """Read secret and certificates; raises ConfigError. Connects nowhere."""
        self.tenant = config.tenant
        self._config = config
        self._host, self._port, self._path = config.place
        self._secret = read_secret("secret", config.secret, table="[[crm]] ")
        self._context = _context(config)
        self._idle: list[_Connection] = []
        self._addresses: tuple[float, list[tuple[Any, ...]]] = (0.0, [])
        self._under_way = 0
        self._closed = False

    def ask(self, redeemed: Redeemed) -> SubscriberNumber | None:
        """Return the number of a redeemed permit's token, None when the service knows none; raises MethodAway."""
        if self._under_way >= self._config.max_requests:
            raise _away("busy")
        self._under_way += 1
        try:
            with gevent.Timeout(self._config.timeout_s, _away("slow")):
                return self._ask(redeemed)
        finally:
            self._under_way -= 1

    def _ask(self, redeemed: Redeemed) -> SubscriberNumber | None:
        """Ask over a kept connection, or a new one where there is none or it was closed; raises MethodAway."""
        kept = self._take_idle()
        number, failed = _attempt(lambda: self._ask_over(kept or self._connect(), redeemed))
        if failed == _CLOSED and kept is not None:
            number, failed = _attempt(lambda: self._ask_over(self._connect(), redeemed))
        if failed:
            raise _away("away" if failed == _CLOSED else failed)
        return number

    def _ask_over(self, connection: _Connection, redeemed: Redeemed) -> SubscriberNumber | None:
        question = crmtalk.ask(
            self._secret, self._path, tenant=self.tenant, token=redeemed.token, call=redeemed.call,
            now_s=int(time.time()),
        )  # fmt: skip
        answer = self._send(connection, question)
        return crmtalk.read(self._secret, question, *answer, now_s=int(time.time()), skew_s=self._config.clock_skew_s)

    def _send(self, connection: _Connection, question: crmtalk.Question) -> _Answer:
        whole = False
        with contextlib.ExitStack() as closing:
            closing.callback(lambda: self._put_back(connection, whole=whole))
            connection.request("POST", self._path, question.body, question.headers)
            response = closing.enter_context(connection.getresponse())
            body = response.read(crmtalk.MAX_ANSWER_BYTES + 1)
            if len(body) > crmtalk.MAX_ANSWER_BYTES:
                raise _away("size")
            whole = response.isclosed() and not response.will_close
            return _Answer(response.status, response.headers, body)

    def _put_back(self, connection: _Connection, *, whole: bool) -> None:
        if whole and not self._closed and len(self._idle) < self._config.max_requests:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Close the connections that are kept, and keep none from now on."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> _Connection:
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in self._look_up():
            try:
                return self._connect_to(socket.socket(family, kind, protocol), address)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
        self._addresses = (0.0, [])
        raise failure

    def _connect_to(self, opened: Any, address: Any) -> _Connection:
        try:
            opened.connect(address)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened = self._context.wrap_socket(opened, server_hostname=self._host, do_handshake_on_connect=False)
            opened.do_handshake()
        except BaseException:
            opened.close()
            raise
        return _Connection(self._host, self._port, opened)

    def _look_up(self) -> list[tuple[Any, ...]]:
        """Return the host's addresses, looked up in a thread once a minute."""
        until, found = self._addresses
        if time.monotonic() >= until:
            found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)
            self._addresses = (time.monotonic() + ADDRESSES_S, found)
        return found


def _attempt(work: Callable[[], SubscriberNumber | None]) -> tuple[SubscriberNumber | None, str]:
    """Do it and say what failed, if anything did; the error itself, which may hold the answer's bytes, ends here."""
    try:
        return work(), ""
    except _GONE:
        failed = _CLOSED
    except ssl.SSLCertVerificationError:
        failed = "certificate"
    except ssl.SSLError:
        failed = "tls"
    except OSError:
        failed = "away"
    except http.client.HTTPException:
        failed = "answer"
    return None, failed


def _away(what: str) -> MethodAway:
    return MethodAway(method=CRM, reason=f"crm_{what}")


def _context(config: CrmConfig) -> SSLContext:
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if config.ca:
            context.load_verify_locations(config.ca)
        else:
            context.load_default_certs()
    except OSError as error:
        raise ConfigError(source="[[crm]] ca", problem=_unread(config.ca, error)) from None
    if config.certificate:
        _load_client(context, config)
    return context


def _load_client(context: SSLContext, config: CrmConfig) -> None:
    path = config.key.removeprefix("file:")
    try:
        private_file.read(path, _MAX_KEY_BYTES)
        # A key with a passphrase is refused: OpenSSL would ask the terminal for it.
        context.load_cert_chain(config.certificate, path, password=lambda: b"")
    except PrivateFileRefusedError as error:
        problem = f"{path} {error}"
    except OSError as error:
        problem = _unread(f"{config.certificate} with {path}", error)
    else:
        return
    raise ConfigError(source="[[crm]] key", problem=problem)


def _unread(path: str, error: OSError) -> str:
    why = "it is not PEM, or the two do not belong together" if isinstance(error, ssl.SSLError) else error.strerror
    return f"{path} cannot be used ({why})"
