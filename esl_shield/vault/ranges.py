"""The numbering plans read straight: what phonenumbers says of a number that is digits alone, ten times as fast.

Invariants: an answer is the one phonenumbers gives, because it applies the same expressions of the same metadata in the
same order; wherever phonenumbers would do more than that (strip a prefix, transform, guess a country code, keep leading
zeros, compare countries by name) there is no answer here and the caller asks phonenumbers; "no" is never answered
here. Nothing is remembered of a number.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberType

from esl_shield.vault import automata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # What compiles a plan's expressions: ``re`` for numbers, ``automata`` for the beginnings of numbers.
    Compile = Callable[[str], Any]

_DIGITS = re.compile(r"\+?[1-9][0-9]{4,14}")
_MOST_CODE = 3
_LEAST_DIGITS, _MOST_DIGITS = 5, 15  # E.164, country code included
_NO_COUNTRY = "001"
# In phonenumbers' order: the first that fits is the type.
_KINDS = (
    ("premium_rate", PhoneNumberType.PREMIUM_RATE),
    ("toll_free", PhoneNumberType.TOLL_FREE),
    ("shared_cost", PhoneNumberType.SHARED_COST),
    ("voip", PhoneNumberType.VOIP),
    ("personal_number", PhoneNumberType.PERSONAL_NUMBER),
    ("pager", PhoneNumberType.PAGER),
    ("uan", PhoneNumberType.UAN),
    ("voicemail", PhoneNumberType.VOICEMAIL),
)


class Reading(NamedTuple):
    """A valid number: country code, the digits after it, ISO 3166 region, phonenumbers' type. Holds a secret."""

    code: int
    national: str
    region: str
    kind: int


class _Region:
    """One region's expressions, those of a length together."""

    def __init__(self, name: str, metadata: PhoneMetadata, compile_: Compile) -> None:
        self.name = name
        self.leading = compile_(metadata.leading_digits).match if metadata.leading_digits is not None else None
        self._metadata = metadata
        self._compile = compile_
        self._of_length: dict[int, tuple[list[tuple[int, Callable[[Any], object]]], _Lines] | None] = {}

    def kind(self, national: Any, length: int) -> int:  # noqa: PLR0911 - one for each of its rules
        """``phonenumberutil._number_type_helper``."""
        if length not in self._of_length:
            self._of_length[length] = self._read(length)
        found = self._of_length[length]
        if found is None:
            return PhoneNumberType.UNKNOWN
        checks, lines = found
        if not lines.general(national):
            return PhoneNumberType.UNKNOWN
        for kind, match in checks:
            if match(national):
                return kind
        if lines.fixed is not None and lines.fixed(national):
            if lines.same or (lines.mobile is not None and lines.mobile(national)):
                return PhoneNumberType.FIXED_LINE_OR_MOBILE
            return PhoneNumberType.FIXED_LINE
        if not lines.same and lines.mobile is not None and lines.mobile(national):
            return PhoneNumberType.MOBILE
        return PhoneNumberType.UNKNOWN

    def stripped(self) -> Callable[[Any], object] | None:
        """Give what matches the beginning of a number that phonenumbers would strip of it."""
        return _prefix(self._metadata.national_prefix_for_parsing, self._compile)

    def _read(self, length: int) -> tuple[list[tuple[int, Callable[[Any], object]]], _Lines] | None:
        general = self._fits("general_desc", length)
        if general is None:
            return None
        checks = [(kind, match) for name, kind in _KINDS if (match := self._fits(name, length))]
        fixed, mobile = (self._fits(name, length) for name in ("fixed_line", "mobile"))
        return checks, _Lines(general, fixed, mobile, bool(self._metadata.same_mobile_and_fixed_line_pattern))

    def _fits(self, kind: str, length: int) -> Callable[[Any], object] | None:
        return fits(getattr(self._metadata, kind), length, self._compile)


class _Lines(NamedTuple):
    """What every number must fit, and what tells the two ordinary kinds apart."""

    general: Callable[[Any], object]
    fixed: Callable[[Any], object] | None
    mobile: Callable[[Any], object] | None
    same: bool


class _Code(NamedTuple):
    """A country code's regions, the main one first, and what is stripped from its numbers (then we do not answer)."""

    regions: tuple[_Region, ...]
    stripped: Callable[[Any], object] | None


class _Home(NamedTuple):
    """How a region's own numbers are told from those with a prefix or a country code before them."""

    code: int
    digits: str
    abroad: Callable[[Any], object] | None
    stripped: Callable[[Any], object] | None


