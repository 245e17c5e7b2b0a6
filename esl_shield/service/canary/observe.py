"""One run of canary calls through the live system, and everything that could be watched of it."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.db.address import read_password
from esl_shield.errors.config import ConfigError
from esl_shield.service.canary import calls, planting, watch
from esl_shield.service.canary.calls import CanaryCall, Records
from esl_shield.service.canary.phone import Phone

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable

    from esl_shield.config import Config
    from esl_shield.config.canary import CanaryConfig
    from esl_shield.service.canary.needles import Needles
    from esl_shield.vault.keks import AnyKek


@dataclass(frozen=True)
class Watched:
    """FreeSWITCH as its event socket showed it during the calls; ``complete``: no event was missed."""

    version: str
    host: str
    legs: frozenset[str]
    complete: bool


@dataclass(frozen=True)
class Observation:
    """The calls, by whom and when; ``places`` by name; ``watched`` is None where no event socket is configured."""

    run: uuid.UUID
    started_at: dt.datetime
    needles: Needles
    calls: tuple[CanaryCall, ...]
    places: dict[str, watch.Place]
    watched: Watched | None


def canary_config(config: Config) -> CanaryConfig:
    """Return the section of canary calls; raises ConfigError."""
    if config.canary is None:
        raise ConfigError(source="file", problem="it has no [canary], which canary calls need")
    return config.canary


def observe(
    config: Config, kek: AnyKek, count: int, own: Iterable[str] | None = None, done: Callable[[], None] = lambda: None
) -> Observation:
    """Plant canaries, call each, watch; ``done`` is called after each call.

    Raises ConfigError, PhoneAway, FreeSwitchAway, FreeSwitchRefused, DatabaseAway, errors of the vault.
    """
    canary = canary_config(config)
    password = read_password(canary.password, "[canary] password")
    with contextlib.ExitStack() as stack:
        started_at = dt.datetime.now(dt.UTC)
        phone = stack.enter_context(Phone(canary, password))
        records = stack.enter_context(contextlib.closing(Records(canary)))
        needles = planting.plant(canary, kek, count, own)
        watching = None
        if config.freeswitch:
            secret = read_password(config.freeswitch.password, "[freeswitch] password")
            watching = stack.enter_context(watch.Watch(config.freeswitch, secret, needles))
        look = watching.look if watching else _nowhere

        def over() -> None:
            if watching:
                watching.settle()
            done()

        placed = calls.place(phone, records, needles.tokens, look, over)
        watched = None
        if watching:
            legs = frozenset(watching.legs)
            watched = Watched(watching.version, watching.host, legs, watching.complete)
        places = {watch.PHONE: _heard(placed, needles), **(watching.places if watching else {})}
        return Observation(records.run, started_at, needles, tuple(placed), places, watched)


def _nowhere(_: str) -> None:
    """Look at nothing: there is no event socket to ask."""


def _heard(placed: Iterable[CanaryCall], needles: Needles) -> watch.Place:
    """Search what FreeSWITCH sent to the telephone."""
    place = watch.Place(watch.PHONE)
    for call in placed:
        for data in call.heard:
            place.looks += 1
            first = data.split(b"\r\n", 1)[0].decode("ascii", "replace")
            place.sees({token for token, _, _ in needles.in_bytes(data)}, first)
    return place
