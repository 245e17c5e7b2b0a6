"""Which numbers may be called at all.

Invariants: the rules see the real number, so they live where it is decrypted; each answers with the name of the rule,
never with the number and never by raising, because a traceback would keep the number alive; emergency and short
numbers are refused whatever the configuration says, both as the number stands for itself and as a gateway's format
would dial it.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Literal

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat

from esl_shield.errors.config import ConfigError
from esl_shield.resolver import formats
from esl_shield.vault import numbers, ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from esl_shield.config.gateways import Gateway
    from esl_shield.config.resolver import DestinationsConfig
    from esl_shield.vault.numbers import SubscriberNumber

Rule = Literal["emergency", "short_number", "invalid", "own_number", "country", "line_type", "format"]

_COMMON = {"fixed_line", "mobile", "fixed_line_or_mobile", "toll_free", "premium_rate", "shared_cost", "voip"}
_NO_COUNTRY = "001"  # what phonenumbers calls numbers such as +800
LINE_TYPES = frozenset(_COMMON | {"personal", "pager", "uan", "voicemail", "unknown"})


class Destinations:
    """The rules of one configuration; the gateways' caller IDs are own numbers too."""

    def __init__(self, config: DestinationsConfig, gateways: Sequence[Gateway] = ()) -> None:
        """Read the rules; raises ConfigError. Loads all numbering plans now, so that no call waits for one."""
        _require_known("line_types", config.line_types, LINE_TYPES)
        _require_known("countries", config.countries, phonenumbers.SUPPORTED_REGIONS | {_NO_COUNTRY})
        for gateway in gateways:
            formats.check(gateway)
        _load_numbering_plans()
        self._countries = frozenset(config.countries)
        self._line_types = frozenset(config.line_types)
        self._home_regions = self._countries | {gateway.country for gateway in gateways if gateway.country}
        self._regions: dict[int, frozenset[str]] = {}
        self._own = frozenset(_own_numbers(config.own_numbers)) | frozenset(_caller_ids(gateways))

    def decide(self, number: SubscriberNumber, gateway: Gateway) -> tuple[str, Rule | None]:
        """Spell a number for a gateway, or name the rule that forbids it (the text is then empty); reads it once."""
        reading = ranges.read(number.reveal(), None)
        rule = self._refusal(number, reading)
        return ("", rule) if rule is not None else self._spelling(number, gateway, reading)

    def refusal(self, number: SubscriberNumber) -> Rule | None:
        """Name the rule that forbids a number; None when it may be called."""
        return self._refusal(number, ranges.read(number.reveal(), None))

    def spelling(self, number: SubscriberNumber, gateway: Gateway) -> tuple[str, Rule | None]:
        """Spell an allowed number for a gateway, or name the rule its spelling breaks (the text is then empty)."""
        return self._spelling(number, gateway, ranges.read(number.reveal(), None))

    def _refusal(self, number: SubscriberNumber, reading: ranges.Reading | None) -> Rule | None:
        if reading is not None:
            return self._refusal_of(number, reading)
        try:
            parsed = phonenumbers.parse(number.reveal())
        except phonenumbers.NumberParseException:
            return "invalid"
        national = phonenumbers.national_significant_number(parsed)
        if _is_emergency(national, self._regions_of(parsed.country_code or 0)):
            return "emergency"
        if phonenumbers.is_valid_short_number(parsed):
            return "short_number"
        if not phonenumbers.is_valid_number(parsed):
            return "invalid"
        return self._policy_refusal(number, numbers.country(number), numbers.line_type(number))

    def _refusal_of(self, number: SubscriberNumber, reading: ranges.Reading) -> Rule | None:
        """Apply the same rules in the same order to a number that was read without phonenumbers, so it is valid."""
        if _is_emergency(reading.national, self._regions_of(reading.code)):
            return "emergency"
        if _is_short(reading.code, reading.national):
            return "short_number"
        return self._policy_refusal(number, reading.region, numbers.line_type_of(reading.kind))

    def _regions_of(self, code: int) -> frozenset[str]:
        """Whose emergency numbers a number of this country code must not be."""
        if code not in self._regions:
            self._regions[code] = self._home_regions.union(phonenumbers.region_codes_for_country_code(code))
        return self._regions[code]

    def _policy_refusal(self, number: SubscriberNumber, country: str, line_type: str) -> Rule | None:
        if number.reveal() in self._own:
            return "own_number"
        if self._countries and country not in self._countries:
            return "country"
        return None if line_type in self._line_types else "line_type"

    def _spelling(
        self, number: SubscriberNumber, gateway: Gateway, reading: ranges.Reading | None
    ) -> tuple[str, Rule | None]:
        spelled = formats.dial_string(number, gateway, reading)
        if spelled is None:
            return "", "format"
        for dialled in (spelled, spelled.removeprefix(gateway.prefix)) if gateway.prefix else (spelled,):
            if _is_emergency(dialled.removeprefix("+"), self._home_regions):
                return "", "emergency"
        return spelled, None


def _require_known(key: str, given: Iterable[str], known: AbstractSet[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        problem = f"{key} does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}"
        raise ConfigError(source="[destinations]", problem=problem)


def _load_numbering_plans() -> None:
    PhoneMetadata.load_all()
    for region in phonenumbers.SUPPORTED_SHORT_REGIONS:
        PhoneMetadata.short_metadata_for_region(region)


def _is_emergency(digits: str, regions: frozenset[str]) -> bool:
    fits = _emergencies(regions)
    return fits is not None and fits(digits) is not None


@functools.cache
def _emergencies(regions: frozenset[str]) -> Callable[[str], object] | None:
    """``phonenumbers.is_emergency_number`` of any of the regions, for digits alone: their expressions side by side."""
    patterns = sorted(filter(None, map(_emergency_pattern, regions)))
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)).fullmatch if patterns else None


def _emergency_pattern(region: str) -> str | None:
    metadata = PhoneMetadata.short_metadata_for_region(region)
    return metadata.emergency.national_number_pattern if metadata and metadata.emergency else None


def _is_short(code: int, national: str) -> bool:
    """``phonenumbers.is_valid_short_number``."""
    return any(all(fits(national) for fits in checks) for checks in _short_checks(code, len(national)))


@functools.cache
def _short_checks(code: int, length: int) -> tuple[tuple[Callable[[str], object], ...], ...]:
    """Say what a short number of this length fits, by region; a code's only region asks for two expressions."""
    regions = phonenumbers.region_codes_for_country_code(code)
    names = ("general_desc", "short_code") if len(regions) == 1 else ("short_code",)
    found = []
    for metadata in filter(None, map(PhoneMetadata.short_metadata_for_region, regions)):
        checks = [ranges.fits(getattr(metadata, name), length) for name in names]
        if None not in checks:
            found.append(tuple(filter(None, checks)))
    return tuple(found)


def _own_numbers(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        try:
            parsed = phonenumbers.parse(text)
        except phonenumbers.NumberParseException:
            problem = f"own_numbers: {text!r} is not a number such as +862100000000"
            raise ConfigError(source="[destinations]", problem=problem) from None
        yield phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


def _caller_ids(gateways: Iterable[Gateway]) -> Iterable[str]:
    """Spell the gateways' caller IDs as E.164; one that is no public number (an extension) can't be called anyway."""
    for gateway in gateways:
        for text in gateway.caller_ids:
            try:
                parsed = phonenumbers.parse(text, gateway.country or None)
            except phonenumbers.NumberParseException:
                continue
            yield phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
