"""Checks, what they find, and how they are run over the facts of their area."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from esl_shield.errors import ShieldError
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

F = TypeVar("F")


class Severity(enum.StrEnum):
    """How bad it is; ``UNKNOWN``: it could not be asked."""

    OK = "ok"
    INFO = "info"
    UNKNOWN = "unknown"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """What one check says: ``change`` is empty when there is nothing to do."""

    check: str
    severity: Severity
    sentence: str
    change: str = ""


@dataclass(frozen=True)
class Problem:
    """Something a check does not like; ``change`` and ``severity`` are the check's own unless given."""

    sentence: str
    change: str = ""
    severity: Severity | None = None


class NotAskedError(Exception):
    """A check lacks a fact; the text says why. ``severity`` is INFO where another configuration could ask it."""

    def __init__(self, why: str, severity: Severity = Severity.UNKNOWN) -> None:
        super().__init__(why)
        self.severity = severity


@dataclass(frozen=True)
class Check(Generic[F]):
    """One question: ``judge`` yields what is wrong with the facts, nothing when all is well."""

    id: str
    severity: Severity
    asks: str
    why: str
    change: str
    judge: Callable[[F], Iterable[Problem | str]]

    def run(self, facts: F) -> Iterator[Finding]:
        """Yield a finding for each problem, or one that all is well."""
        found = False
        try:
            for problem in self.judge(facts):
                found = True
                yield self._finding(problem)
        except NotAskedError as error:
            yield Finding(self.id, error.severity, f"Not asked: {error}.")
            return
        if not found:
            yield Finding(self.id, Severity.OK, self.asks)

    def _finding(self, problem: Problem | str) -> Finding:
        if isinstance(problem, str):
            problem = Problem(problem)
        return Finding(self.id, problem.severity or self.severity, problem.sentence, problem.change or self.change)


class NotApplicableError(Exception):
    """The configuration names nothing the area could ask; the text says what to configure."""


@dataclass(frozen=True)
class Area(Generic[F]):
    """Checks that share their facts; ``asks_whom`` is for the docs."""

    name: str
    asks_whom: str
    checks: tuple[Check[F], ...]

    def run(self, gather: Callable[[], F], *, required: bool) -> Iterator[Finding]:
        """Gather, then run every check; ``required`` makes an area that is not configured an error.

        Raises ConfigError.
        """
        try:
            facts = gather()
        except NotApplicableError as error:
            if required:
                raise ConfigError(source="file", problem=f"nothing can be asked about {self.name}: {error}") from None
            yield Finding(f"{self.name}.not_asked", Severity.INFO, f"Nothing was asked about {self.name}: {error}.")
        except ShieldError as error:
            yield unasked(self.name, error)
        else:
            for check in self.checks:
                yield from check.run(facts)


def unasked(area: str, error: ShieldError) -> Finding:
    """Say that whoever an area asks could not be asked."""
    severity = Severity.UNKNOWN if error.exit_code == _AWAY else Severity.CRITICAL
    return Finding(f"{area}.reached", severity, str(error.args[0]), f"See {error.error_id} in docs/errors.md.")


_AWAY = 3
