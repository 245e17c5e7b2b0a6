"""The fast way to read digits as numbers, held against phonenumbers itself."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from esl_shield.vault import numbers
from esl_shield.vault.beginnings import HEAD, beginnings
from esl_shield.vault.plan import Plan, Shape

REGIONS = (
    "AE", "AR", "AU", "BR", "CA", "CN", "DE", "ES", "FR", "GB", "HK", "ID", "IN", "IT", "JP", "KR", "MX", "MY", "NL",
    "NZ", "PH", "PL", "SE", "SG", "TH", "TR", "TW", "US", "VN", "ZA",
)  # fmt: skip
KINDS = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE, PhoneNumberType.TOLL_FREE)


def _spellings(phone):
    e164 = phonenumbers.format_number(phone, PhoneNumberFormat.E164)
    national = phonenumbers.format_number(phone, PhoneNumberFormat.NATIONAL)
    return e164, e164[1:], "00" + e164[1:], "".join(filter(str.isdigit, national))


@pytest.mark.parametrize("region", REGIONS)
def test_every_regions_examples_are_read_as_phonenumbers_reads_them(region):
    """Example numbers of each kind, as E.164, without +, with 00 and as at home, are among what the plan reads."""
    plan = Plan(region, {region})
    shape = Shape(plan.patterns)
    for kind in KINDS:
        phone = phonenumbers.example_number_for_type(region, kind)
        if phone is None or not phonenumbers.is_valid_number(phone):
            continue
        for spelling in _spellings(phone):
            parsed = numbers.read_valid(spelling, region)
            if parsed is None or phonenumbers.region_code_for_number(parsed) != region:
                continue
            expected = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)[1:]
            digits = spelling.removeprefix("+").encode()
            assert expected in plan.read(spelling.encode()), kind
            assert shape.fits(digits)
            assert digits[:HEAD] in shape.heads[len(digits)]


@pytest.mark.parametrize(
    ("region", "spelling", "number"),
    [
        ("AR", b"011 15 5555 1234", "5491155551234"),
        ("AR", b"11 5555 1234", "541155551234"),
        ("AR", b"+54 9 11 5555 1234", "5491155551234"),
        ("BR", b"011 96123 4567", "5511961234567"),
        ("BR", b"+55 11 96123 4567", "5511961234567"),
        ("BR", b"0 15 11 96123 4567", "5511961234567"),
    ],
)
def test_transformed_numbers_are_read(region, spelling, number):
    """Argentina's 15 for the 9 of abroad, and Brazil's carrier codes, are undone."""
    assert number in Plan(region, {region}).read(spelling.replace(b" ", b""))


def test_what_a_gateway_is_dialled_by_is_taken_off():
    """A prefix in front of any spelling is as if it were not there."""
    plan = Plan("CN", {"CN"}, ("99",))
    for spelling in (b"9913800138001", b"99013800138001", b"99008613800138001"):
        assert plan.read(spelling) == ["8613800138001"]
        assert Shape(plan.patterns).fits(spelling)
    assert Plan("CN", {"CN"}).read(b"9913800138001") == []


def test_only_countries_of_the_vault_are_looked_for():
    """Digits of another country are nothing."""
    assert Plan("CN", {"CN"}).read(b"+442079460018") == []
    assert Plan("CN", {"CN", "GB"}).read(b"+442079460018") == ["442079460018"]
    assert Plan("CN", None).read(b"+442079460018") == ["442079460018"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("12", {("12", 2)}),
        ("1[3-5]\\d{2}", {(f"1{a}{b}", 4) for a in "345" for b in "0123456789"}),
        ("(?:1|23)4?", {("1", 1), ("14", 2), ("23", 2), ("234", 3)}),
        ("7{2,4}", {("77", 2), ("777", 3), ("777", 4)}),
    ],
)
def test_beginnings(pattern, expected):
    """Alternatives, classes, counts and options are followed to three digits and a length."""
    assert beginnings(pattern) == expected


@pytest.mark.parametrize("pattern", ["1+", "^1", "(?=1)2", "1)"])
def test_what_is_not_understood_is_an_error(pattern):
    """A construct that could hide numbers from the search is refused."""
    with pytest.raises(ValueError, match="expression"):
        beginnings(pattern)
