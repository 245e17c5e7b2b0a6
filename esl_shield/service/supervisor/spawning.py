"""One child process: forked by a process of one thread, made somebody else, executed.

Invariants: it inherits stderr, its listeners (from descriptor 3 on, sd_listen_fds(3)), its end of the notify socket and
nothing else; it is the user it shall be before it runs a line of its program; it is told SIGTERM when the supervisor is
gone, however that died, so it drains and its listeners close. It has a process group of its own in the supervisor's
session: Ctrl-C does not reach it, and the kernel wakes it if it was stopped when the supervisor died (an orphaned
group's stopped members get SIGHUP, which is ignored, and SIGCONT).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from esl_shield.errors.config import ConfigError
from esl_shield.service.inherited import FIRST_DESCRIPTOR
from esl_shield.service.notify import DESCRIPTOR

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

NOT_EXECUTED = 127
_PR_SET_PDEATHSIG = 1
_ABOVE = 64
_US = 1_000_000
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class User:
    """Who a child is."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def named(cls, name: str) -> Self | None:
        """Look a Unix user up; None when it is us already. Raises ConfigError."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise ConfigError(source="[[serve.process]] user", problem=f"there is no Unix user {name}") from None
        if os.geteuid() == entry.pw_uid:
            return None
        if os.geteuid() != 0:
            raise ConfigError(source="[[serve.process]] user", problem=f"only root can start a process as {name}")
        return cls(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def environment() -> dict[str, str]:
    """Return the environment a child gets of ours."""
    return {name: value for name, value in os.environ.items() if name not in _OURS}


def spawn(
    argv: Sequence[str], *, user: User | None, listeners: Sequence[tuple[str, socket.socket]], notify: socket.socket,
    hang_timeout_s: float,
) -> int:  # fmt: skip
    """Start a child and return its process id; raises OSError when there is no room for one."""
    parent = os.getpid()
    variables = environment() | {
        "LISTEN_FDS": str(len(listeners)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in listeners),
        DESCRIPTOR: str(FIRST_DESCRIPTOR + len(listeners)),
        "WATCHDOG_USEC": str(int(hang_timeout_s * _US)),
    }
    descriptors = [*(listener.fileno() for _, listener in listeners), notify.fileno()]
    # Until it has its own dispositions, a signal sent to the child would run our handlers in it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, variables, descriptors, user, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become(
    argv: Sequence[str], variables: dict[str, str], descriptors: Sequence[int], user: User | None, parent: int
) -> None:
    """Turn the forked process into the program; never returns."""
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        _place(descriptors)
        if user is not None:
            os.setgroups(user.groups)
            os.setgid(user.gid)
            os.setuid(user.uid)
        # After the change of user, which clears it (prctl(2)).
        if _LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(NOT_EXECUTED)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(argv[0], list(argv), variables | {"LISTEN_PID": str(os.getpid())})  # noqa: S606 - our own command
    except OSError as error:
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2,
            f"esl-shield serve: {argv[0]}: {error.strerror}\n".encode(),
        )
    finally:
        os._exit(NOT_EXECUTED)


def _place(descriptors: Sequence[int]) -> None:
    """Have the descriptors at 3, 4, ... in their order, and no others but the three standard ones."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _ABOVE) for descriptor in descriptors]
    for target, descriptor in enumerate(kept, FIRST_DESCRIPTOR):
        os.dup2(descriptor, target, inheritable=True)
    os.closerange(FIRST_DESCRIPTOR + len(kept), os.sysconf("SC_OPEN_MAX"))
