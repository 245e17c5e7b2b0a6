"""Numbers read by their beginnings are read as one by one; what a beginning says of an expression is so."""

import itertools
import random
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault import automata, numbers, ranges, starts
from esl_shield.vault.automata import Start, Undecided

REGIONS = ("CN", "US", "GB", "DE", "IT", "AR", "BR", "MX", "RU", "KZ", "AU", "JP", "JE", "BB", "IN", "HK")
KINDS = [kind for kind in PhoneNumberType.values() if kind != PhoneNumberType.UNKNOWN]
LEAST_SHARE = 0.1
PATTERNS = (
    "1(?:[38]\\d|4[57])\\d{2}", "(1(?:[12]\\d|79)\\d\\d)|0", "00", "[2-9]\\d{0,2}|1", "(?:12?3){1,2}4?",
    "\\d{2,4}5", "1|12|123",
)  # fmt: skip


def _read(read, *arguments):
    try:
        return read(*arguments)
    except NumberRejected as error:
        return str(error)


def _spellings(region, chance):
    """Examples of each kind, some last digits changed: with +, with the country code, as at home."""
    for kind in KINDS:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is not None:
            digits = phonenumbers.format_number(example, PhoneNumberFormat.E164)[1:]
            for changed in (2, 4, 7):
                text = digits[:-changed] + "".join(chance.choices("0123456789", k=changed))
                yield from ("+" + text, text, text[len(str(example.country_code)) :])


@pytest.mark.parametrize("region", REGIONS)
def test_reads_as_one_by_one(region):
    """Every kind of number of a region, read at home, elsewhere or nowhere, is what it is without its beginning."""
    chance = random.Random(region)  # noqa: S311 - any digits will do
    readers = {home: starts.Starts(home) for home in (region, "FR", None)}
    read = known = 0
    for text, home in itertools.product(_spellings(region, chance), readers):
        reader = readers[home]
        assert _read(reader.parse_derived, text) == _read(numbers.parse_derived, text, home)
        known += reader._known.get((text[: 8 if text[0] == "+" else 5], len(text))) is not None
        read += ranges.read(text, home) is not None
    assert known >= LEAST_SHARE * read


@given(st.from_regex(r"\A[ +']?[0-9]{0,17}[ x]?\Z") | st.text(max_size=20), st.sampled_from([*REGIONS[:5], None]))
def test_reads_anything_as_one_by_one(text, region):
    """Whatever a cell holds gets the number or the refusal it gets without beginnings."""
    assert _read(starts.reader(region), text) == _read(numbers.parse_derived, text, region)


def test_remembers_few():
    """What is remembered is bounded, and no beginning of fewer than ten thousand numbers is."""
    reader = starts.Starts("CN")
    reader._known = {(f"{at:05}", 99): None for at in range(starts._MOST)}
    reader.parse_derived("13800138001")
    for text in ("+4420794600", "1" * 40):  # of an impossible length
        with pytest.raises(NumberRejected):
            reader.parse_derived(text)
    assert reader._known.keys() == {("13800", 11), ("+4420794", 11)}
    assert all(length - len(start) >= 4 for (start, length), known in reader._known.items() if known)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_says_what_all_texts_say(pattern):
    """Of every beginning: yes where all texts match, no where none does, nothing where some do."""
    expression = automata.compile(pattern)
    for length in range(6):
        texts = ["".join(digits) for digits in itertools.product("012345", repeat=length)]
        for known in range(length + 1):
            by_start: dict[str, list[str]] = {}
            for text in texts:
                by_start.setdefault(text[:known], []).append(text)
            for start, all_ in by_start.items():
                for name in ("match", "fullmatch"):
                    found = {getattr(re.compile(pattern), name)(text) is not None for text in all_}
                    try:
                        assert {getattr(expression, name)(Start(start, length))} == found
                    except Undecided:
                        # Digits above 5 are not tried here, so that a beginning may be undecided by those alone.
                        assert len(found) == 2 or length > known


def test_unknown_expressions():
    """An expression phonenumbers does not write is refused, so that its numbers are read one by one."""
    for pattern in ("(?=1)2", "1$", "1*", "a"):
        with pytest.raises(ValueError, match="unknown construct"):
            automata.compile(pattern)
