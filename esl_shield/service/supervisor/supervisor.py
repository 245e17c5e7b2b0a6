"""The supervisor's loop: signals, children, reloads, what systemd is told.

Invariants: one thread, which never waits for a child, a check or a client; SIGTERM and SIGINT stop in order, a second
one hastens, a third kills; SIGHUP reloads, and one that comes during a reload is not forgotten; systemd's watchdog is
answered only while every child answers or was replaced.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING

from esl_shield.errors import ShieldError
from esl_shield.errors.process import SystemRefused
from esl_shield.http.healthpages import OK
from esl_shield.service import log
from esl_shield.service.hardening import harden
from esl_shield.service.notify import Notifier
from esl_shield.service.supervisor.fleet import Fleet
from esl_shield.service.supervisor.kinds import KINDS
from esl_shield.service.supervisor.listeners import Listeners
from esl_shield.service.supervisor.metrics import SupervisorMetrics
from esl_shield.service.supervisor.pages import Pages
from esl_shield.service.supervisor.reload import Reload, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esl_shield.config.serve import ServeConfig
    from esl_shield.http.healthpages import Parts
    from esl_shield.service.supervisor.kinds import Kind

TICK_S = 0.1
STALLED_S = 1.0
INTERRUPTED = 130
LOST = 1
STOP_MARGIN_S = 60.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

LOG = logging.getLogger(__name__)


def run(path: str, kinds: Mapping[str, Kind] = KINDS) -> int:
    """Keep the processes of a file alive until a signal ends it; returns the exit code.

    Raises ShieldError when the first start is refused; then everything that was started has ended.
    """
    log.set_up("serve")
    harden()
    with contextlib.closing(Supervisor(path, kinds)) as supervisor:
        return supervisor.run()


class Supervisor:
    """Everything it holds, and its loop."""

    def __init__(self, path: str, kinds: Mapping[str, Kind]) -> None:
        self._path, self._kinds = path, kinds
        self._notifier = Notifier.from_environment()
        self._listeners = Listeners(self._notifier)
        self._metrics = SupervisorMetrics()
        self._fleet = Fleet(self._listeners, self._metrics)
        self._pages: Pages | None = None
        self._serve: ServeConfig | None = None
        self._reload: Reload | None = None
        self._refused: ShieldError | None = None
        self._was_ready = self._wants_reload = False
        self._status = ""
        self._pinged_at = 0.0
        self._stops: list[int] = []

    def run(self) -> int:
        """Turn until there is nothing left."""
        with _signals() as wakeup:
            now = time.monotonic()
            self._begin(now)
            while not self._is_over():
                numbers = self._wait(wakeup)
                before, now = now, time.monotonic()
                if now - before > STALLED_S:
                    for child in self._fleet.children():
                        child.forgive(now - before)
                self._heed(numbers, now)
                self._turn(now)
        if self._refused is not None:
            raise self._refused
        if self._fleet.lost:
            return LOST
        return INTERRUPTED if self._stops[0] == signal.SIGINT else 0

    def close(self) -> None:
        """Close every socket."""
        if self._pages:
            self._pages.close()
        self._listeners.close()

    def _is_over(self) -> bool:
        if self._fleet.is_over:
            return True
        return self._refused is not None and not any(True for _ in self._fleet.children())

    def _wait(self, wakeup: socket.socket) -> bytes:
        """Wait for a signal, a client or the next tick; returns the signals."""
        with selectors.DefaultSelector() as selector:
            for sock in (wakeup, *(self._pages.sockets() if self._pages else ())):
                selector.register(sock, selectors.EVENT_READ)
            selector.select(TICK_S)
        try:
            return wakeup.recv(4096)
        except BlockingIOError:
            return b""

    def _turn(self, now: float) -> None:
        if self._serve is not None:
            self._fleet.tick(self._serve, now)
        if self._reload is not None:
            self._go_on(now)
        elif self._wants_reload and not self._stops:
            self._begin(now)
        if self._pages:
            self._pages.turn(now)
        self._tell(now)

    def _heed(self, numbers: bytes, now: float) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._wants_reload = True
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(number, now)

    def _stop(self, number: int, now: float) -> None:
        self._stops.append(number)
        if self._reload is not None:
            self._reload.drop(now)
            self._reload = None
        if len(self._stops) > 2:  # noqa: PLR2004 - the third one
            self._fleet.kill(now)
            return
        within_s = self._fleet.longest_stop_s() + STOP_MARGIN_S
        self._notifier.stopping("draining" if len(self._stops) == 1 else "stopping at once", within_s=within_s)
        # A listener nobody accepts on would leave calls silent; closed with the workers' it sends them to a stand-by.
        self._listeners.close()
        LOG.info("serve.stopping", extra={"fields": {"hastened": len(self._stops) > 1, "within_s": f"{within_s:.0f}"}})
        self._fleet.stop(now)

    # --- reloading ------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        self._wants_reload = False
        if self._was_ready:
            self._notifier.reloading()
        try:
            self._reload = Reload(self._path, self._kinds, self._fleet, self._listeners, now)
        except (ShieldError, OSError) as error:
            self._refuse(error, now)
        else:
            if self._serve is None:
                self._serve = self._reload.serve

    def _go_on(self, now: float) -> None:
        if self._reload is None:
            return
        try:
            self._reload.step(now)
            if self._reload.stage is Stage.DONE:
                self._open_pages(self._reload.serve)
                self._done(self._reload.serve)
        except (ShieldError, OSError) as error:
            self._reload.drop(now)
            self._refuse(error, now)

    def _open_pages(self, serve: ServeConfig) -> None:
        if self._pages and self._pages.listen != serve.metrics:
            self._pages.close()
            self._pages = None
        if serve.metrics and self._pages is None:
            self._pages = Pages(serve.metrics, self._metrics.page, self._parts)
            LOG.info("serve.pages", extra={"fields": {"port": self._pages.port}})

    def _done(self, serve: ServeConfig) -> None:
        self._serve, self._reload = serve, None
        if self._was_ready:
            self._metrics.reloaded("done")
        LOG.info("serve.reloaded" if self._was_ready else "serve.ready")
        self._was_ready = True
        self._status = self._spell()
        self._notifier.ready(self._status)

    def _refuse(self, error: ShieldError | OSError, now: float) -> None:
        """Say what was wrong and go on as before; a first start that is refused ends the supervisor."""
        self._reload = None
        if isinstance(error, OSError):
            error = SystemRefused(place="", problem=error.strerror or type(error).__name__)
        if not self._was_ready:
            self._refused = error
            self._fleet.stop(now)
            return
        self._metrics.reloaded("refused")
        LOG.error("serve.reload_refused", extra={"fields": {"error_id": error.error_id, "problem": error.args[0]}})
        self._notifier.ready(f"reload refused: {self._spell()}")

    # --- telling --------------------------------------------------------------------------------------------------

    def _tell(self, now: float) -> None:
        every_s = self._notifier.ping_every_s
        if every_s is not None and now - self._pinged_at >= every_s and not self._fleet.is_beyond_us(now):
            self._notifier.alive()
            self._pinged_at = now
        if self._was_ready and self._reload is None and self._status != (status := self._spell()):
            self._status = status
            self._notifier.tell(f"STATUS={status}")

    def _spell(self) -> str:
        return ", ".join(f"{role} {ready}/{count}" for role, (ready, count) in self._readiness().items())

    def _parts(self) -> Parts:
        """Say of each role whether all its processes are ready, else how many are, and whether a stop is on."""
        roles = self._readiness().items()
        parts = {role: OK if ready == count else f"{ready}/{count} ready" for role, (ready, count) in roles}
        return parts | {"supervisor": "draining" if self._stops else OK}

    def _readiness(self) -> dict[str, tuple[int, int]]:
        """Return of each role how many processes are ready, and how many there shall be."""
        wanted = Counter(slot.place.role for slot in self._fleet.slots)
        ready = Counter(slot.place.role for slot in self._fleet.slots if slot.is_ready)
        return {role: (ready[role], count) for role, count in wanted.items()}


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """Turn signals into bytes of a socket; dispositions are as before afterwards."""
    read, write = socket.socketpair()
    read.setblocking(False)
    write.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, disposition in before.items():
            signal.signal(number, disposition)
        read.close()
        write.close()
