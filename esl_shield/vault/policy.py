"""A tenant's calling policy as people write it and as the database keeps it: one table of rules, read by every command.

Invariants: what is judged is judged in SQL alone (``shield.judge_rules``); here rules are only spelled. Hours are
minutes of a week from Monday 00:00 by the customer's clock, so a window past midnight is one window; text that is no
rule changes nothing.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from esl_shield.db.engine import Database
from esl_shield.errors.database import DatabaseRefused, LoginRejected
from esl_shield.errors.policy import RuleRejected
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.provisioning import administering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from esl_shield.config.database import DatabaseConfig

NONE = "none"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
MAX_WINDOWS = 40
MAX_CLOSED_DAYS = 400
MAX_SECONDS = 365 * 86400
APPLICATION = "esl_shield policy"
_WINDOW = re.compile(
    r"(?P<days>[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*)"
    r" (?P<from>[0-9]{2}:[0-9]{2})-(?P<to>[0-9]{2}:[0-9]{2})"
)
_RANGE = re.compile(r"\[([0-9]+),([0-9]+)\)")
_SPAN = re.compile(r"([1-9][0-9]{0,7})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Rule:
    """One rule: its key in the database, its option, what is written for it, and how that is read and shown.

    ``read`` takes every text given for the option and raises ValueError; ``show`` takes what the database has.
    """

    key: str
    option: str
    forms: str
    read: Callable[[Sequence[str]], object]
    show: Callable[[Any], object]
    many: bool = False


def read_hours(texts: Sequence[str]) -> str:
    """Read windows such as ``mon-fri 09:00-20:00`` as a multirange; one that ends before its begin ends a day later."""
    if len(texts) > MAX_WINDOWS:
        raise ValueError
    ranges: list[str] = []
    for text in texts:
        match = _WINDOW.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError
        opens, closes = _minute(match["from"], DAY_MINUTES - 1), _minute(match["to"], DAY_MINUTES)
        if opens == closes:
            raise ValueError
        length = (closes - opens) % DAY_MINUTES or DAY_MINUTES
        for day in _days(match["days"]):
            start = day * DAY_MINUTES + opens
            end = start + length
            ranges.append(f"[{start},{min(end, WEEK_MINUTES)})")
            if end > WEEK_MINUTES:  # Sunday night is Monday morning
                ranges.append(f"[0,{end - WEEK_MINUTES})")
    return "{" + ",".join(ranges) + "}"


def show_hours(multirange: str) -> list[str]:
    """Spell a multirange day by day, neighbours with the same hours together, such as ``mon-fri 09:00-20:00``."""
    by_day: list[list[str]] = [[] for _ in DAYS]
    for match in _RANGE.finditer(multirange):
        start, end = int(match[1]), int(match[2])
        while start < end:
            day = start // DAY_MINUTES
            until = min(end, (day + 1) * DAY_MINUTES)
            by_day[day].append(f"{_clock(start - day * DAY_MINUTES)}-{_clock(until - day * DAY_MINUTES)}")
            start = until
    shown = []
    for hours, group in groupby(range(len(DAYS)), key=lambda day: " ".join(by_day[day])):
        if hours:
            days = list(group)
            name = DAYS[days[0]] if len(days) == 1 else f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
            shown += [f"{name} {window}" for window in hours.split()]
    return shown


def _days(text: str) -> Iterable[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        start, end = DAYS.index(first), DAYS.index(last or first)
        yield from ((start + step) % len(DAYS) for step in range((end - start) % len(DAYS) + 1))


def _minute(text: str, most: int) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes >= 60 or hours * 60 + minutes > most:  # noqa: PLR2004 - minutes of an hour
        raise ValueError
    return hours * 60 + minutes


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def read_seconds(texts: Sequence[str]) -> int:
    """Read a span such as 90s, 15m, 2h or 1d."""
    match = _SPAN.fullmatch(_one(texts))
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError
    return seconds


def show_seconds(seconds: int) -> str:
    """Spell a span in the largest unit that has no rest."""
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


def _read_zone(texts: Sequence[str]) -> str:
    zone = _one(texts)
    if not re.fullmatch(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2}|UTC", zone):
        raise ValueError
    return zone


def _read_days(texts: Sequence[str]) -> list[str]:
    if len(texts) > MAX_CLOSED_DAYS:
        raise ValueError
    return sorted({dt.date.fromisoformat(text).isoformat() for text in texts})


def _read_count(least: int) -> Callable[[Sequence[str]], int]:
    def read(texts: Sequence[str]) -> int:
        text = _one(texts)
        if not re.fullmatch("[0-9]{1,6}", text) or int(text) < least:
            raise ValueError
        return int(text)

    return read


def _one(texts: Sequence[str]) -> str:
    (text,) = texts
    return text.strip()


RULES = (
    Rule("hours", "--hours", "weekdays and a window of the customer's clock, such as `mon-fri 09:00-20:00`, repeatable,"
         " or none", read_hours, show_hours, many=True),
    Rule("time_zone", "--time-zone", "an IANA name such as Asia/Shanghai, or none", _read_zone, str),
    Rule("closed_days", "--closed", "a date such as 2027-01-01, repeatable, or none", _read_days,
         lambda days: [day.isoformat() for day in days], many=True),
    Rule("gap_s", "--gap", "a span such as 90s, 15m, 2h or 1d, or none", read_seconds, show_seconds),
    Rule("agent_per_day", "--agent-per-day", "a whole number of calls, or none", _read_count(0), int),
    Rule("wrong_dials", "--wrong-dials", "a whole number from 2, or none", _read_count(2), int),
    Rule("wrong_dials_s", "--wrong-dials-within", "a span such as 90s, 15m, 2h or 1d, or none for 5m", read_seconds,
         show_seconds),
)  # fmt: skip


def read_rules(given: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Read what was given for some rules' keys; ``none`` is None. Raises RuleRejected, which names the option."""
    changes: dict[str, object] = {}
    for rule in RULES:
        texts = given.get(rule.key)
        if not texts:
            continue
        if list(texts) == [NONE]:
            changes[rule.key] = None
            continue
        try:
            changes[rule.key] = rule.read(texts)
        except ValueError:
            raise RuleRejected(option=rule.option, forms=rule.forms) from None
    return changes


