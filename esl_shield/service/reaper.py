"""The reaper: asks FreeSWITCH about calls that are open and whose worker reports no longer.

Invariants: a leg is gone only when every FreeSWITCH was asked and each said so; while one does not answer, nothing is
changed; what follows from a leg that is gone is decided in the database. A call whose leg is up is left alone and
looked at again, the seldomer the longer it lasts. Only answers are asked for, no event, so no number comes here.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esl_shield.config.secretfile import read_secret
from esl_shield.errors import ShieldError
from esl_shield.errors.config import ConfigError
from esl_shield.errors.freeswitch import FreeSwitchAway
from esl_shield.esl.inbound import InboundSocket
from esl_shield.service.minting import MintWatch

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from esl_shield.config import Config
    from esl_shield.config.endings import ReaperConfig, SwitchConfig
    from esl_shield.db.engine import Database

LOG = logging.getLogger(__name__)

ALL_EVERY_S = 30.0  # calls of workers that live
SELDOM_S = 10.0
BOOT_MARGIN_S = 2.0  # FreeSWITCH counts its uptime in whole seconds
JITTER = 0.1


class Switch:
    """One FreeSWITCH, asked over its event socket; the connection is kept, and made again when it broke."""

    def __init__(self, config: SwitchConfig, timeout_s: float) -> None:
        self._config = config
        self._timeout_s = timeout_s
        self._password = read_secret("password", config.password, table="[[reaper.switches]] ").decode()
        self._socket: InboundSocket | None = None
        self.core = ""
        self.uptime_s = 0.0

    def greet(self) -> None:
        """Ask which FreeSWITCH this is and since when it runs; raises FreeSwitchAway, FreeSwitchRefused."""
        try:
            self.core = self._ask("global_getvar core_uuid")
        except FreeSwitchAway:
            self.core = self._ask("global_getvar core_uuid")  # it was restarted since, perhaps
        uptime = self._ask("uptime s")
        if not uptime.isdecimal():
            raise FreeSwitchAway(address=self._config.address, problem="it does not say since when it runs")
        self.uptime_s = float(uptime)

    def has(self, leg: UUID) -> bool:
        """Whether a leg exists; raises FreeSwitchAway."""
        answer = self._ask(f"uuid_exists {leg}")
        if answer not in ("true", "false"):
            raise FreeSwitchAway(address=self._config.address, problem="it does not say which legs exist")
        return answer == "true"

    def close(self) -> None:
        """End the connection."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _ask(self, command: str) -> str:
        try:
            if self._socket is None:
                self._socket = InboundSocket(self._config.address, self._password, timeout_s=self._timeout_s)
            return self._socket.api(command).body.strip()
        except FreeSwitchAway:
            self.close()
            raise


@dataclass
class _Sighting:
    """What is known of one call: on which FreeSWITCH it was up last and when, since when it is gone."""

    core: str = ""
    seen_at: float | None = None
    gone_at: float | None = None
    next_at: float = 0.0


@dataclass
class Looked:
    """What one look found."""

    open: int = 0
    up: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)


