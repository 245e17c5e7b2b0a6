"""Destination rules and number formats, over the numbering plans of the world."""

from __future__ import annotations

import itertools
import re

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from esl_shield.config.gateways import Gateway
from esl_shield.config.resolver import DestinationsConfig
from esl_shield.errors.config import ConfigError
from esl_shield.resolver.destinations import LINE_TYPES, Destinations
from esl_shield.resolver.formats import check, dial_string
from esl_shield.vault import numbers, ranges
from esl_shield.vault.numbers import SubscriberNumber

DEFAULT = DestinationsConfig()
ALL_TYPES = tuple(LINE_TYPES)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
TYPES = sorted(vars(PhoneNumberType)[name] for name in vars(PhoneNumberType) if name.isupper() and name != "UNKNOWN")


def gateway(number_format: str = "e164", **changes) -> Gateway:
    return Gateway(name="g", delivery="edge", number_format=number_format, **changes)


def examples(region: str) -> list[SubscriberNumber]:
    """The numbering plan's own example number of every line type it has."""
    found = [phonenumbers.example_number_for_type(region, line_type) for line_type in TYPES]
    return [SubscriberNumber(phonenumbers.format_number(n, PhoneNumberFormat.E164)) for n in found if n]


@pytest.fixture(scope="module")
def default() -> Destinations:
    return Destinations(DEFAULT)


@pytest.mark.parametrize("region", REGIONS)
def test_line_types_decide_in_every_country(region, default):
    """Where a plan's example number is of a line type not named, it is refused for that, and called otherwise."""
    for number in examples(region):
        expected = None if numbers.line_type(number) in DEFAULT.line_types else "line_type"
        assert default.refusal(number) == expected
        assert numbers.line_type(number) in LINE_TYPES


@pytest.mark.parametrize("region", REGIONS)
def test_a_country_list_lets_only_its_countries_pass(region):
    """Each country's numbers pass its own list and not another's."""
    other = "CN" if region != "CN" else "SE"
    for number in examples(region):
        home = numbers.country(number)
        assert Destinations(DestinationsConfig(countries=(home,), line_types=ALL_TYPES)).refusal(number) is None
        assert Destinations(DestinationsConfig(countries=(other,), line_types=ALL_TYPES)).refusal(number) == "country"


def test_no_country_lets_its_emergency_numbers_pass():
    """Whatever a country's plan calls an emergency number is refused behind its code with everything allowed."""
    rules = Destinations(DestinationsConfig(line_types=ALL_TYPES))
    tried = set()
    for region, digits in itertools.product(REGIONS, map(str, range(100, 1000))):
        number = f"+{phonenumbers.country_code_for_region(region)}{digits}"
        if len(number) > 5 and phonenumbers.is_emergency_number(digits, region):
            assert rules.refusal(SubscriberNumber(number)) == "emergency"
            tried.add(region)
    assert len(tried) > 180


@pytest.mark.parametrize(
    ("e164", "config", "rule"),
    [
        ("+86110", DEFAULT, "emergency"),
        ("+861200", DEFAULT, "invalid"),
        ("+44999", DEFAULT, "emergency"),
        ("+49112", DEFAULT, "emergency"),
        ("+8610086", DEFAULT, "short_number"),
        ("+46112", DestinationsConfig(countries=("SE",)), "emergency"),
        ("+8613800138123", DEFAULT, None),
        ("+861380013812", DEFAULT, "invalid"),
        ("+861380013812345", DEFAULT, "invalid"),
        ("+9991234567", DEFAULT, "invalid"),
        ("+12025550123", DEFAULT, None),
        ("+19002345678", DEFAULT, "line_type"),
        ("+19002345678", DestinationsConfig(line_types=("premium_rate",)), None),
        ("+449098790123", DEFAULT, "line_type"),
        ("+33884012345", DEFAULT, "line_type"),
        ("+33884012345", DestinationsConfig(line_types=("shared_cost",)), None),
        ("+448081570123", DEFAULT, None),
        ("+448081570123", DestinationsConfig(line_types=("mobile",)), "line_type"),
        ("+861083001234", DestinationsConfig(own_numbers=("+86 10 8300 1234",)), "own_number"),
        ("+861083001235", DestinationsConfig(own_numbers=("+86 10 8300 1234",)), None),
        ("+12025550123", DestinationsConfig(countries=("CA",)), "country"),
        ("+14165550123", DestinationsConfig(countries=("CA",)), None),
        ("+80012345678", DestinationsConfig(countries=("CN",)), "country"),
        ("+80012345678", DestinationsConfig(countries=("001",)), None),
    ],
)
def test_each_rule_has_its_name(e164, config, rule):
    """One table of numbers, configurations and the rule that refuses them."""
    assert Destinations(config).refusal(SubscriberNumber(e164)) == rule