def read(text: str, region: str | None) -> Reading | None:
    """Read ``+`` and digits, or digits in ``region``; None when phonenumbers must be asked."""
    if not _DIGITS.fullmatch(text):
        return None
    if text[0] == "+":
        code = _code_of(text)
        national = text[1 + len(str(code)) :]
        plan = _plan(code)
        if plan is None or not national or national[0] == "0":
            return None
        stripped = plan.stripped
    else:
        home = _home(region)
        if home is None or text.startswith(home.digits) or (home.abroad is not None and home.abroad(text)):
            return None
        code, national, stripped = home.code, text, home.stripped
        plan = _plan(code)
        if plan is None:
            return None
    if not _LEAST_DIGITS <= len(str(code)) + len(national) <= _MOST_DIGITS or (stripped and stripped(national)):
        return None
    found = _valid(national, len(national), plan.regions)
    return Reading(code, national, *found) if found is not None else None


def read_start(digits: str, length: int, region: str | None) -> Reading | None:
    """``read`` for all texts of a length that begin with these (``+`` and digits, or digits): their first digits.

    None where ``read`` or phonenumbers must be asked for each, because it depends on the digits that follow or on an
    expression that is not known.
    """
    try:
        return _read_start(digits, length, region)
    except (automata.Undecided, ValueError):
        return None


def _read_start(digits: str, length: int, region: str | None) -> Reading | None:
    if digits[0] == "+":
        code = _code_of(digits)
        national = automata.Start(digits[1 + len(str(code)) :], length - 1 - len(str(code)))
        plan = _plan(code, automata.compile)
        if plan is None or not national.digits or national.digits[0] == "0":
            return None
        stripped = plan.stripped
    else:
        national = automata.Start(digits, length)
        home = _home(region, automata.compile)
        if home is None or digits.startswith(home.digits) or (home.abroad is not None and home.abroad(national)):
            return None
        code, stripped = home.code, home.stripped
        plan = _plan(code, automata.compile)
        if plan is None:
            return None
    whole = len(str(code)) + national.length
    if not _LEAST_DIGITS <= whole <= _MOST_DIGITS or (stripped and stripped(national)):
        return None
    found = _valid(national, national.length, plan.regions)
    return Reading(code, national.digits, *found) if found is not None else None


def _valid(national: Any, length: int, regions: Sequence[_Region]) -> tuple[str, int] | None:
    if len(regions) == 1:
        kind = regions[0].kind(national, length)
        return (regions[0].name, kind) if kind != PhoneNumberType.UNKNOWN else None
    for region in regions:
        if region.leading is not None:
            if region.leading(national):
                kind = region.kind(national, length)
                return (region.name, kind) if kind != PhoneNumberType.UNKNOWN else None
        elif (kind := region.kind(national, length)) != PhoneNumberType.UNKNOWN:
            return region.name, kind
    return None


def fits(desc: object, length: int, compile_: Compile = re.compile) -> Callable[[Any], object] | None:
    """``_is_number_matching_desc`` for numbers of a length; None for "no"."""
    pattern = getattr(desc, "national_number_pattern", None)
    lengths: Sequence[int] = getattr(desc, "possible_length", None) or ()
    if not pattern or (lengths and length not in lengths):
        return None
    matches: Callable[[Any], object] = compile_(pattern).fullmatch
    return matches


@functools.cache
def _plan(code: int, compile_: Compile = re.compile) -> _Code | None:
    names = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    if not names or names[0] == _NO_COUNTRY:
        return None
    regions = []
    for name in names:
        metadata = PhoneMetadata.metadata_for_region(name, None)
        if metadata is not None:
            regions.append(_Region(name, metadata, compile_))
    if len(regions) != len(names):
        return None
    return _Code(tuple(regions), regions[0].stripped())


@functools.cache
def _home(region: str | None, compile_: Compile = re.compile) -> _Home | None:
    metadata = PhoneMetadata.metadata_for_region(region, None) if region in phonenumbers.SUPPORTED_REGIONS else None
    code = metadata.country_code if metadata is not None else None
    if metadata is None or code is None:
        return None
    prefixes = (metadata.international_prefix, metadata.national_prefix_for_parsing)
    return _Home(code, str(code), *(_prefix(pattern, compile_) for pattern in prefixes))


def _prefix(pattern: str | None, compile_: Compile) -> Callable[[Any], object] | None:
    return compile_(pattern).match if pattern else None


def _code_of(text: str) -> int:
    for length in range(1, _MOST_CODE + 1):
        code = int(text[1 : 1 + length])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return code
    return 0
