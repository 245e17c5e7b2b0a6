"""Numbers of digits alone read by how they begin: what ``numbers.parse_derived`` says, four times as fast.

A file's numbers share few beginnings. Which kind a beginning and a length make is asked of the numbering plan once.
Invariants: what is answered holds for every number that begins so (``ranges.read_start``), places are looked up for
each number; whatever a beginning does not decide goes to ``numbers``. What is remembered are beginnings that at least
ten thousand numbers share, and a bounded many.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.vault import numbers, places, ranges
from esl_shield.vault.numbers import SubscriberNumber

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from esl_shield.vault.numbers import Derived

_AT_HOME, _ABROAD = 5, 8  # characters; with ``+`` and country code
_LEAST_MORE = 4
_LONGEST = 16
_MOST = 20_000


class _Known(NamedTuple):
    """What all numbers with a beginning have in common, and where to look up what they have not."""

    reading: ranges.Reading
    code: str  # ``+`` and country code, where the text has none
    zones: tuple[str, ...]
    derived: Derived | None  # None where places differ
    place: str | None  # the place of a number that no longer prefix fits; None: numbers knows
    names: Mapping[str, Mapping[str, str]]
    lengths: tuple[int, ...]
    by_place: dict[str, Derived]


class Starts:
    """Reads numbers in one region."""

    def __init__(self, region: str | None) -> None:
        self._region = region
        self._known: dict[tuple[str, int], _Known | None] = {}

    def parse_derived(self, text: str) -> tuple[SubscriberNumber, Derived]:
        """Read a number and what it tells about itself; raises NumberRejected."""
        if text.isdecimal() and text.isascii():
            key = text[:_AT_HOME], len(text)
        elif text[:1] == "+" and text[1:].isdecimal() and text.isascii():
            key = text[:_ABROAD], len(text)
        else:
            return numbers.parse_derived(text, self._region)
        known = self._known.get(key) or self._look_up(*key)
        if known is not None:
            e164 = known.code + text
            derived = known.derived or _derive(known, e164)
            if derived is not None:
                return SubscriberNumber(e164), derived
        return numbers.parse_derived(text, self._region)

    def _look_up(self, start: str, length: int) -> _Known | None:
        if length > _LONGEST or (start, length) in self._known:
            return None
        if len(self._known) >= _MOST:
            self._known.clear()
        found = self._known[start, length] = _learn(start, length, self._region)
        return found


@functools.cache
def reader(region: str | None) -> Callable[[str], tuple[SubscriberNumber, Derived]]:
    """Return what reads numbers in a region, the same for all who ask; it raises NumberRejected."""
    return Starts(region).parse_derived


def _learn(start: str, length: int, region: str | None) -> _Known | None:
    if length - len(start) < _LEAST_MORE:
        return None
    reading = ranges.read_start(start, length, region)
    if reading is None:
        return None
    code = "" if start[0] == "+" else f"+{reading.code}"
    if not numbers.is_local(reading):
        zones = numbers.zones_of_code(reading.code)
        return _Known(reading, code, tuple(zones), numbers.derive_at(reading, "", zones), None, {}, (), {})
    zones_found, found = places.time_zones_of_start(reading), places.places_of_start(reading)
    if zones_found is None or found is None:
        return None
    place, names, lengths = found
    known = _Known(reading, code, zones_found, None, place, names, lengths, {})
    if lengths or place is None:
        return known
    return known._replace(derived=numbers.derive_at(reading, place, zones_found))


def _derive(known: _Known, e164: str) -> Derived | None:
    """Look up the longest prefix that has a name; None where numbers must be asked."""
    name = known.place
    for length in known.lengths:
        names = known.names.get(e164[1 : length + 1])
        found = names.get("en") if names is not None else None
        if found is not None:
            name = found
            break
    if not name:
        return None
    derived = known.by_place.get(name)
    if derived is None:
        derived = known.by_place[name] = numbers.derive_at(known.reading, name, known.zones)
    return derived
