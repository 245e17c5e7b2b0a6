"""The listening sockets: bound once, kept over restarts of children, reloads and, with systemd, of the supervisor.

Invariants: an address is bound once however many processes listen on it; a socket stays open while any plan wants it,
so a connection that comes while processes change hands waits in its queue; systemd keeps a copy of each, so one that
comes while the supervisor itself is started again waits too.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

from esl_shield.config.values import Address
from esl_shield.errors.process import AddressTaken
from esl_shield.service.inherited import FIRST_DESCRIPTOR

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from esl_shield.service.notify import Notifier
    from esl_shield.service.supervisor.plan import Endpoint

BACKLOG = 4096  # as the worker's own, whose acceptor says why
_RETRY_S = 0.1

LOG = logging.getLogger(__name__)


class Listeners:
    """Every socket the supervisor holds, by endpoint."""

    def __init__(self, notifier: Notifier, environ: MutableMapping[str, str] = os.environ) -> None:
        self._notifier = notifier
        self._held: dict[Endpoint, socket.socket] = {}
        self._left = {_address(sock): sock for sock in _handed_over(environ)}

    def __getitem__(self, endpoint: Endpoint) -> socket.socket:
        return self._held[endpoint]

    def open(self, endpoints: Iterable[Endpoint], *, patience_s: float) -> None:
        """Have a socket for each; raises AddressTaken, and then holds what it held before.

        An address in use is asked for again for ``patience_s`` seconds: those who were told to leave with the
        supervisor before us may still be about to.
        """
        made: list[Endpoint] = []
        deadline = time.monotonic() + patience_s
        try:
            for endpoint in endpoints:
                if endpoint in self._held:
                    continue
                if kept := self._left.pop(endpoint.address, None):  # stays in systemd's hands too
                    self._held[endpoint] = kept
                    continue
                self._held[endpoint] = _bind(endpoint.address, deadline)
                made.append(endpoint)
        except BaseException:
            for endpoint in made:
                self._held.pop(endpoint).close()
            raise
        for endpoint in made:
            self._notifier.keep(self._held[endpoint], endpoint.stored_name)

    def keep_only(self, endpoints: Iterable[Endpoint]) -> None:
        """Close what no plan wants any more, and what the supervisor before us left and nobody took."""
        for endpoint in self._held.keys() - set(endpoints):
            self._notifier.forget(endpoint.stored_name)
            self._held.pop(endpoint).close()
        for sock in self._left.values():
            sock.close()
        self._left.clear()

    def close(self) -> None:
        """Close everything; a supervisor that stops on purpose leaves nothing behind."""
        self.keep_only(())


def _handed_over(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Take the sockets systemd kept, whatever their names; one that does not listen is closed."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "0")
    environ.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)):
        sock = socket.socket(fileno=descriptor)
        sock.set_inheritable(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            found.append(sock)
        else:
            sock.close()
    return found


def _address(sock: socket.socket) -> Address:
    return Address(*sock.getsockname()[:2])


def _bind(address: Address, deadline: float) -> socket.socket:
    """Bind and listen; raises AddressTaken."""
    waited = False
    while True:
        sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address.host, address.port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise AddressTaken(address=address, problem=os.strerror(error.errno or 0)) from None
        else:
            return sock
        if not waited:
            LOG.warning("serve.address_in_use", extra={"fields": {"address": address}})
        waited = True
        time.sleep(_RETRY_S)
