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
    from collections.abc import Iterable, Iterator

    from esl_shield.config.crm import CrmConfig
    from esl_shield.resolver.permits import Redeemed
    from esl_shield.vault.numbers import SubscriberNumber
    from esl_shield.vault.prefixes import TokenPrefix

IDLE_S = 30.0
ADDRESSES_S = 60.0
_MAX_KEY_BYTES = 64 << 10
_GONE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class CrmMethod:
    """Asks the service of the token's tenant; a number its prefix does not allow is refused."""

    name = CRM
    budget_s = 0.9  # past the longest time-out, which says more

    def __init__(self, services: Iterable[CrmService]) -> None:
        self._services = {service.tenant: service for service in services}

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
        if kept is not None:
            with contextlib.suppress(*_GONE), _translated():
                return self._ask_over(kept, redeemed)
        with _translated(*_GONE):
            return self._ask_over(self._connect(), redeemed)

    def _ask_over(self, connection: _Connection, redeemed: Redeemed) -> SubscriberNumber | None:
        question = crmtalk.ask(
            self._secret, self._path, tenant=self.tenant, token=redeemed.token, call=redeemed.call,
            now_s=int(time.time()),
        )  # fmt: skip
        answer = self._send(connection, question)
        return crmtalk.read(self._secret, question, *answer, now_s=int(time.time()), skew_s=self._config.clock_skew_s)

    def _send(self, connection: _Connection, question: crmtalk.Question) -> _Answer:
        whole = False
        try:
            connection.request("POST", self._path, question.body, question.headers)
            response = connection.getresponse()
            body = response.read(crmtalk.MAX_ANSWER_BYTES + 1)
            if len(body) > crmtalk.MAX_ANSWER_BYTES:
                raise _away("size")
            whole = response.isclosed() and not response.will_close
            return _Answer(response.status, response.headers, body)
        finally:
            if whole and len(self._idle) < self._config.max_requests:
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

    def _connect(self) -> _Connection:
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in self._look_up():
            plain = socket.socket(family, kind, protocol)
            try:
                plain.connect(address)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Connection(self._host, self._port, self._context.wrap_socket(plain, server_hostname=self._host))
            except ssl.SSLError:
                plain.close()
                raise
            except OSError as error:
                plain.close()
                failure = error
            except BaseException:
                plain.close()
                raise
        self._addresses = (0.0, [])
        raise failure

    def _look_up(self) -> list[tuple[Any, ...]]:
        """Return the host's addresses, looked up in a thread once a minute."""
        until, found = self._addresses
        if time.monotonic() >= until:
            found = socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)
            self._addresses = (time.monotonic() + ADDRESSES_S, found)
        return found


@contextlib.contextmanager
def _translated(*but: type[Exception]) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into MethodAway; what a kept connection's end raises only if named."""
    try:
        yield
    except MethodAway:
        raise
    except _GONE as error:
        if not isinstance(error, but or ()):
            raise
        what = "away"
    except ssl.SSLCertVerificationError:
        what = "certificate"
    except ssl.SSLError:
        what = "tls"
    except OSError:
        what = "away"
    except http.client.HTTPException:
        what = "answer"
    else:
        return
    raise _away(what)


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
