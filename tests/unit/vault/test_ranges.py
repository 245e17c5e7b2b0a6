"""Numbers read from the plans directly are what phonenumbers says, in every country and of every kind."""

import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from esl_shield.resolver import destinations
from esl_shield.vault import numbers, ranges
from esl_shield.vault.tokens import damm_digit, draw_many, is_valid

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = [kind for kind in PhoneNumberType.values() if kind != PhoneNumberType.UNKNOWN]
LEAST_SHARE = 0.5


def _asked(text, region):
    """What phonenumbers says; raises NumberRejected."""
    phone = numbers._phone(text, region)
    return numbers._subscriber(phone), numbers._derive(phone)


def _spellings(region, chance):
    """Examples of each kind, some digits changed: with +, with the country code, as at home."""
    for kind in KINDS:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        for changes in (0, 1, 2):
            digits = list(phonenumbers.format_number(example, PhoneNumberFormat.E164)[1:])
            for _ in range(changes):
                digits[chance.randrange(len(digits))] = chance.choice("0123456789")
            text = "".join(digits)
            yield from ("+" + text, text, text[len(str(example.country_code)) :])


@pytest.mark.parametrize("part", range(4))
def test_says_what_phonenumbers_says(part):
    """Whatever is answered for examples of every region, read at home or abroad, is phonenumbers' own answer."""
    chance = random.Random(part)  # noqa: S311 - any digits will do
    tried = answered = 0
    for region in REGIONS[part::4]:
        for text in _spellings(region, chance):
            for home in (region, "CN"):
                if ranges.read(text, home) is not None:
                    answered += 1
                    assert numbers.parse_derived(text, home) == _asked(text, home), region
            tried += text.startswith("+")
    assert answered > LEAST_SHARE * tried


@given(st.from_regex(r"\A\+?[0-9]{3,16}\Z"), st.sampled_from([*REGIONS, None]))
def test_never_says_yes_alone(text, region):
    """No digits whatever are taken that phonenumbers would refuse, or read otherwise."""
    if ranges.read(text, region) is not None:
        assert numbers.parse_derived(text, region) == _asked(text, region)


def test_usual_numbers_are_answered():
    """The numbers imports are made of do not need phonenumbers."""
    for text, region in (
        ("13800138001", "CN"),
        ("+8613800138001", "US"),
        ("2025550123", "US"),
        ("+442079460123", None),
    ):
        assert ranges.read(text, region) is not None, region


@pytest.mark.parametrize(
    "text", ["00447700900123", "013800138001", "8613800138001", "+86 138", "138-0013-8001", "+0123"]
)
def test_leaves_the_rest(text):
    """Prefixes, separators and leading zeros are phonenumbers' business."""
    assert ranges.read(text, "CN") is None


def test_emergency_and_short_numbers():
    """The resolver's own look at emergency and short numbers is phonenumbers'."""
    chance = random.Random(7)  # noqa: S311 - any digits will do
    for region in REGIONS:
        code = phonenumbers.country_code_for_region(region)
        short = PhoneMetadata.short_metadata_for_region(region)
        texts = [chance.choice("123456789") + "".join(chance.choices("0123456789", k=n)) for n in range(2, 13)]
        if short is not None:
            descs = (short.short_code, short.emergency)
            texts += [d.example_number for d in descs if d and d.example_number and d.example_number[0] != "0"]
        for text in texts:
            phone = PhoneNumber(country_code=code, national_number=int(text))
            assert destinations._is_short(code, text) == phonenumbers.is_valid_short_number(phone), region
            fits = destinations._emergencies(frozenset({region}))
            assert bool(fits and fits(text)) == phonenumbers.is_emergency_number(text, region), region


@pytest.mark.parametrize(("prefix", "length"), [("7", 8), ("91", 14), ("12345678", 20)])
def test_many_tokens(prefix, length):
    """Tokens drawn together are tokens, all different."""
    drawn = draw_many(prefix, length, 500)
    assert len(set(drawn)) == 500
    assert all(is_valid(token) and token.startswith(prefix) and len(token) == length for token in drawn)
    assert all(damm_digit(token[:-1]) == token[-1] for token in drawn)
    assert draw_many(prefix, length, 0) == []
