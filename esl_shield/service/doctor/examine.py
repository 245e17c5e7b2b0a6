"""The areas in their order, and one examination of a deployment over them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from esl_shield.db.schema import LOGIN_ROLES
from esl_shield.errors import ShieldError
from esl_shield.service.doctor import (
    bypass,
    catalog,
    clock,
    database_checks,
    edge,
    inbound,
    keys,
    processes,
    seals,
    settings,
    switch,
    switch_checks,
    testcall,
    webhooks,
)
from esl_shield.service.doctor.finding import Area, Finding, NotApplicableError, NotAskedError, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from esl_shield.config import Config

_T = TypeVar("_T")

ROLES = (*LOGIN_ROLES, "admin")
AREAS: dict[str, Area[Any]] = {
    area.name: area
    for area in (
        settings.CONFIG, database_checks.AREA, keys.AREA, seals.AREA, clock.AREA, switch_checks.AREA, bypass.AREA,
        inbound.AREA, edge.AREA, processes.AREA, webhooks.AREA, testcall.AREA,
    )
}  # fmt: skip


class Examination:
    """One deployment as one role's configuration sees it; what several areas need is asked once.

    ``test_call`` places a call: to the first of ``own`` numbers, or to one of nobody.
    """

    def __init__(self, config: Config, role: str, *, test_call: bool = False, own: Iterable[str] | None = None) -> None:
        self._config = config
        self._role = role
        self._test_call, self._own = test_call, own
        self._gathering: dict[str, Callable[[], Any]] = {
            "config": lambda: settings.look_at_config(config, role),
            "database": self._database,
            "keys": lambda: keys.look_at_keys(config, role),
            "sealing": lambda: seals.look_at_seals(config, role),
            "time": self._clocks,
            "freeswitch": self._switch,
            "bypass": self._switch,
            "inbound": self._inbound,
            "edge": self._edges,
            "processes": lambda: processes.ask_processes(config, role),
            "webhooks": lambda: webhooks.ask_webhooks(config, role),
            "call": self._call,
        }

    def findings(self, only: Sequence[str] = ()) -> Iterator[Finding]:
        """Yield findings area by area; an area named in ``only`` that is not configured raises ConfigError."""
        for name, area in AREAS.items():
            if not only or name in only:
                yield from area.run(self._gathering[name], required=name in only)

    def _database(self) -> catalog.DatabaseFacts:
        return _or_raise(self._asked_database)

    def _switch(self) -> switch.SwitchFacts:
        return _or_raise(self._asked_switch)

    @functools.cached_property
    def _asked_database(self) -> catalog.DatabaseFacts | Exception:
        try:
            return catalog.ask_database(self._config, self._role)
        except ShieldError as error:
            return error

    @functools.cached_property
    def _asked_switch(self) -> switch.SwitchFacts | Exception:
        try:
            return switch.ask_switch(self._config)
        except (ShieldError, NotApplicableError) as error:
            return error

    def _clocks(self) -> clock.ClockFacts:
        database, freeswitch = self._asked_database, self._asked_switch
        return clock.ClockFacts(
            _why(database) if isinstance(database, Exception) else database.clock_offset_s,
            _why(freeswitch) if isinstance(freeswitch, Exception) else freeswitch.clock_offset_s,
            self._config.resolver.clock_skew_s,
        )

    def _inbound(self) -> inbound.InboundFacts:
        asked = self._asked_switch
        return inbound.look_at_inbound(self._config, _why(asked) if isinstance(asked, Exception) else asked)

    def _call(self) -> testcall.CallFacts:
        if not self._test_call:
            message = "it places a call, which takes --test-call and [canary]"
            raise NotApplicableError(message)
        asked = self._asked_switch
        return testcall.place_test_call(self._config, None if isinstance(asked, Exception) else asked, self._own)

    def _edges(self) -> tuple[edge.EdgeFacts, ...]:
        if not any(gateway.delivery == "edge" for gateway in self._config.gateways):
            message = 'none of [[gateways]] has delivery = "edge"'
            raise NotApplicableError(message)
        return edge.ask_edges(self._config, self._switch())


def guess_role(config: Config) -> str:
    """Return the role a configuration is most likely for, by what only that role's file has."""
    if config.resolver.secrets:
        return "resolver"
    if config.canary:
        return "scanner"
    if config.sealing:
        return "sealer"
    if config.webhooks:
        return "dispatcher"
    if config.gateways:
        return "worker"
    return "seeder" if config.keys else "auditor"


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 with a warning or worse, 3 when nothing is wrong but something could not be asked, else 0."""
    severities = {finding.severity for finding in findings}
    if severities & {Severity.WARNING, Severity.CRITICAL}:
        return 1
    return 3 if Severity.UNKNOWN in severities else 0


def reference() -> str:
    """Every check as the tables of docs/doctor.md."""
    parts = []
    for area in AREAS.values():
        rows = "\n".join(
            f"| `{check.id}` | {check.severity} | {_cell(check.asks)} | {_cell(check.why)} | {_cell(check.change)} |"
            for check in area.checks
        )
        parts.append(
            f"### {area.name}\n\nAsks {area.asks_whom}.\n\n| check | severity | all is well when | why | what to do |\n"
            f"| --- | --- | --- | --- | --- |\n{rows}\n"
        )
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _or_raise(asked: _T | Exception) -> _T:
    if isinstance(asked, Exception):
        raise asked
    return asked


def _why(error: Exception) -> NotAskedError:
    severity = Severity.INFO if isinstance(error, NotApplicableError) else Severity.UNKNOWN
    return NotAskedError(str(error.args[0]).rstrip("."), severity)
