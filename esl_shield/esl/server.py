"""The listener FreeSWITCH's ``socket`` application connects to: admission, isolation of failures, drain.

Invariants:

- Admission is decided before a byte is read: an address outside ``allow`` is closed; a call within ``max_calls`` that
  did not wait too long for its turn (``patience``) goes to ``handle``; any other goes to ``overflow``, of
  which ``reserve`` run at once and the rest wait their turn. FreeSWITCH leaves a call silent when its socket is closed
  before ``connect`` (mod_event_socket.c:539), so no admitted socket is closed unanswered and accepting never stops to
  shed load.
- A handler's exception ends its own call: counted, logged by its type and error id alone, and, when FreeSWITCH had not
  yet been told what to do with the call, answered by ``overflow``.
- On a listener shared with other processes, a full worker lets the others go first, and takes what they leave.
- Running out of file descriptors pauses accepting for ``_EXHAUSTED_PAUSE_S`` at a time; it never spins.
- ``drain`` takes what already waits in the listen queue, closes the listener and only then waits for the calls;
  ``abandon`` ends the handlers of those that are left, so that each can say what it knows of its call.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import gevent
from gevent import socket
from gevent.event import Event as Signal
from gevent.lock import Semaphore

from esl_shield.errors import ShieldError
from esl_shield.errors.freeswitch import SessionGone
from esl_shield.esl.acceptor import BACKLOG, Acceptor
from esl_shield.esl.patience import Patience
from esl_shield.esl.session import Session

if TYPE_CHECKING:
    from greenlet import greenlet

    from esl_shield.config.calls import EslConfig

Handler = Callable[[Session], None]

_LAST_ACK_MS = struct.Struct("=56xI")
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}

_log = logging.getLogger(__name__)


class Server:
    """Accepts calls; each runs ``handle`` or ``overflow`` in its own greenlet, with a Session that closes afterwards.

    ``on_event`` hears, for the metrics, one of: ``accepted``, ``overflow``, ``late`` (waited too long), ``denied``,
    ``gone`` (FreeSWITCH ended the socket before the handler was done), ``handler_error``, ``accept_error``, ``ended``.
    """

    def __init__(
        self,
        config: EslConfig,
        handle: Handler,
        overflow: Handler,
        *,
        keep: frozenset[str],
        keep_events: frozenset[str] | None = None,
        listener: socket.socket | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        self._config = config
        self._handle = handle
        self._overflow = overflow
        self._keep, self._keep_events = keep, keep_events
        self._allow = tuple(ipaddress.ip_network(network) for network in config.allow)
        self._on_event = on_event
        self._active = 0
        self._sessions: dict[greenlet, Session] = {}
        self._idle = Signal()
        self._idle.set()
        self._complained = False
        self._reserve = Semaphore(config.reserve)
        self._patience = Patience(config.admission_timeout_s)
        self._acceptor = Acceptor(
            listener or _listen(config), self._serve, self._accept_failed,
            gives_way=(lambda: self._active >= config.max_calls) if listener else None,
        )  # fmt: skip
        self.counts: Counter[str] = Counter()

    @property
    def address(self) -> tuple[str, int]:
        """The address and port the listener is bound to."""
        host, port = cast("tuple[str, int]", self._acceptor.address[:2])
        return host, port

    @property
    def active(self) -> int:
        """Calls in ``handle`` right now."""
        return self._active

    @property
    def overflowing(self) -> int:
        """Sockets beyond the slots that are being answered, or wait for it."""
        return len(self._sessions) - self._active

    @property
    def accepting(self) -> bool:
        """Whether the listener is open."""
        return bool(self._acceptor.started)

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()

    def drain(self, timeout_s: float) -> int:
        """Close the listener, wait at most ``timeout_s`` seconds for the calls; returns how many are left."""
        self._acceptor.accept_waiting()
        self._acceptor.close()
        gevent.sleep(0)  # what was just accepted is counted in its own greenlet
        return self.wait_idle(timeout_s)

    def wait_idle(self, timeout_s: float) -> int:
        """Wait at most ``timeout_s`` seconds until no call is open; returns how many are left."""
        self._idle.wait(timeout_s)
        if self._sessions:
            self._idle.clear()  # a hastened wait ends only once
        return len(self._sessions)

    def hasten(self) -> None:
        """End the wait of a drain; the calls are told as left."""
        self._idle.set()

    def abandon(self, timeout_s: float = 1.0) -> int:
        """Close every open session, so that handlers find out and end; end those that did not in ``timeout_s`` seconds.

        Calls stay up in FreeSWITCH. Returns how many handlers are left after as long again: none, unless one hangs.
        """
        for session in self._sessions.values():
            gevent.spawn(session.close)
        if self.wait_idle(timeout_s):
            gevent.killall(list(self._sessions), block=True, timeout=timeout_s)
        return len(self._sessions)

    def _serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self._complained = False
        if not self._allowed(address[0]):
            self._count("denied")
            sock.close()
            return
        this = gevent.getcurrent()
        self._idle.clear()
        session = self._sessions[this] = self._session(sock, address)
        session.arrived -= (waited_s := _waited_s(sock))
        self._acceptor.take_along(waited_s)
        try:
            self._admit(session)
        finally:
            session.close()
            del self._sessions[this]
            self._count("ended")
            if not self._sessions:
                self._idle.set()

    def _admit(self, session: Session) -> None:
        full, now = self._active >= self._config.max_calls, time.monotonic()
        if self._patience.is_over(now - session.arrived, now) or full:
            self._count("overflow" if full else "late")
            self._answer(session)
            return
        self._count("accepted")
        self._active += 1
        try:
            if not self._run(self._handle, session):
                self._answer(session)
        finally:
            self._active -= 1

    def _answer(self, session: Session) -> None:
        with self._reserve:
            self._run(self._overflow, session)

    def _run(self, handler: Handler, session: Session) -> bool:
        """Run a handler; False when it failed before FreeSWITCH was told what to do with the call."""
        try:
            handler(session)
        except SessionGone:
            self._count("gone")
        except (Exception, gevent.Timeout) as error:  # noqa: BLE001 - one call's failure must not reach another's
            self._count("handler_error")
            error_id = error.error_id if isinstance(error, ShieldError) else "-"
            _log.error("a call's handler failed: %s %s", type(error).__name__, error_id)
            return session.commanded or not session.connected
        return True

    def _session(self, sock: socket.socket, address: tuple[str, int]) -> Session:
        with suppress(OSError):  # a connection that is already gone is found out by the first read
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        timeout_s = self._config.command_timeout_s
        return Session(sock, address, keep=self._keep, keep_events=self._keep_events, command_timeout_s=timeout_s)

    def _allowed(self, host: str) -> bool:
        if not self._allow:
            return True  # only a loopback listener may have no list: config sees to it
        address = ipaddress.ip_address(host.split("%", 1)[0])
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self._allow)

    def _accept_failed(self, error: OSError) -> None:
        self._count("accept_error")
        if not self._complained:
            self._complained = True
            _log.error("cannot accept calls: %s; raise the limit of open files", os.strerror(error.errno or 0))

    def _count(self, event: str) -> None:
        self.counts[event] += 1
        if self._on_event is not None:
            self._on_event(event)


def _waited_s(sock: socket.socket) -> float:
    """Return how long a connection waited to be looked at, in the listen queue too: the time since its handshake.

    ``tcpi_last_ack_recv`` (linux/tcp.h); after the handshake FreeSWITCH sends nothing before it is asked.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK_MS.size)
    except OSError:  # a connection that is already gone is found out by the first read
        return 0.0
    return float(_LAST_ACK_MS.unpack(info)[0]) / 1000


def _listen(config: EslConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.listen.host, config.listen.port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