class Reaper:
    """Looks after the open calls of one database; ``database`` has a reaper's login."""

    def __init__(
        self, database: Database, config: ReaperConfig, switches: Sequence[Switch],
        *, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._database = database
        self._config = config
        self.switches = switches
        self._clock = clock
        self._minting = MintWatch(database, config.minting, clock=clock)
        self._sightings: dict[UUID, _Sighting] = {}
        self._all_at = float("-inf")
        self._problem = ""
        self._alive: Callable[[], None] = lambda: None

    @classmethod
    def from_config(cls, config: Config, database: Database) -> Reaper:
        """Read the passwords; raises ConfigError. Connects to nothing."""
        reaper = section(config)
        return cls(database, reaper, [Switch(switch, reaper.timeout_s) for switch in reaper.switches])

    def run_until(
        self, stop: threading.Event, alive: Callable[[], None], *, alive_every_s: float | None = None
    ) -> None:  # fmt: skip
        """Look about every ``every_s`` seconds until ``stop`` is set; what fails is tried again, and logged once.

        ``alive`` is told before each question, none of which takes longer than a time-out, and between two looks every
        ``alive_every_s`` seconds (None: not then).
        """
        self._alive = alive
        while not self._rests(stop, alive_every_s):
            try:
                self._minting.look()
                self.look()
            except ShieldError as error:
                self._note(error.error_id, str(error.args[0]))
            else:
                self._note("", "")

    def _rests(self, stop: threading.Event, alive_every_s: float | None) -> bool:
        """Wait until the next look; True when there is none."""
        rest_s = self._config.every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
        while True:
            self._alive()
            part_s = rest_s if alive_every_s is None else min(rest_s, alive_every_s)
            if stop.wait(part_s):
                return True
            rest_s -= part_s
            if rest_s <= 0:
                return False

    def look(self) -> Looked:
        """Ask about every call that is due; raises FreeSwitchAway, FreeSwitchRefused, DatabaseAway, DatabaseRefused."""
        for switch in self.switches:
            self._alive()
            switch.greet()
        now = self._clock()
        everybody = now - self._all_at >= ALL_EVERY_S
        rows = self._database.call("open_calls", everybody)
        if everybody:
            self._all_at = now
            known = {call for call, _, _ in rows}
            self._sightings = {call: seen for call, seen in self._sightings.items() if call in known}
        looked = Looked(open=len(rows))
        for row in rows:
            self._alive()
            self._look_at(row, looked)
        return looked

    def close(self) -> None:
        """End the connections to FreeSWITCH."""
        for switch in self.switches:
            switch.close()

    def _look_at(self, row: tuple[Any, ...], looked: Looked) -> None:
        call, legs, age_s = row
        sighting = self._sightings.setdefault(call, _Sighting())
        now = self._clock()
        if sighting.next_at > now:
            looked.up += 1
            return
        home = next((switch for switch in self.switches for leg in legs if switch.has(leg)), None)
        now = self._clock()
        if home:
            # Young calls are looked at each time: most end soon after their worker.
            pause_s = min(age_s / 30, SELDOM_S)
            sighting.core, sighting.seen_at, sighting.gone_at, sighting.next_at = home.core, now, None, now + pause_s
            looked.up += 1
            return
        sighting.gone_at = sighting.gone_at or now
        verdict = self._tell(call, sighting, age_s, now)
        looked.verdicts[verdict] = looked.verdicts.get(verdict, 0) + 1
        if verdict in ("WAITING", "LIVES"):
            sighting.next_at = now + min((now - sighting.gone_at) / 10, SELDOM_S)
        else:
            del self._sightings[call]
            LOG.info("reaper.verdict", extra={"fields": {"call": call, "verdict": verdict}})

    def _tell(self, call: UUID, sighting: _Sighting, age_s: float, now: float) -> str:
        restarted = self._was_restarted(sighting, age_s)
        gone_s = now - (sighting.gone_at or now)
        if restarted:
            gone_s = max(gone_s, min(switch.uptime_s for switch in self.switches))
        seen_s = None if sighting.seen_at is None else now - sighting.seen_at
        ((verdict,),) = self._database.call(
            "call_gone", str(call), gone_s, seen_s, self._config.record_wait_s, restarted
        )
        return str(verdict)

    def _was_restarted(self, sighting: _Sighting, age_s: float) -> bool:
        """Whether the FreeSWITCH the call was on runs no more; unknown which it was, whether any does since then."""
        if sighting.core:
            return sighting.core not in {switch.core for switch in self.switches}
        return all(switch.uptime_s + BOOT_MARGIN_S < age_s for switch in self.switches)

    def _note(self, problem: str, text: str) -> None:
        if problem != self._problem:
            fields = {"error_id": problem, "problem": text} if problem else {}
            LOG.warning("reaper.problem" if problem else "reaper.well", extra={"fields": fields})
        self._problem = problem


def section(config: Config) -> ReaperConfig:
    """Return the [reaper] of a configuration; raises ConfigError."""
    if config.reaper is None:
        raise ConfigError(source="file", problem="it has no [reaper], which the reaper needs")
    return config.reaper
