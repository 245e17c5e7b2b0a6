"""Where a number is at home, from phonenumbers' tables: of one number, or of all that begin alike.

Invariants: an answer is the one phonenumbers gives; where phonenumbers would do more than look up prefixes (a mobile
number's token, a place without an English name) there is none here and the caller asks it.
"""

from __future__ import annotations

import bisect
import functools
from typing import TYPE_CHECKING

import phonenumbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esl_shield.vault.ranges import Reading


def place(reading: Reading) -> str | None:
    """``geocoder.description_for_valid_number`` in English; None when phonenumbers must be asked."""
    data, lengths, token = _places(reading.code)
    if token and reading.national.startswith(token):
        return None
    digits = f"{reading.code}{reading.national}"
    for length in lengths:
        names = data.get(digits[:length])
        name = names.get("en") if names is not None else None
        if name is not None:
            return name or None
    return None


def time_zones(reading: Reading) -> tuple[str, ...] | None:
    """``timezone.time_zones_for_geographical_number``; None when phonenumbers must be asked."""
    data, lengths = _zones(reading.code)
    digits = f"{reading.code}{reading.national}"
    for length in lengths:
        zones = data.get(digits[:length])
        if zones is not None:
            return zones
    return None


def places_of_start(reading: Reading) -> tuple[str | None, Mapping[str, Mapping[str, str]], tuple[int, ...]] | None:
    """``place`` for all numbers that begin as this one: its answer where no longer prefix has one, and where to look.

    That is the table and the lengths of prefixes, the longest first. None when phonenumbers must be asked for each.
    """
    data, _, token = _places(reading.code)
    if token and reading.national.startswith(token):
        return None
    return place(reading), data, _longer(_sorted_places, reading)


def time_zones_of_start(reading: Reading) -> tuple[str, ...] | None:
    """``time_zones`` for all numbers that begin as this one; None where they differ or phonenumbers must be asked."""
    return None if _longer(_sorted_zones, reading) else time_zones(reading)


def _longer(prefixes_of: Callable[[int], list[str]], reading: Reading) -> tuple[int, ...]:
    """How long the prefixes are that begin as the reading and go on, the longest first."""
    prefixes, digits = prefixes_of(reading.code), f"{reading.code}{reading.national}"
    found = prefixes[bisect.bisect_left(prefixes, digits) : bisect.bisect_left(prefixes, digits + ":")]
    return tuple(sorted({len(prefix) for prefix in found} - {len(digits)}, reverse=True))


@functools.cache
def _sorted_places(code: int) -> list[str]:
    return sorted(prefix for prefix in _places(code)[0] if prefix.startswith(str(code)))


@functools.cache
def _sorted_zones(code: int) -> list[str]:
    return sorted(prefix for prefix in _zones(code)[0] if prefix.startswith(str(code)))


@functools.cache
def _places(code: int) -> tuple[Mapping[str, Mapping[str, str]], tuple[int, ...], str]:
    from phonenumbers.geodata import GEOCODE_DATA  # noqa: PLC0415 - 100 MB of tables that only seeding needs

    return GEOCODE_DATA, _lengths(GEOCODE_DATA, code), phonenumbers.country_mobile_token(code)


@functools.cache
def _zones(code: int) -> tuple[Mapping[str, tuple[str, ...]], tuple[int, ...]]:
    from phonenumbers.tzdata import TIMEZONE_DATA  # noqa: PLC0415 - as above

    return TIMEZONE_DATA, _lengths(TIMEZONE_DATA, code)


def _lengths(data: Mapping[str, object], code: int) -> tuple[int, ...]:
    """How long the prefixes are that numbers of a country can begin with, the longest first."""
    digits = str(code)
    mine = {len(prefix) for prefix in data if prefix.startswith(digits) or digits.startswith(prefix)}
    return tuple(sorted(mine, reverse=True))
