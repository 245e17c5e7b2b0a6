"""Waiting for PostgreSQL's socket without holding up anybody else, and never longer than agreed.

Invariants: every wait has a deadline; once ``use_gevent`` was called, waiting yields to the hub and nothing here blocks
it; before, no gevent hub is made. Connections of ``engine.Database`` are driven by ``drive`` (libpq's asynchronous
calls); the wait callback that ``use_gevent`` installs keeps every other psycopg2 connection of the process off the hub.
"""

from __future__ import annotations

import ctypes
import select
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions as pg

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

CALLBACK_TIMEOUT_S = 30.0
_MOST_CANCELS = 2

_state = {"gevent": False}
_cancels = threading.BoundedSemaphore(_MOST_CANCELS)


def use_gevent() -> None:
    """Make every wait of this process for PostgreSQL cooperative; for worker and resolver only (COPY stops working)."""
    _state["gevent"] = True
    pg.set_wait_callback(wait_callback)


def uses_gevent() -> bool:
    """Whether ``use_gevent`` was called."""
    return _state["gevent"]


def wait_callback(connection: Connection) -> None:
    """Drive a connection that is not ours, for psycopg2; raises TimeoutError, on which psycopg2 closes it."""
    drive(connection, time.monotonic() + CALLBACK_TIMEOUT_S)


def drive(connection: Connection, deadline: float) -> None:
    """Poll libpq until its state machine is done; ``deadline`` is of ``time.monotonic``.

    Raises TimeoutError and psycopg2.Error.
    """
    while (state := connection.poll()) != pg.POLL_OK:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        _wait(connection.fileno(), state == pg.POLL_WRITE, remaining_s)


def is_readable(connection: Connection) -> bool:
    """Whether an idle connection has something to say: only ever that it is closing."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    return bool(poller.poll(0))


def make_semaphore(slots: int) -> Any:
    """Make a bounded semaphore of the right kind; ``acquire(timeout=seconds)`` and ``release()`` are common to both."""
    if not uses_gevent():
        return threading.BoundedSemaphore(slots)
    from gevent.lock import BoundedSemaphore  # noqa: PLC0415 - importing gevent is for its users

    return BoundedSemaphore(slots)


def cancel_in_background(connection: Connection) -> None:
    """Ask the server to stop what ``connection`` runs, from a thread, without waiting for it.

    psycopg2's ``cancel()`` holds the interpreter lock while it connects and waits for the postmaster to hang up: with a
    stopped postmaster that freezes the process, in whatever thread it is called. libpq's PQcancel is called directly
    instead. At most two such threads exist; beyond that the role's ``statement_timeout`` is what ends the statement.
    """
    if not _cancels.acquire(blocking=False):
        return
    handle = _libpq.PQgetCancel(connection.pgconn_ptr)
    if not handle:
        _cancels.release()
        return
    threading.Thread(target=_cancel, args=(handle,), name="cancel", daemon=True).start()


def _cancel(handle: int) -> None:
    try:
        message = ctypes.create_string_buffer(256)
        _libpq.PQcancel(handle, message, len(message))
    finally:
        _libpq.PQfreeCancel(handle)
        _cancels.release()


def _load_libpq() -> ctypes.CDLL:
    """Open the libpq psycopg2 itself is linked to: symbols are looked up in its module and in what that loaded."""
    library = ctypes.CDLL(psycopg2._psycopg.__file__)  # noqa: SLF001 - the only name that leads to the linked library
    library.PQgetCancel.restype = ctypes.c_void_p
    library.PQgetCancel.argtypes = [ctypes.c_void_p]
    library.PQcancel.restype = ctypes.c_int
    library.PQcancel.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.PQfreeCancel.restype = None
    library.PQfreeCancel.argtypes = [ctypes.c_void_p]
    return library


_libpq = _load_libpq()


def _wait(descriptor: int, writing: bool, timeout_s: float) -> None:
    if uses_gevent():
        from gevent.socket import wait_read, wait_write  # noqa: PLC0415

        (wait_write if writing else wait_read)(descriptor, timeout=timeout_s)
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    if not poller.poll(timeout_s * 1000):
        raise TimeoutError
