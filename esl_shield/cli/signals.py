"""What a signal means to a long-running command without gevent."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

INTERRUPTED = 130


class Signals:
    """SIGTERM and SIGINT set ``stop``; ``exit_code`` is what the command ends with then."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.exit_code = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        if not self._stop.is_set():
            self.exit_code = INTERRUPTED if number == signal.SIGINT else 0
        self._stop.set()
