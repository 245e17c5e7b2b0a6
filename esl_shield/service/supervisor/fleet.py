"""All children: each place filled, who dies replaced, who is told to leave followed to the end.

Invariants: a place has one child at most; one that dies is replaced after a pause that grows while it keeps dying, so
nothing is ever restarted in a busy loop; what calls wait for starts before the rest; children that were told to leave
are never replaced; at a stop, kinds end in the order of the table.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from esl_shield.service.supervisor.backoff import Backoff
from esl_shield.service.supervisor.child import Child, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esl_shield.config.serve import ServeConfig
    from esl_shield.service.supervisor.listeners import Listeners
    from esl_shield.service.supervisor.metrics import SupervisorMetrics
    from esl_shield.service.supervisor.plan import Place

REFUSED = 2
FAILING_DEATHS = 3
WAITING = "waiting"

LOG = logging.getLogger(__name__)


class Slot:
    """A place and who fills it; ``after`` is one that must have left before."""

    def __init__(self, place: Place, most_backoff_s: float, after: Child | None = None) -> None:
        self.place = place
        self.child: Child | None = None
        self.after = after
        self.backoff = Backoff(most_backoff_s)
        self.start_at = 0.0
        self.last_exit: int | None = None

    @property
    def is_ready(self) -> bool:
        """Whether callers can connect."""
        return self.child is not None and self.child.state is State.READY


class Fleet:
    """Slots that are kept filled, and children on their way out."""

    def __init__(self, listeners: Listeners, metrics: SupervisorMetrics) -> None:
        self.slots: list[Slot] = []
        self.candidates: list[Slot] = []  # of a reload that is not decided yet: started once, by the reload
        self._leaving: list[Child] = []
        self._listeners = listeners
        self._metrics = metrics
        self._stopping = False
        self._hastened = False
        self.lost = False

    @property
    def is_ready(self) -> bool:
        """Whether every place is filled by a child that is ready."""
        return all(slot.is_ready for slot in self.slots)

    @property
    def is_over(self) -> bool:
        """Whether a stop is done."""
        return self._stopping and not any(True for _ in self.children())

    def children(self) -> Iterator[Child]:
        """Every child there is."""
        yield from self._leaving
        yield from (slot.child for slot in (*self.slots, *self.candidates) if slot.child)

    def tick(self, serve: ServeConfig, now: float) -> None:
        """Listen, judge, reap, replace."""
        for child in list(self.children()):
            child.listen(now)
            if not child.reap():
                child.judge(now)
        self._see_off()
        for slot in sorted(self.slots, key=lambda slot: not slot.place.kind.urgent):
            self._tend(slot, serve, now)
        if self._stopping:
            self._step_down(now)
        self._metrics.population(self._population(), self._failing())

    def replace(self, slots: Sequence[Slot], now: float) -> None:
        """Keep these slots from now on; children of all others are told to leave, and followed to their end."""
        kept = {id(slot) for slot in slots}
        for slot in (*self.slots, *self.candidates):
            if slot.child and id(slot) not in kept:
                slot.child.leave(now)
                self._leaving.append(slot.child)
        self.slots, self.candidates = list(slots), []

    def start(self, slot: Slot, serve: ServeConfig, now: float) -> None:
        """Fill a slot; when the system has no room for a process, that counts as a death."""
        listeners = [(endpoint.name, self._listeners[endpoint]) for endpoint in slot.place.endpoints]
        try:
            slot.child = Child(slot.place, listeners, serve, now)
        except OSError as error:
            self._mourn(slot, "not_started", error.strerror or "", worked_s=0.0, now=now)

    def stop(self, now: float) -> None:
        """Begin to stop, kind after kind; called again, hasten."""
        self.replace(self.slots, now)
        if self._stopping:
            self._hastened = True
            for child in self.children():
                child.leave(now, hasten=True)
        self._stopping = True

    def kill(self, now: float) -> None:
        """End everything at once."""
        for child in self.children():
            child.kill(now)

    def is_beyond_us(self, now: float) -> bool:
        """Whether a child is neither alive nor dead."""
        return any(child.is_undead(now) for child in self.children())

    def longest_stop_s(self) -> float:
        """Return how long a stop may take: kind after kind, each as long as its slowest."""
        slowest: dict[int, float] = {}
        for child in self.children():
            order = child.place.kind.stop_order
            slowest[order] = max(slowest.get(order, 0.0), child.place.drain_s)
        return sum(slowest.values())

    def _see_off(self) -> None:
        for child in [child for child in self._leaving if child.exit_code is not None]:
            self._leaving.remove(child)
            self._note_end(child)

    def _note_end(self, child: Child) -> None:
        fields = {"child": child.place.name, "pid": child.pid, "exit_code": child.exit_code, "why": child.killed_for}
        bad = bool(child.exit_code)
        self.lost |= bad
        LOG.log(logging.WARNING if bad else logging.INFO, "serve.child_left", extra={"fields": fields})

    def _tend(self, slot: Slot, serve: ServeConfig, now: float) -> None:
        child = slot.child
        if child is not None and child.exit_code is not None:
            slot.child = None
            if child.state is State.LEAVING:
                self._note_end(child)
            else:
                reason = child.killed_for or _reason(child.exit_code)
                self._mourn(slot, reason, str(child.exit_code), worked_s=child.worked_s(now), now=now)
        if slot.after is not None and slot.after.exit_code is not None:
            slot.after = None
        may_start = slot.after is None and not self._stopping and now >= slot.start_at
        if slot.child is None and may_start and not self._gives_way(slot):
            self.start(slot, serve, now)

    def _gives_way(self, slot: Slot) -> bool:
        """Whether it waits until what calls wait for has started, which it would slow down."""
        return not slot.place.kind.urgent and any(
            other.place.kind.urgent and other.child is not None and other.child.state is State.STARTING
            for other in self.slots
        )

    def _mourn(self, slot: Slot, reason: str, code: str, *, worked_s: float, now: float) -> None:
        refused = reason == "refused"
        pause_s = slot.backoff.pause_s(worked_s, refused=refused)
        slot.start_at = now + pause_s
        slot.last_exit = int(code) if code.isdecimal() else None
        self._metrics.died(slot.place.role, reason)
        fields = {
            "child": slot.place.name, "reason": reason, "exit_code": code, "deaths": slot.backoff.deaths,
            "again_in_s": f"{pause_s:.1f}",
        }  # fmt: skip
        LOG.error("serve.child_failing" if self._is_failing(slot) else "serve.child_died", extra={"fields": fields})

    @staticmethod
    def _is_failing(slot: Slot) -> bool:
        return slot.last_exit == REFUSED or slot.backoff.deaths >= FAILING_DEATHS

    def _step_down(self, now: float) -> None:
        """Tell those of the lowest order that is still there; later ones wait for them."""
        waiting = list(self.children())
        first = min((child.place.kind.stop_order for child in waiting), default=0)
        for child in waiting:
            if child.place.kind.stop_order == first or self._hastened:
                child.leave(now)

    def _population(self) -> Counter[tuple[str, str]]:
        counts = Counter((child.place.role, child.state.value) for child in self.children())
        counts.update((slot.place.role, WAITING) for slot in self.slots if slot.child is None)
        return counts

    def _failing(self) -> dict[str, int]:
        failing = dict.fromkeys((slot.place.role for slot in self.slots), 0)
        for slot in self.slots:
            if not slot.is_ready and self._is_failing(slot):
                failing[slot.place.role] += 1
        return failing


def _reason(exit_code: int) -> str:
    if exit_code == REFUSED:
        return "refused"
    return "killed" if exit_code > 128 else "exited"  # noqa: PLR2004 - as a shell says it
