"""What the operating system is told about a process that holds secrets.

Invariants: its memory reaches no core file and no debugger of its own user; what it writes is its own; nothing it
starts gains rights. A step that cannot be taken ends the process before it opens a key.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

from esl_shield.errors.process import NotHardened

# linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def harden() -> None:
    """Forbid core dumps, tracing and new privileges for this process; raises NotHardened."""
    os.umask(0o077)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        raise NotHardened(step="RLIMIT_CORE") from None
    if sys.platform == "linux":
        _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, 0)
        _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def _prctl(step: str, option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise NotHardened(step=step)
