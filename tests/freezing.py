"""A database that hangs: its processes stopped, its connections open."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


@contextlib.contextmanager
def frozen(postgres):
    """Stop the postmaster and its backends for the time of a block."""
    processes = [postgres.pid, *children_of(postgres.pid)]
    signal_all(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(processes, signal.SIGCONT)


def signal_all(processes, number):
    """Send a signal to each process that is still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def children_of(pid):
    """Return the process ids of a process's children."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found
