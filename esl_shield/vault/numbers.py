"""Telephone numbers that do not show themselves.

Invariants: a number outside this module is a ``SubscriberNumber``; only ``reveal()`` and, for cipher and blind index,
``secret_digits()`` give its digits; no error raised here holds any of the text it was given. What is read is E.164
(ITU-T E.164: at most 15 digits) and exists in the numbering plan phonenumbers knows (offline).
"""

from __future__ import annotations

import functools
import hmac
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault import places, ranges
from esl_shield.vault.hidden import Hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

E164_MAX_DIGITS = 15
_MAX_TEXT = 64
_MAX_REGION = 64
_E164 = re.compile(r"\+[1-9][0-9]{4,14}")
_SPELLING = re.compile(r"\(?\+?[0-9().\-/ ]+")
# A spreadsheet or data frame that took the column for a floating-point number: its digits can no longer be trusted.
_FLOAT = re.compile(r"[0-9]+\.0")
_DASHES = dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212, 0x30FC, 0xFF0D, 0xFF70), "-")
_INVISIBLE = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, 0xFEFF))
_WITHOUT_REST = {code: None for code in range(128) if chr(code) not in "0123456789"}
_TRANSLATE: dict[int, str | None] = {**_DASHES, **_INVISIBLE}
_LINE_TYPES = {
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
}
_REASONS = {
    "empty": "it is empty",
    "spelling": "it holds something besides digits, +, spaces, dashes, dots, slashes and brackets",
    "extension": "it has an extension; a token stands for a whole number",
    "region": "it has no country code and the tenant no default region",
    "invalid": "no numbering plan has such a number",
}


@final
class SubscriberNumber(Hidden):
    """A customer's real number; shows nothing unless ``reveal()`` is called."""

    __slots__ = ("__e164",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, e164: str) -> None:
        """Take ``+`` and digits that were parsed before; raises NumberRejected on any other form."""
        if not _E164.fullmatch(e164):
            raise _rejected("spelling")
        self.__e164 = e164

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SubscriberNumber):
            return NotImplemented
        return hmac.compare_digest(self.__e164, other.__e164)

    @staticmethod
    def secret_digits_of(numbers: Sequence[SubscriberNumber]) -> list[bytes]:
        """``secret_digits`` of many, as bytes; for the same few."""
        return [number.__e164[1:].encode("ascii") for number in numbers]  # noqa: SLF001 - its own class

    def reveal(self) -> str:
        """Give the number as ``+`` and digits. For the resolver and the seeding only; a test holds that line."""
        return self.__e164


def secret_digits(number: SubscriberNumber) -> str:
    """Give the digits without ``+`` to the cipher, the blind index and the checks of this room; for no one else."""
    return number.reveal()[1:]


@dataclass(frozen=True)
class Derived:
    """What is kept beside a token in clear: coarse enough to say little about who is called.

    ``country`` is an ISO 3166 code, or 001 for numbers of no country; ``region`` the numbering plan's description of
    the place, empty for a number of no place; ``time_zone`` an IANA name, empty when the place has several;
    ``line_type`` one of
    ``fixed_line, mobile, fixed_line_or_mobile, toll_free, premium_rate, shared_cost, voip, personal, pager, uan,
    voicemail, unknown``.
    """

    country: str
    region: str
    time_zone: str
    line_type: str


def parse(text: str, region: str | None) -> SubscriberNumber:
    """Read a number in any common spelling; ``region`` (ISO 3166) is used when it has no country code.

    Raises NumberRejected, whose ``reason`` is one of ``empty, spelling, extension, region, invalid``.
    """
    return _subscriber(_phone(text, region))


def own_number(text: str, region: str | None) -> str:
    """Spell one of the call centre's own numbers as E.164; these are no secret. Raises NumberRejected."""
    return _e164(_phone(text, region))


def region_of(e164: str) -> str | None:
    """Return the ISO 3166 code of an own number's country, in which its callers' national numbers are at home."""
    phone = read_valid(e164, None)
    return phonenumbers.region_code_for_number(phone) if phone else None


def parse_derived(text: str, region: str | None) -> tuple[SubscriberNumber, Derived]:
    """``parse``, and what the number tells about itself; raises NumberRejected.

    Loads about 100 MB of tables on first use, so it is for the import, not for the resolver.
    """
    reading = ranges.read(text.strip(), region) if len(text) <= _MAX_TEXT else None
    if reading is not None:
        return SubscriberNumber(f"+{reading.code}{reading.national}"), _derive_reading(reading)
    phone = _phone(text, region)
    return _subscriber(phone), _derive(phone)


def load_tables() -> None:
    """Load what ``parse_derived`` needs now: 0.6 s and about 100 MB."""
    _tables()[0](phonenumbers.parse("+442079460000", None), "en")


def country(number: SubscriberNumber) -> str:
    """Return the ISO 3166 code of the number's country, 001 for numbers of no country; needs no large table."""
    return phonenumbers.region_code_for_number(_of(number)) or "001"


def line_type(number: SubscriberNumber) -> str:
    """One of the line types of ``Derived``; needs no large table."""
    return line_type_of(phonenumbers.number_type(_of(number)))


