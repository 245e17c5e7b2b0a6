"""Token prefixes whose tokens stand for numbers without a row: which numbers they may be, and FF1's way there.

A token of method ff1 is prefix, FF1(body), Damm check digit. The body is the number's digits without country code with
a 1 before them and as many 0 before that as fill it up. docs/methods.md describes it for those who compute tokens
themselves.

Invariants: one number has one token under a prefix and key, and it is decrypted to that number alone; a token whose
body does not begin with zeros and a 1, or whose number the prefix does not allow, stands for nobody; the tweak binds
tenant and prefix, so a token says nothing about another tenant's; no error holds a digit of number or body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import phonenumbers
from phonenumbers import PhoneMetadata

from esl_shield.errors.methods import PrefixRejected
from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault import numbers, tokens
from esl_shield.vault.ff1 import Ff1
from esl_shield.vault.hidden import Hidden
from esl_shield.vault.numbers import SubscriberNumber, secret_digits

if TYPE_CHECKING:
    from esl_shield.vault.keys import Key

FF1: Final = "ff1"
CRM: Final = "crm"
METHODS = (FF1, CRM)
MOBILE = ("mobile", "fixed_line_or_mobile")
_LINE_TYPES = frozenset(map(numbers.line_type_of, phonenumbers.PhoneNumberType.values()))
_MAX_RANGE = 15


@dataclass(frozen=True)
class TokenPrefix:
    """A prefix of a tenant, the method its tokens are decrypted by and the numbers they may stand for.

    ``length`` counts a token's digits; ``countries`` are ISO 3166 codes; ``ranges`` what a number begins with in E.164
    without +, none meaning all of the countries.
    """

    tenant: str
    prefix: str
    method: str
    length: int
    key_version: int | None
    countries: tuple[str, ...]
    ranges: tuple[str, ...] = ()
    line_types: tuple[str, ...] = MOBILE

    def check(self) -> None:
        """Raise PrefixRejected unless tokens of this prefix can be made and told from others."""
        if not (self.prefix.isascii() and self.prefix.isdigit() and len(self.prefix) <= 8):  # noqa: PLR2004
            raise PrefixRejected(problem="it must be 1 to 8 digits")
        if not tokens.TOKEN_MIN_LENGTH <= self.length <= tokens.TOKEN_MAX_LENGTH:
            raise PrefixRejected(problem=f"a token has {tokens.TOKEN_MIN_LENGTH} to {tokens.TOKEN_MAX_LENGTH} digits")
        unknown = sorted(set(self.countries) - phonenumbers.SUPPORTED_REGIONS)
        if unknown or not self.countries:
            raise PrefixRejected(problem="it needs countries, as ISO 3166 codes of places with numbers, such as CN")
        if not self.line_types or not _LINE_TYPES.issuperset(self.line_types):
            raise PrefixRejected(problem=f"line types are {', '.join(sorted(_LINE_TYPES))}")
        codes = tuple(str(phonenumbers.country_code_for_region(country)) for country in self.countries)
        if not all(map(_is_range, self.ranges)) or not all(text.startswith(codes) for text in self.ranges):
            raise PrefixRejected(problem="a range begins with the country code of one of its countries, such as 86138")
        if self.method == FF1:
            self._check_ff1()

    def _check_ff1(self) -> None:
        if len(self.countries) != 1:
            raise PrefixRejected(problem="ff1 tokens hold no country code, so such a prefix has one country")
        least = len(self.prefix) + _longest(self.countries[0], self.line_types) + 1 + tokens.CHECK_DIGITS
        if self.length < least:
            raise PrefixRejected(problem=f"numbers of {self.countries[0]} need tokens of {least} digits or more")

    def allows(self, number: SubscriberNumber) -> bool:
        """Whether a token of this prefix may stand for the number: valid, of its countries, ranges and line types."""
        digits = secret_digits(number)
        phone = numbers.read_valid(f"+{digits}", None)
        if phone is None or phonenumbers.region_code_for_number(phone) not in self.countries:
            return False
        # Digits that are read as another number, such as with a trunk zero, would pass by every list of numbers.
        if f"{phone.country_code}{phonenumbers.national_significant_number(phone)}" != digits:
            return False
        if numbers.line_type_of(phonenumbers.number_type(phone)) not in self.line_types:
            return False
        return not self.ranges or digits.startswith(self.ranges)


class Ff1Tokens(Hidden):
    """Computes tokens of one prefix from numbers and back."""

    __slots__ = ("_body", "_code", "_ff1", "_prefix", "_tweak")

    def __init__(self, key: Key, prefix: TokenPrefix) -> None:
        self._ff1 = Ff1(key.raw)
        self._prefix = prefix
        self._tweak = f"{prefix.tenant}|{prefix.prefix}".encode("ascii")
        self._code = str(phonenumbers.country_code_for_region(prefix.countries[0]))
        self._body = prefix.length - len(prefix.prefix) - tokens.CHECK_DIGITS

    def token_of(self, number: SubscriberNumber) -> str | None:
        """Compute a number's token; None when the prefix does not allow the number."""
        if not self._prefix.allows(number):
            return None
        body = ("1" + secret_digits(number).removeprefix(self._code)).zfill(self._body)
        if len(body) != self._body:
            return None
        text = self._prefix.prefix + self._ff1.encrypt(self._tweak, body)
        return text + tokens.damm_digit(text)

    def number_of(self, token: str) -> SubscriberNumber | None:
        """Give back a token's number; None for a token that stands for nobody the prefix allows."""
        if not tokens.valid_for(token, self._prefix.prefix, self._prefix.length):
            return None
        body = self._ff1.decrypt(self._tweak, token[len(self._prefix.prefix) : -tokens.CHECK_DIGITS])
        digits = body.lstrip("0")
        if not digits.startswith("1"):
            return None
        try:
            number = SubscriberNumber(f"+{self._code}{digits[1:]}")
        except NumberRejected:
            return None
        return number if self._prefix.allows(number) else None


def _is_range(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_RANGE


def _longest(country: str, line_types: tuple[str, ...]) -> int:
    """How many digits the longest number of a country has that tokens may stand for, country code not counted."""
    plan = PhoneMetadata.metadata_for_region(country)
    described = plan and (plan.mobile if plan.mobile and set(line_types) <= set(MOBILE) else plan.general_desc)
    possible = described.possible_length if described else ()
    return max((length for length in possible if length > 0), default=_MAX_RANGE)
