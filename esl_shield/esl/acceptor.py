"""The accept loop of the listener: how many connections at a time, whose turn it is, what to do without descriptors.

Invariants: accepting never stops to shed load; on a listener shared with other processes a full one lets the others go
first, and takes what they leave; exhausted resources pause it, they never make it spin.
"""

from __future__ import annotations

import errno
import struct
import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent.server import StreamServer

if TYPE_CHECKING:
    from collections.abc import Callable

# Long: from a full queue Linux drops connections without a word, and whoever makes them tries again only after a
# second, then three; what waits in this one is seen, and refused when it waited too long.
BACKLOG = 4096
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_PAUSE_S = 0.1
_GIVE_WAY_S = 0.5  # of the 2 s FreeSWITCH waits; what others have room for they take in much less, unless all are busy
_GLANCE_S = 0.02
_MOST_WAITING = 96
_UNACKED = struct.Struct("=24xI")
_AT_ONCE = 8
_LONG_S = 0.05


class Acceptor(StreamServer):
    """gevent's accept loop, which waits out exhausted resources without printing or spinning.

    ``gives_way`` is asked on a listener that other processes accept on too: while it says so, connections are left to
    them for ``_GIVE_WAY_S``, unless many wait; what is still there then is taken.
    """

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[socket.socket, tuple[str, int]], None],
        failed: Callable[[OSError], None],
        gives_way: Callable[[], bool] | None,
    ) -> None:
        super().__init__(listener, serve)
        self._failed = failed
        self._gives_way = gives_way
        self.take_along(0.0)
        self._waiting_since: float | None = None

    def do_read(self) -> tuple[socket.socket, Any] | None:  # type: ignore[override]  # gevent too returns None
        """Accept one connection, None when there is none; called by gevent when the listener is readable."""
        if self._leaves_it():
            self.stop_accepting()
            gevent.spawn_later(_GLANCE_S, self._resume)
            return None
        try:
            accepted = super().do_read()
        except OSError as error:
            if error.errno in (errno.ECONNABORTED, errno.EPROTO):
                return None
            if error.errno not in _EXHAUSTED:
                raise
            self._pause(error)
            return None
        self._look_again()
        return accepted

    def take_along(self, waited_s: float) -> None:
        """Decide how many connections are taken at a time after one that waited so long.

        Of a burst each process that shares the listener shall have its part; but what waits long shall be refused soon.
        """
        self.max_accept = 1 if self._gives_way is not None and waited_s < _LONG_S else _AT_ONCE

    def accept_waiting(self) -> None:
        """Take every connection that is already in the listen queue."""
        self._gives_way = None
        while self.started and (accepted := self.do_read()) is not None:
            self.do_handle(*accepted)

    def _leaves_it(self) -> bool:
        """Whether what waits is left to other processes a moment longer."""
        if self._gives_way is None or not self._gives_way():
            self._waiting_since = None
            return False
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since < _GIVE_WAY_S and self._waiting() < _MOST_WAITING

    def _look_again(self) -> None:
        """Forget since when connections wait once none does."""
        if self._waiting_since is not None and not self._waiting():
            self._waiting_since = None

    def _waiting(self) -> int:
        """Return how many connections wait; of a listener that is ``tcpi_unacked`` (linux/tcp.h)."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.size)
        return int(_UNACKED.unpack(info)[0])

    def _pause(self, error: OSError) -> None:
        self._failed(error)
        self.stop_accepting()
        gevent.spawn_later(_EXHAUSTED_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self.started:
            self._look_again()
            self.start_accepting()
