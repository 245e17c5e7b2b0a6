"""The numbering plans of the countries a vault holds numbers of: which digits can be one of its numbers at all.

A digit run of a log is held against regular expressions made of phonenumbers' metadata, which is a hundred times faster
than parsing it. Invariants: the spellings ``numbers.parse`` takes as a number of these countries are read as that
number (a test holds them against each other), but for trunk prefixes of which there are several; what is
read may still be no number that exists.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberFormat
from phonenumbers.phonemetadata import PhoneMetadata

from esl_shield.vault import numbers
from esl_shield.vault.beginnings import beginnings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

_TYPES = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
_ANY = "[0-9]{7,17}"
_LEAST, _MOST = 7, 10
_HEAD = 3


class _Way(NamedTuple):
    """One way a country's numbers are written: what stands before the national digits, and what these match."""

    prefix: str
    code: str
    matches: Callable[[str, int], re.Match[str] | None]


class Shape:
    """What the digits of a number look like: by their first three and their length, and then by an expression."""

    def __init__(self, patterns: Collection[str]) -> None:
        heads: dict[int, set[bytes]] = {}
        for pattern in patterns:
            for head, length in beginnings(pattern):
                heads.setdefault(length, set()).add(head.encode("ascii"))
        self.heads = tuple(frozenset(heads.get(length, ())) for length in range(max(heads, default=0) + 1))
        self._matches = re.compile("|".join(f"(?:{pattern})" for pattern in patterns).encode("ascii")).fullmatch

    def fits(self, digits: bytes) -> bool:
        """Whether digits (without ``+``) can be a number."""
        return self._matches(digits) is not None


class Plan:
    """Reads digits as numbers of some countries, written in a region, perhaps behind digits a gateway is dialled by.

    ``countries`` are ISO 3166 codes (001 for numbers of no country), None for all there are. ``region`` is the one
    numbers without country code belong to, None for none.
    """

    def __init__(self, region: str | None, countries: Collection[str] | None, prefixes: Sequence[str] = ()) -> None:
        self._codes = _codes(countries)
        self._prefixes = tuple(prefix.encode("ascii") for prefix in prefixes)
        home = PhoneMetadata.metadata_for_region(region or "", None)
        self._region = region if home else None
        self._home = str(home.country_code) if home and str(home.country_code) in self._codes else None
        self._trunk = home.national_prefix or "" if home else ""
        self._abroad = _abroad(home) if home else ("00",)
        # A transformed number (Argentina's 15, Brazil's carriers) is not its digits without the trunk prefix.
        self._transformed = bool(home and home.national_prefix_transform_rule)
        self._trunks = {code: _trunk(code) for code in self._codes}
        self._ways = tuple(self._every_way())
        self._by_head: dict[str, tuple[_Way, ...]] = {}

    @property
    def least(self) -> int:
        """The fewest digits a usual number has when nothing but digits is written: 7 to 10."""
        lengths = [len(code) + _usual_length(code) for code in self._codes]
        if self._home is not None:
            lengths.append(_usual_length(self._home))
        return min(max(min(lengths, default=_MOST), _LEAST), _MOST)

    @property
    def patterns(self) -> list[str]:
        """Expressions that match the digits (without ``+``) of every spelling ``read`` finds a number in."""
        abroad = "|".join(self._abroad)
        kinds = {_international(code, self._trunks[code], plan.pattern) for code, plan in self._codes.items()}
        patterns = [text for kind in kinds for text in (kind, f"(?:{abroad})(?:{kind})")]
        if self._home is not None:
            home = self._codes[self._home].pattern
            patterns += [home, f"{self._trunk}(?:{home})"] if self._trunk else [home]
        if self._transformed:
            patterns.append(_ANY)
        patterns += [f"{prefix.decode('ascii')}(?:{text})" for prefix in self._prefixes for text in patterns]
        return patterns

    def read(self, spelling: bytes) -> list[str]:
        """Return the numbers a run of digits, perhaps with ``+`` in front, can be: E.164 digits without ``+``."""
        found = self._read(spelling.decode("ascii"))
        for prefix in self._prefixes:
            if spelling.startswith(prefix):
                found += [
                    number for number in self._read(spelling[len(prefix) :].decode("ascii")) if number not in found
                ]
        return found

    def _read(self, digits: str) -> list[str]:
        head = digits[:_HEAD]
        ways = self._by_head.get(head)
        if ways is None:
            ways = self._by_head[head] = tuple(way for way in self._ways if _begin_alike(head, way.prefix))
        found = [
            way.code + digits[len(way.prefix) :]
            for way in ways
            if digits.startswith(way.prefix) and way.matches(digits, len(way.prefix))
        ]
        if self._transformed and not digits.startswith("+"):
            phone = numbers.read_valid(digits, self._region)
            if phone is not None:
                found.append(phonenumbers.format_number(phone, PhoneNumberFormat.E164)[1:])
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def _every_way(self) -> Iterator[_Way]:
        """Yield the ways a number is written, home first."""
        if self._home is not None:
            for trunk in dict.fromkeys(("", self._trunk)):
                yield _Way(trunk, self._home, self._codes[self._home].fullmatch)
        for abroad in ("+", "", *self._abroad):
            for code, plan in self._codes.items():
                for trunk in dict.fromkeys(("", self._trunks[code])):
                    yield _Way(abroad + code + trunk, code, plan.fullmatch)


def _begin_alike(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _codes(countries: Collection[str] | None) -> dict[str, re.Pattern[str]]:
    patterns: dict[str, list[str]] = {}
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            if countries is None or region in countries:
                patterns.setdefault(str(code), []).extend(_patterns(code, region))
    return {
        code: re.compile("|".join(f"(?:{text})" for text in dict.fromkeys(all_))) for code, all_ in patterns.items()
    }


def _patterns(code: int, region: str) -> Iterator[str]:
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    for name in _TYPES:
        kind = getattr(metadata, name)
        if kind is not None and kind.national_number_pattern and kind.national_number_pattern != "NA":
            yield kind.national_number_pattern


def _abroad(home: PhoneMetadata) -> tuple[str, ...]:
    """Return what is dialled before a country code: 00, and the region's own such as 011, without carriers' codes."""
    own = home.preferred_international_prefix or home.international_prefix or ""
    return ("00", own) if own.isdigit() and own != "00" else ("00",)


def _trunk(code: str) -> str:
    region = phonenumbers.region_code_for_country_code(int(code))
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    return metadata.national_prefix or "" if metadata else ""


def _usual_length(code: str) -> int:
    """Return the length of the shorter of the country's examples for a telephone at home and one in a pocket."""
    region = phonenumbers.region_code_for_country_code(int(code))
    kinds = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    examples = (phonenumbers.example_number_for_type(region, kind) for kind in kinds)
    return min((len(phonenumbers.national_significant_number(one)) for one in examples if one), default=_MOST)


def _international(code: str, trunk: str, plan: str) -> str:
    return f"{code}{trunk and f'(?:{trunk})?'}(?:{plan})"
