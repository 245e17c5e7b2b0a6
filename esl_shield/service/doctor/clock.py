"""Area ``time``: whether the clocks of this machine, PostgreSQL and FreeSWITCH agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.service.doctor.finding import Area, Check, NotAskedError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASE_LIMIT_S = 1.0
SWITCH_LIMIT_S = 2.0  # its clock tells whole seconds


@dataclass(frozen=True)
class ClockFacts:
    """Offsets in seconds from this machine's clock, or why one is not known; ``skew_s`` is what the resolver allows."""

    database_s: float | NotAskedError
    switch_s: float | NotAskedError
    skew_s: int


def _database(facts: ClockFacts) -> Iterator[str]:
    if isinstance(facts.database_s, NotAskedError):
        raise facts.database_s
    if abs(facts.database_s) > DATABASE_LIMIT_S:
        yield f"PostgreSQL's clock is {facts.database_s:+.1f} s off this machine's"


def _switch(facts: ClockFacts) -> Iterator[Problem | str]:
    if isinstance(facts.switch_s, NotAskedError):
        raise facts.switch_s
    said = f"FreeSWITCH's clock is {facts.switch_s:+.1f} s off this machine's"
    if abs(facts.switch_s) > facts.skew_s / 2:
        yield Problem(
            f"{said}; from {facts.skew_s} s on the resolver refuses its signatures", severity=Severity.CRITICAL
        )
    elif abs(facts.switch_s) > SWITCH_LIMIT_S:
        yield said


AREA = Area[ClockFacts](
    "time",
    "PostgreSQL, and FreeSWITCH over `[freeswitch]`",
    (
        Check("time.database", Severity.WARNING, f"PostgreSQL's clock is within {DATABASE_LIMIT_S:g} s of ours",
              "Records carry both clocks; permits live for seconds by PostgreSQL's.", "Run NTP on both.", _database),
        Check("time.freeswitch", Severity.WARNING, f"FreeSWITCH's clock is within {SWITCH_LIMIT_S:g} s of ours",
              "Direct delivery signs with its clock; the resolver refuses signatures of another time.",
              "Run NTP on both.", _switch),
    ),
)  # fmt: skip
