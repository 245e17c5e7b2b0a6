"""Puts canaries into the vault: numbers of nobody, drawn for this run, or the site's own test numbers.

Invariants: a drawn number is new to the tenant and its token expires by itself within the hour; what the site gives is
seeded as it is and keeps its token; the numbers go into ``Needles`` at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from esl_shield.errors.canary import NoFiction, OwnNumbersRejected
from esl_shield.errors.tokens import NumberRejected
from esl_shield.service.canary.needles import Needles
from esl_shield.vault import fiction
from esl_shield.vault.numbers import own_number
from esl_shield.vault.seeder import Seeder
from esl_shield.vault.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esl_shield.config.canary import CanaryConfig
    from esl_shield.vault.keks import AnyKek

MOST_CALLS = 50
_LIFE = dt.timedelta(hours=1)
_TRIES = 20


def plant(config: CanaryConfig, kek: AnyKek, count: int, own: Iterable[str] | None) -> Needles:
    """Seed ``count`` drawn numbers, or the lines of ``own``; raises NoFiction, OwnNumbersRejected, vault errors."""
    with contextlib.closing(Store(config.database)) as store:
        seeder = Seeder(store, kek, config.tenant)
        if own is None:
            return Needles(_drawn(seeder, config.region or seeder.tenant.region or "", count))
        return Needles({seeder.add(number, None, None)[0]: number for number in _given(own, seeder.tenant.region)})


def _drawn(seeder: Seeder, region: str, count: int) -> dict[str, str]:
    expires_at = (dt.datetime.now(dt.UTC) + _LIFE).isoformat(timespec="seconds")
    planted: dict[str, str] = {}
    for _ in range(_TRIES):
        for number in fiction.draw(region, count - len(planted)):
            token, is_new = seeder.add(number, None, expires_at)
            if is_new:
                planted[token] = number
        if len(planted) == count:
            return planted
    raise NoFiction(region=region)


def _given(own: Iterable[str], region: str | None) -> list[str]:
    numbers: list[str] = []
    for place, line in enumerate(own, 1):
        text = line.strip()
        if not text:
            continue
        problem = ""
        try:
            numbers.append(own_number(text, region))
        except NumberRejected as error:
            problem = f"line {place}: {error.fields['why']}"
        if problem:
            raise OwnNumbersRejected(problem=problem)
    distinct = list(dict.fromkeys(numbers))
    if not 0 < len(distinct) <= MOST_CALLS:
        raise OwnNumbersRejected(problem=f"there are {len(distinct)}; 1 to {MOST_CALLS} can be called in one run")
    return distinct
