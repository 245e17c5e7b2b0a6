"""How a gateway wants a number spelled.

Invariants: what comes out is ``+`` or nothing and 3 to 20 digits, fit for a Request-URI without quoting; a number that
a gateway cannot carry in its format has no spelling, it is not bent into another one.

``e164`` is ``+`` country code, subscriber; ``e164_noplus`` the same without ``+``; ``national`` is what a subscriber
of the gateway's country dials within it, with the national prefix where there is one (``0...`` in most of Europe, none
for Chinese mobiles, none in North America). A number of another numbering plan has no ``national`` spelling whatever
the prefix: give such numbers a gateway of another format. ``prefix`` goes in front.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat

from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from esl_shield.config.gateways import Gateway
    from esl_shield.vault import ranges
    from esl_shield.vault.numbers import SubscriberNumber

_WIRE = re.compile(r"\+?[0-9]{3,20}")
_NOT_A_DIGIT = re.compile(r"[^0-9]")


def check(gateway: Gateway) -> None:
    """Raise ConfigError when a gateway's format could spell nothing."""
    where = f"[[gateways]] {gateway.name}"
    if gateway.number_format == "e164" and gateway.prefix:
        raise ConfigError(source=where, problem="e164 begins with +; with a prefix the number_format is e164_noplus")
    if gateway.number_format == "national" and gateway.country not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigError(source=where, problem='number_format national needs country, such as "CN"')


def dial_string(number: SubscriberNumber, gateway: Gateway, reading: ranges.Reading | None) -> str | None:
    """Spell a number, read before if ``ranges`` could, for a gateway; None when its format cannot carry it."""
    if reading is not None and gateway.number_format != "national":
        digits = f"{'+' if gateway.number_format == 'e164' else ''}{reading.code}{reading.national}"
    else:
        digits = _unprefixed(phonenumbers.parse(number.reveal()), gateway)
    spelled = gateway.prefix + digits
    return spelled if digits and _WIRE.fullmatch(spelled) else None


def _unprefixed(number: PhoneNumber, gateway: Gateway) -> str:
    if gateway.number_format == "national":
        if number.country_code != phonenumbers.country_code_for_region(gateway.country):
            return ""
        return _NOT_A_DIGIT.sub("", phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return e164 if gateway.number_format == "e164" else e164.removeprefix("+")