def test_a_gateways_caller_ids_are_own_numbers():
    """A call to the number we show as caller would come back to us, in whichever format the ID is written."""
    shown = (gateway(caller_id=("+861083001234",)), Gateway("h", "edge", country="CN", caller_id=("01083001235",)))
    rules = Destinations(DEFAULT, shown)
    assert rules.refusal(SubscriberNumber("+861083001234")) == "own_number"
    assert rules.refusal(SubscriberNumber("+861083001235")) == "own_number"
    assert rules.refusal(SubscriberNumber("+861083001236")) is None


@pytest.mark.parametrize(
    "config",
    [
        DestinationsConfig(line_types=("mobil",)),
        DestinationsConfig(own_numbers=("reception",)),
        DestinationsConfig(countries=("UK",)),
    ],
)
def test_rules_that_cannot_be_read_are_a_config_error(config):
    """A misspelt line type, own number or country stops the resolver from starting instead of weakening a rule."""
    with pytest.raises(ConfigError):
        Destinations(config)


@pytest.mark.parametrize(
    ("e164", "number_format", "changes", "expected"),
    [
        ("+8613800138123", "e164", {}, "+8613800138123"),
        ("+8613800138123", "e164_noplus", {}, "8613800138123"),
        ("+8613800138123", "e164_noplus", {"prefix": "00"}, "008613800138123"),
        ("+8613800138123", "e164_noplus", {"prefix": "+"}, "+8613800138123"),
        ("+8613800138123", "national", {"country": "CN"}, "13800138123"),
        ("+861083001234", "national", {"country": "CN"}, "01083001234"),
        ("+861083001234", "national", {"country": "CN", "prefix": "9"}, "901083001234"),
        ("+442079460123", "national", {"country": "GB"}, "02079460123"),
        ("+12025550123", "national", {"country": "US"}, "2025550123"),
        ("+14165550123", "national", {"country": "US"}, "4165550123"),
        ("+12025550123", "national", {"country": "US", "prefix": "1"}, "12025550123"),
        ("+61491570156", "national", {"country": "AU"}, "0491570156"),
        ("+390612345678", "national", {"country": "IT"}, "0612345678"),
        ("+393123456789", "national", {"country": "IT"}, "3123456789"),
        ("+46701740605", "national", {"country": "SE"}, "0701740605"),
        ("+4532123456", "national", {"country": "DK"}, "32123456"),
        ("+79123456789", "national", {"country": "RU"}, "89123456789"),
        ("+442079460123", "national", {"country": "CN"}, None),
        ("+442079460123", "national", {"country": "CN", "prefix": "00"}, None),
        ("+8613800138123", "e164_noplus", {"prefix": "12345678"}, None),
    ],
)
def test_a_gateways_format_spells_the_number(e164, number_format, changes, expected):
    """One table of numbers, gateways and what goes on the wire; None is what a gateway cannot carry."""
    wire = gateway(number_format, **changes)
    number = SubscriberNumber(e164)
    assert dial_string(number, wire, ranges.read(e164, None)) == dial_string(number, wire, None) == expected
    spelled, rule = Destinations(DEFAULT, [wire]).spelling(SubscriberNumber(e164), wire)
    assert (spelled or None, rule) == (expected, None if expected else "format")


@pytest.mark.parametrize("region", REGIONS)
def test_what_reaches_the_wire_is_digits_in_every_country(region, default):
    """Every plan's example number has a spelling of digits in each format, and the national one dials nobody's help."""
    for number in examples(region):
        for wire in (gateway(), gateway("e164_noplus"), gateway("national", country=region)):
            spelled, rule = default.spelling(number, wire)
            assert rule is None
            assert re.fullmatch(r"\+?[0-9]{3,20}", spelled)


def test_a_subscriber_elsewhere_is_refused_where_its_digits_dial_for_help():
    """A short number of Luxembourg is callable, but not where it is an emergency number."""
    number = SubscriberNumber("+3529999")
    home, oman = gateway("national", country="LU"), Gateway("h", "edge", country="OM")
    assert Destinations(DEFAULT, [home]).refusal(number) is None
    assert Destinations(DEFAULT, [home]).spelling(number, home) == ("9999", None)
    assert Destinations(DEFAULT, [home, oman]).refusal(number) == "emergency"
    assert Destinations(DEFAULT, [home, oman]).spelling(number, home) == ("", "emergency")


@pytest.mark.parametrize("bad", [gateway(prefix="9"), gateway("national"), gateway("national", country="ZZ")])
def test_a_format_that_could_spell_nothing_is_a_config_error(bad):
    """A prefix before +, and national numbers of no country, stop the resolver from starting."""
    with pytest.raises(ConfigError):
        check(bad)
    with pytest.raises(ConfigError):
        Destinations(DEFAULT, [bad])
