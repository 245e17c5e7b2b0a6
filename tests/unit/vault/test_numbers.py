import copy
import json
import pickle
import traceback
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault import numbers
from esl_shield.vault.numbers import SubscriberNumber

NUMBER = "+8613800138001"


class Holder(NamedTuple):
    number: Any


def _parsed(text, region="CN"):
    return numbers.parse(text, region).reveal()


@pytest.mark.parametrize(
    "text",
    [
        "13800138001",
        "+8613800138001",
        "008613800138001",
        "8613800138001",
        "013800138001",
        "138 0013 8001",
        "138-0013-8001",
        "138.0013.8001",
        "(+86) 138-0013-8001",
        "+86 (138) 0013/8001",
        "１３８００１３８００１",
        "＋８６　１３８　００１３　８００１",
        "138\u20110013\u20118001",
        "\u202d+86 138\u00a00013 8001\u202c",
        "tel:+86-138-0013-8001",
        "'13800138001",
        "  13800138001\t",
        "١٣٨٠٠١٣٨٠٠١",
    ],
)
def test_spellings(text):
    """Each common spelling of a number is the same number."""
    assert _parsed(text) == NUMBER


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("010 6552 9988", "CN", "+861065529988"),
        ("+44 (0)20 7946 0018", "CN", "+442079460018"),
        ("0044 20 7946 0018", "US", "+442079460018"),
        ("011 44 20 7946 0018", "US", "+442079460018"),
        ("(202) 555-0101", "US", "+12025550101"),
        ("0491 570 006", "AU", "+61491570006"),
        ("+442079460018", None, "+442079460018"),
    ],
)
def test_regions(text, region, expected):
    """A number without country code is the default region's, one with it is its own country's."""
    assert _parsed(text, region) == expected


@pytest.mark.parametrize(
    ("text", "region", "reason"),
    [
        ("", "CN", "empty"),
        ("   ", "CN", "empty"),
        ("tel:", "CN", "empty"),
        ("abc", "CN", "spelling"),
        ("1800FLOWERS", "US", "spelling"),
        ("1.38001E+10", "CN", "spelling"),
        ("13800138001.0", "CN", "spelling"),
        ("13800138001 ext 5", "CN", "extension"),
        ("13800138001x5", "CN", "extension"),
        ("13800138001;13800138002", "CN", "spelling"),
        ("13800138001,13800138002", "CN", "spelling"),
        ("1380013800", "CN", "invalid"),
        ("138001380011", "CN", "invalid"),
        ("110", "CN", "invalid"),
        ("+999123456789", "CN", "invalid"),
        ("13800138001/13800138002", "CN", "invalid"),
        ("13800138001", "US", "invalid"),
        ("13800138001", None, "region"),
        ("1" * 65, "CN", "spelling"),
        ("13800138001\x00", "CN", "spelling"),
        ("++8613800138001", "CN", "spelling"),
        ("+86+13800138001", "CN", "spelling"),
    ],
)
def test_refusals(text, region, reason):
    """What is no number is refused with a word for the reason and without the text."""
    with pytest.raises(NumberRejected) as caught:
        numbers.parse(text, region)
    assert caught.value.fields["reason"] == reason
    assert text[:6].strip() not in str(caught.value) or len(text.strip()) < 4


@given(st.text(max_size=80), st.sampled_from(["CN", "US", "GB", "HK", None]))
def test_parse_takes_anything(text, region):
    """Any text is a number of at most 15 digits or refused, with nothing else raised."""
    try:
        number = numbers.parse(text, region)
    except NumberRejected:
        return
    assert number.reveal()[1:].isdigit()
    assert len(number.reveal()) <= 16


@given(st.text("0123456789+-() .０１３８", max_size=24))
def test_parse_takes_number_like_text(text):
    """Text made of a number's characters is a number or refused."""
    test_parse_takes_anything.hypothesis.inner_test(text, "CN")


def test_shows_nothing():
    """No way of turning a number into text, bytes or a copy shows its digits."""
    number = numbers.parse(NUMBER, None)
    shown = [
        repr(number),
        str(number),
        f"{number}",
        f"{number:>40}",
        f"{number!r:s}",
        repr([number]),
        repr({"n": number}),
        repr(Holder(number)),
        ascii(number),
        repr(copy.copy(number)),
        repr(copy.deepcopy([number])),
    ]
    assert not any("138" in text or "8001" in text for text in shown)
    assert not hasattr(number, "__dict__")


@pytest.mark.parametrize("write", [pickle.dumps, json.dumps, hash, bytes, iter, len, int, dict, vars])
def test_is_never_written(write):
    """Pickling, JSON, hashing and turning a number into another type raise without showing it."""
    with pytest.raises(TypeError) as caught:
        write(numbers.parse(NUMBER, None))
    assert "138" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_protocol(protocol):
    """No pickle protocol takes a number, alone or inside something."""
    with pytest.raises(TypeError):
        pickle.dumps([numbers.parse(NUMBER, None)], protocol)


def test_traceback_with_locals():
    """A traceback that prints local variables shows no number."""
    try:
        number = numbers.parse(NUMBER, None)
        raise RuntimeError  # noqa: TRY301
    except RuntimeError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert repr(number) in text
    assert "8001" not in text.replace("138001", "")


def test_equality():
    """Numbers are equal by what they hold and to nothing else."""
    assert numbers.parse("13800138001", "CN") == numbers.parse(NUMBER, None)
    assert numbers.parse("13800138002", "CN") != numbers.parse(NUMBER, None)
    assert numbers.parse(NUMBER, None) != NUMBER


@pytest.mark.parametrize(
    "text", ["", "13800138001", "+", "+0123456", "+1234567890123456", "+86138x", "+8613800138001\n"]
)
def test_constructor_takes_e164_only(text):
    """Nothing but + and 5 to 15 digits becomes a number."""
    with pytest.raises(NumberRejected):
        SubscriberNumber(text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+8613800138001", ("CN", "Beijing", "Asia/Shanghai", "mobile")),
        ("+861065529988", ("CN", "Beijing", "Asia/Shanghai", "fixed_line")),
        ("+12025550101", ("US", "Washington D.C.", "America/New_York", "fixed_line_or_mobile")),
        ("+864008001234", ("CN", "", "Asia/Shanghai", "shared_cost")),
    ],
)
def test_derive(number, expected):
    """Country, region, time zone and line type are derived without a network."""
    derived = numbers.parse_derived(number, None)[1]
    assert (derived.country, derived.line_type) == (expected[0], expected[3])
    assert derived.time_zone == expected[2]
    assert derived.region == expected[1]


def test_derive_of_several_zones():
    """A number whose place has several time zones has none."""
    assert numbers.parse_derived("+61491570006", None)[1].time_zone == ""


def test_country_and_line_type():
    """Country and line type can be had without the large tables."""
    number = SubscriberNumber("+442079460018")
    assert (numbers.country(number), numbers.line_type(number)) == ("GB", "fixed_line")
