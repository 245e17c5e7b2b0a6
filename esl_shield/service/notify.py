"""What a process tells the one that started it, be it systemd or our supervisor: ready, stopping, alive.

Invariants: nothing is needed but a datagram socket; without one every message is dropped and nothing fails; telling
never blocks; the variables are taken out of the environment, so that nothing the process starts speaks in its name.

systemd gives the address of its socket (NOTIFY_SOCKET, sd_notify(3)); the supervisor gives each child a socket of its
own as a descriptor (ESL_SHIELD_NOTIFY_FD), so that no other process can speak for it. Messages are the same.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

DESCRIPTOR = "ESL_SHIELD_NOTIFY_FD"
READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
PINGS_PER_TIMEOUT = 4
_US = 1_000_000


class Notifier:
    """Tells; ``ping_every_s`` is how often ``alive`` is wanted, None when nobody watches."""

    def __init__(self, sock: socket.socket | None = None, ping_every_s: float | None = None) -> None:
        self._socket = sock
        self.ping_every_s = ping_every_s

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Self:
        """Take the variables out of the environment and connect; an address nobody is at counts as none."""
        address, descriptor = environ.pop("NOTIFY_SOCKET", ""), environ.pop(DESCRIPTOR, "")
        timeout_us, watched = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        sock = _inherited(int(descriptor)) if descriptor.isdecimal() else _connected(address)
        if sock is None or not timeout_us.isdecimal() or watched not in ("", str(os.getpid())):
            return cls(sock)
        return cls(sock, int(timeout_us) / _US / PINGS_PER_TIMEOUT)

    @property
    def is_heard(self) -> bool:
        """Whether somebody asked to be told."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Say that callers can connect."""
        self.tell(READY, f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload began; ``ready`` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str, *, within_s: float | None = None) -> None:
        """Say that the process is on its way out, and how long that may take."""
        more = () if within_s is None else (f"EXTEND_TIMEOUT_USEC={int(within_s * _US)}",)
        self.tell(STOPPING, f"STATUS={status}", *more)

    def alive(self) -> None:
        """Say that the process still turns."""
        self.tell(ALIVE)

    def keep(self, sock: socket.socket, name: str) -> None:
        """Have systemd keep a socket for the process after this one (FileDescriptorStoreMax=)."""
        self.tell("FDSTORE=1", f"FDNAME={name}", descriptors=[sock.fileno()])

    def forget(self, name: str) -> None:
        """Have systemd close a socket it keeps."""
        self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")

    def tell(self, *lines: str, descriptors: Sequence[int] = ()) -> None:
        """Send one message. A receiver that is gone or full is not waited for: it judges us by what it misses."""
        if self._socket is None:
            return
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        with contextlib.suppress(OSError):
            self._socket.sendmsg(["\n".join(lines).encode()], rights, socket.MSG_NOSIGNAL)


def _inherited(descriptor: int) -> socket.socket | None:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        return None
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def _connected(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    try:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        sock.close()
        return None
    return sock
