"""One running child: what it said, whether it still answers, how it is ended.

Invariants: a child is signalled only while it is ours to reap, so its process id is nobody else's; whatever is told to
stop has a moment at which it is killed instead.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import socket
from typing import TYPE_CHECKING

from esl_shield.service.notify import READY
from esl_shield.service.supervisor.spawning import spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.config.serve import ServeConfig
    from esl_shield.service.supervisor.plan import Place

STOP_MARGIN_S = 15.0  # a worker writes its last records after its calls' time is over
UNDEAD_S = 10.0
_MESSAGE_BYTES = 4096


class State(enum.Enum):
    """How far a child is."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"


class Child:
    """A process that was started for a place; times are of the monotonic clock."""

    def __init__(
        self, place: Place, listeners: Sequence[tuple[str, socket.socket]], serve: ServeConfig, now: float
    ) -> None:
        """Start it; raises OSError."""
        self.place = place
        self.state = State.STARTING
        self.exit_code: int | None = None
        self.killed_for = ""
        self._hang_timeout_s = serve.hang_timeout_s
        self._ready_at: float | None = None
        self._heard_at = now
        self._killed_at: float | None = None
        self._kill_at = now + serve.start_timeout_s
        self.notify, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.setblocking(False)
        try:
            self.pid = spawn(
                place.kind.argv(place.config), user=place.user, listeners=listeners, notify=theirs,
                hang_timeout_s=serve.hang_timeout_s,
            )  # fmt: skip
        except OSError:
            self.notify.close()
            raise
        finally:
            theirs.close()

    def listen(self, now: float) -> None:
        """Take what it said."""
        while True:
            try:
                message = self.notify.recv(_MESSAGE_BYTES)
            except OSError:
                return
            if not message:
                return
            self._heard_at = now
            if self.state is State.STARTING and READY in message.decode("ascii", "replace").splitlines():
                self.state, self._ready_at = State.READY, now

    def forgive(self, seconds: float) -> None:
        """Give back time in which the supervisor itself did not run."""
        self._heard_at += seconds
        self._kill_at += seconds

    def judge(self, now: float) -> None:
        """Kill it if it is silent, or slower than it may be."""
        if self._killed_at is not None:
            return
        if self.state is State.STARTING and now >= self._kill_at:
            self._kill("slow_to_start", now)
        elif self._ready_at is not None and now - self._heard_at > self._hang_timeout_s:
            self._kill("hung", now)
        elif self.state is State.LEAVING and now >= self._kill_at:
            self._kill("slow_to_stop", now)

    def leave(self, now: float, *, hasten: bool = False) -> None:
        """Tell it to drain; told again (``hasten``) it gives calls no more time and writes what it knows."""
        if self.state is State.LEAVING and not hasten:
            return
        drain_s = 0.0 if hasten else self.place.drain_s
        if self.state is not State.LEAVING:
            self._kill_at = now + drain_s + STOP_MARGIN_S
        self._kill_at = min(self._kill_at, now + drain_s + STOP_MARGIN_S)
        self.state = State.LEAVING
        self._signal(signal.SIGTERM)

    def kill(self, now: float) -> None:
        """End it at once."""
        self._kill("told", now)

    def reap(self) -> bool:
        """Say whether it has ended; then ``exit_code`` is as a shell's, 128 and the signal's number for one killed."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code
                self.notify.close()
        return self.exit_code is not None

    def worked_s(self, now: float) -> float:
        """Return for how long it has been ready."""
        return 0.0 if self._ready_at is None else now - self._ready_at

    def is_undead(self, now: float) -> bool:
        """Whether it was killed and is still there, which is beyond us."""
        return self._killed_at is not None and now - self._killed_at > UNDEAD_S

    def _kill(self, reason: str, now: float) -> None:
        self.killed_for, self._killed_at = self.killed_for or reason, now
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
