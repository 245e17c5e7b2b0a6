"""From one configuration to the next without a refused call: check, start the new, then let the old go.

Invariants: nothing changes until every file was found good and every new process that may run beside an old one is
ready; a refusal at any moment before leaves the old ones as they were, and says which file or process it was. Processes
that must be alone follow one at a time; when one of them does not become ready the others stay.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from esl_shield.config import serve as configuration
from esl_shield.errors.config import ConfigError
from esl_shield.service.supervisor import plan
from esl_shield.service.supervisor.checking import Check
from esl_shield.service.supervisor.fleet import REFUSED, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esl_shield.service.supervisor.fleet import Fleet
    from esl_shield.service.supervisor.kinds import Kind
    from esl_shield.service.supervisor.listeners import Listeners
    from esl_shield.service.supervisor.plan import Endpoint

BIND_PATIENCE_S = 5.0


class Stage(enum.Enum):
    """How far a reload is."""

    CHECKING = 1
    STARTING = 2
    ROLLING = 3
    DONE = 4


class Reload:
    """One reload; the first of all also fills an empty fleet, and its refusal is the supervisor's."""

    def __init__(self, path: str, kinds: Mapping[str, Kind], fleet: Fleet, listeners: Listeners, now: float) -> None:
        """Read the supervisor's file and start the checks; raises ShieldError, OSError."""
        self.serve = configuration.load(path)
        self.stage = Stage.CHECKING
        self._kinds, self._fleet, self._listeners = kinds, fleet, listeners
        self._is_first = not fleet.slots
        self._checks: list[Check] = []
        self._to_roll: list[Slot] = []
        self._old_alone: list[Slot] = []
        self._rolling: Slot | None = None
        try:
            plan.refuse_unknown(self.serve, kinds)
            self._whose = plan.users(self.serve)
        except ConfigError as error:
            raise error.in_file(path) from None
        for process, user in zip(self.serve.process, self._whose, strict=True):
            self._checks.append(Check(process, kinds[process.role], user, now + self.serve.start_timeout_s))

    def step(self, now: float) -> None:
        """Go as far as it can without waiting; raises ShieldError when it is refused."""
        if self.stage is Stage.CHECKING and all(check.is_done(now) for check in self._checks):
            self._start(now)
        elif self.stage is Stage.STARTING:
            self._watch(now)
        elif self.stage is Stage.ROLLING:
            self._roll(now)

    def drop(self, now: float) -> None:
        """Give up what is not decided: checks and new processes end, the old stay."""
        for check in self._checks:
            check.drop()
        self._checks.clear()
        self._fleet.replace(self._fleet.slots, now)
        self._listeners.keep_only(_endpoints(self._fleet.slots))

    def _start(self, now: float) -> None:
        descriptions = [check.answer() for check in self._checks]
        self._checks.clear()
        places = plan.places(self.serve, self._kinds, descriptions, self._whose)
        slots = [Slot(place, self.serve.most_backoff_s) for place in places]
        self._listeners.open(_endpoints(slots), patience_s=BIND_PATIENCE_S if self._is_first else 0.0)
        self.stage = Stage.STARTING
        if self._is_first:
            self._fleet.replace(slots, now)
            return
        self._to_roll = [slot for slot in slots if slot.place.alone]
        self._fleet.candidates = [slot for slot in slots if not slot.place.alone]
        for slot in self._fleet.candidates:
            self._fleet.start(slot, self.serve, now)

    def _watch(self, now: float) -> None:
        """Wait until all are ready; then those they replace leave."""
        slots = self._fleet.slots if self._is_first else self._fleet.candidates
        for slot in slots:
            if why := self._failure(slot):
                raise ConfigError(source=slot.place.config, problem=f"{slot.place.name} did not become ready ({why})")
        if not all(slot.is_ready for slot in slots):
            return
        self._old_alone = [] if self._is_first else [slot for slot in self._fleet.slots if slot.place.alone]
        if not self._is_first:
            self._fleet.replace([*slots, *self._old_alone], now)
        self.stage = Stage.ROLLING

    def _failure(self, slot: Slot) -> str:
        """Say why a slot is given up, nothing if it is not: a first start is refused only by a refusal."""
        if self._is_first:
            return "exit code 2" if slot.last_exit == REFUSED else ""
        child = slot.child
        if child is None:
            return "it could not be started"
        return child.killed_for or ("" if child.exit_code is None else f"exit code {child.exit_code}")

    def _roll(self, now: float) -> None:
        """Replace one that must be alone; the next when it is ready, and at last let go of those nobody replaces."""
        if self._rolling is not None and not self._rolling.is_ready:
            if self._rolling.backoff.deaths:
                place = self._rolling.place
                raise ConfigError(source=place.config, problem=f"{place.name} did not become ready; others were kept")
            return
        if self._to_roll:
            self._rolling = self._to_roll.pop(0)
            old = self._take_old(self._rolling)
            self._rolling.after = old.child if old else None
            kept = [slot for slot in self._fleet.slots if slot is not old]
            self._fleet.replace([*kept, self._rolling], now)
            return
        self._fleet.replace([slot for slot in self._fleet.slots if slot not in self._old_alone], now)
        self._listeners.keep_only(_endpoints(self._fleet.slots))
        self.stage = Stage.DONE

    def _take_old(self, new: Slot) -> Slot | None:
        """Take out of the old ones whose part a new one takes."""
        same_role = [slot for slot in self._old_alone if slot.place.role == new.place.role]
        same_role.sort(key=lambda slot: slot.place.name != new.place.name)
        if same_role:
            self._old_alone.remove(same_role[0])
        return same_role[0] if same_role else None


def _endpoints(slots: Iterable[Slot]) -> list[Endpoint]:
    return [endpoint for slot in slots for endpoint in slot.place.endpoints]
