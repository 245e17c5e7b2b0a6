"""Listeners a process was started with: by our supervisor, or by systemd's socket units (sd_listen_fds(3)).

Invariants: they are taken once, and are not inherited any further; a listener is used only where the configuration says
the process listens, because what protects it (``allow``, loopback) was checked for that address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from esl_shield.config.values import Address
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

Inherited = Mapping[str, socket.socket]

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
LISTEN, METRICS = "listen", "metrics"


def take(environ: MutableMapping[str, str] = os.environ) -> dict[str, socket.socket]:
    """Return the listeners by name and take the variables out of the environment; raises ConfigError."""
    pid, names = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDNAMES", "")
    count = environ.pop("LISTEN_FDS", "0")
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, socket.socket] = {}
    for name, descriptor in zip(names.split(":"), range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)), strict=False):
        if name not in (LISTEN, METRICS) or name in found:
            problem = f"a listener is called {name!r}; FileDescriptorName= must be {LISTEN} or {METRICS}, each once"
            raise ConfigError(source="LISTEN_FDNAMES", problem=problem)
        found[name] = _adopt(descriptor)
    return found


def check(listener: socket.socket, listen: Address, *, key: str) -> None:
    """Raise ConfigError unless the listener is where the configuration's ``key`` says; port 0 means any port."""
    host, port = listener.getsockname()[:2]
    if Address(host, port if listen.port else 0) != listen:
        problem = f"it says {listen}, but the listener this process was given is at {Address(host, port)}; reload"
        raise ConfigError(source=key, problem=problem)


def _adopt(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        problem = f"descriptor {descriptor} is no socket ({os.strerror(error.errno or 0)})"
        raise ConfigError(source="LISTEN_FDS", problem=problem) from None
    if not listens or listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise ConfigError(source="LISTEN_FDS", problem=f"descriptor {descriptor} is no listening TCP socket")
    listener.set_inheritable(False)
    listener.setblocking(False)
    return listener
