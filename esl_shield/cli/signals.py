"""What a signal means to a long-running command without gevent."""

from __future__ import annotations

import signal
import threading


def stopped() -> threading.Event:
    """Return what SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