def show_rules(row: Mapping[str, Any]) -> dict[str, object]:
    """Spell a row of ``dba.policies`` as it could be set again; a rule that is not there is ``none``."""
    shown = {rule.key: row[rule.key] for rule in RULES}
    return {
        rule.key: NONE if value is None or value == [] else rule.show(value)
        for rule, value in zip(RULES, shown.values(), strict=True)
    }


def set_policy(database: DatabaseConfig, tenant: str, changes: Mapping[str, object]) -> str:
    """Change a tenant's rules, those not named stay; returns set or unchanged.

    Raises TenantUnknown, RuleRejected for a time zone the database does not know, DatabaseAway, DatabaseRefused.
    """
    try:
        with administering(database, tenant) as connection:
            statement = "SELECT shield_api.set_policy(%s, %s)"
            done = connection.exec_driver_sql(statement, (tenant, json.dumps(changes))).scalar()
    except DatabaseRefused as error:
        if error.sqlstate != "22023":
            raise
        zone = next(rule for rule in RULES if rule.key == "time_zone")
        raise RuleRejected(option=zone.option, forms=zone.forms) from None
    if done is None:
        raise TenantUnknown(tenant=tenant)
    return str(done)


@dataclass(frozen=True)
class Judged:
    """What one rule says of a call: state is passes, refuses, off or later."""

    rule: str
    state: str
    reason: str | None
    verdict: str
    detail: dict[str, Any]


class PolicyDesk:
    """A steward's connection: explanations and unlocking. A context manager."""

    def __init__(self, config: DatabaseConfig, *, needs: str) -> None:
        self._database = Database(config, application_name=APPLICATION, needs=needs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def explain(self, tenant: str, agent: str, token: str, at: dt.datetime | None) -> list[Judged]:
        """Say what every rule would say of a call, in the order calls meet them; raises TenantUnknown."""
        rows = self._database.call("explain_call", tenant, agent, token, at)
        if not rows:
            raise TenantUnknown(tenant=tenant)
        return [Judged(*row) for row in rows]

    def unlock(self, tenant: str, agent: str, reason: str) -> str:
        """Let an agent call again; returns UNLOCKED, UNCHANGED, UNKNOWN or REFUSED."""
        return str(self._database.call("unlock_agent", tenant, agent, reason)[0][0])


def unlock_login(database: DatabaseConfig, login: str, reason: str) -> str:
    """Let a worker's login mint again; returns unlocked or unchanged.

    Raises LoginRejected for an unknown login, DatabaseAway, DatabaseRefused.
    """
    with administering(database, "") as connection:
        done = connection.exec_driver_sql("SELECT shield_api.unlock_login(%s, %s)", (login, reason)).scalar()
    if done is None:
        raise LoginRejected(login=login, why="there is no such login; see dba.logins")
    return str(done)