def line_type_of(kind: int) -> str:
    """One of the line types of ``Derived`` for phonenumbers' type."""
    return _LINE_TYPES.get(kind, "unknown")


def plain(text: str) -> str:
    """Fold full-width and other scripts' digits, dashes, spaces and invisible characters to their ASCII forms."""
    if text.isascii():
        return text.strip()
    folded = unicodedata.normalize("NFKC", text).translate(_TRANSLATE)
    return "".join(map(_fold, folded)).strip()


def squeeze(text: str) -> str:
    """Only the decimal digits of a text, whatever script they are written in."""
    if text.isascii():
        return text.translate(_WITHOUT_REST)
    return "".join(character for character in plain(text) if character in "0123456789")


@functools.lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    value = unicodedata.decimal(character, None)
    if value is not None:
        return str(value)
    return " " if character.isspace() else character


def read_valid(spelling: str, region: str | None) -> PhoneNumber | None:
    """Return the valid number a spelling of ``plain`` characters stands for, or None; the caller drops it at once."""
    candidates = [(spelling, region)]
    digits = squeeze(spelling)
    if digits.startswith("00"):
        candidates.append(("+" + digits[2:], None))
    for candidate, default in candidates:
        try:
            phone = phonenumbers.parse(candidate, default)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(phone) and phone.extension is None and len(_e164(phone)) <= E164_MAX_DIGITS + 1:
            return phone
    return None


def _phone(text: str, region: str | None) -> PhoneNumber:
    spelling = plain(text[: _MAX_TEXT + 1]).removeprefix("'")
    if spelling[:4].casefold() == "tel:":
        spelling = spelling[4:]
    if not spelling:
        raise _rejected("empty")
    if len(text) > _MAX_TEXT or not _SPELLING.fullmatch(spelling) or _FLOAT.fullmatch(spelling):
        raise _rejected("extension" if re.search(r"[0-9][ ;,]*(?:x|ext|#)", spelling, re.IGNORECASE) else "spelling")
    phone = read_valid(spelling, region)
    if phone is None:
        raise _rejected("invalid" if region or spelling.startswith(("+", "(+", "00")) else "region")
    return phone


def _subscriber(phone: PhoneNumber) -> SubscriberNumber:
    return SubscriberNumber(_e164(phone))


def _of(number: SubscriberNumber) -> PhoneNumber:
    return phonenumbers.parse(number.reveal(), None)


def _e164(phone: PhoneNumber) -> str:
    return phonenumbers.format_number(phone, PhoneNumberFormat.E164)


def _derive(phone: PhoneNumber) -> Derived:
    kind = phonenumbers.number_type(phone)
    local = phonenumbers.is_number_type_geographical(kind, phone.country_code or 0)
    describe, zones_of_place, zones_of_country = _tables()
    zones = zones_of_place(phone) if local else zones_of_country(phone)
    country_code = phonenumbers.region_code_for_number(phone) or "001"
    return _derived(country_code, describe(phone, "en") if local else "", tuple(zones), kind)


def _derive_reading(reading: ranges.Reading) -> Derived:
    """``_derive``, without phonenumbers where its tables say it all."""
    if not is_local(reading):
        return derive_at(reading, "", zones_of_code(reading.code))
    place, zones = places.place(reading), places.time_zones(reading)
    if place is None or zones is None:
        return _derive(phonenumbers.parse(f"+{reading.code}{reading.national}", None))
    return derive_at(reading, place, zones)


def derive_at(reading: ranges.Reading, place: str, zones: Sequence[str]) -> Derived:
    """Say what is kept of numbers of this country and type, at this place."""
    return _derived(reading.region, place, zones, reading.kind)


def is_local(reading: ranges.Reading) -> bool:
    """Whether numbers of this country and type belong to a place."""
    return _is_local(reading.kind, reading.code)


@functools.lru_cache(maxsize=4096)
def _derived(country: str, place: str, zones: Sequence[str], kind: int) -> Derived:
    return Derived(
        country=country,
        region=place[:_MAX_REGION],
        time_zone=zones[0] if len(zones) == 1 and zones[0] != "Etc/Unknown" else "",
        line_type=line_type_of(kind),
    )


@functools.cache
def zones_of_code(code: int) -> Sequence[str]:
    """Return the zones of a number of no place, whatever its digits are."""
    from phonenumbers import timezone  # noqa: PLC0415 - see _tables

    return timezone._country_level_time_zones_for_number(PhoneNumber(country_code=code))  # noqa: SLF001


@functools.cache
def _is_local(kind: int, code: int) -> bool:
    return bool(phonenumbers.is_number_type_geographical(kind, code))


@functools.cache
def _tables() -> tuple[Callable[..., str], Callable[..., Sequence[str]], Callable[..., Sequence[str]]]:
    from phonenumbers import geocoder, timezone  # noqa: PLC0415 - 100 MB of tables that only seeding needs

    return (
        geocoder.description_for_valid_number,
        timezone.time_zones_for_geographical_number,
        timezone.time_zones_for_number,
    )


def _rejected(reason: str) -> NumberRejected:
    return NumberRejected(reason=reason, why=_REASONS[reason])
