"""PostgreSQL's own programs as children of ours.

Invariants: as root they run as another user; they die with the thread that started them, even when it is killed; they
inherit no environment; Ctrl-C is for the one who started them, who then stops them in order.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING

from esl_shield.errors.database import EmbeddedUnavailable

if TYPE_CHECKING:
    from pathlib import Path

# Runs as whoever we are, becomes the server's user, and only then asks to die with its parent: a change of user clears
# that wish (prctl(2)), and the interpreter may not be readable to the server's user.
_WRAPPER = """
import ctypes, os, signal, sys
parent, uid, gid, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
os.chdir(folder)
libc.prctl(1, signal.SIGQUIT, 0, 0, 0)
if os.getppid() != parent:
    sys.exit(1)
os.execv(sys.argv[5], sys.argv[5:])
"""


def spawn(command: list[str], output: int, *, user: pwd.struct_passwd, folder: Path) -> subprocess.Popen[bytes]:
    """Start a program as ``user`` in ``folder``, both its outputs going to one descriptor."""
    identity = [str(os.getpid()), str(user.pw_uid), str(user.pw_gid), str(folder)]
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.Popen(  # noqa: S603 - our own wrapper and PostgreSQL's own programs
        [sys.executable, "-I", "-S", "-c", _WRAPPER, *identity, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def server_user() -> pwd.struct_passwd:
    """Whom a server runs as: ourselves, but never root (PostgreSQL refuses that). Raises EmbeddedUnavailable."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedUnavailable(problem="root cannot run PostgreSQL and there is no user postgres or nobody")


def last_line(output: bytes) -> str:
    """Return the last line of what a program said."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
