"""Masks of a whole text held against the patterns they stand for."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leak_finder import Numbers

from esl_shield.audit.leakscan import digits
from esl_shield.audit.leakscan.digits import CLASSES, LONG_DIGITS, Cutter
from esl_shield.audit.leakscan.sieve import Masks, Sieve, lines

LEAST = 7
HEADS = [(), (), (), (), (), (), (), (b"138", b"000"), (b"999",), (), (b"138",), (b"442",), (b"861", b"000")]
GROUPS = digits._GROUPED_AT
# One byte for each class, digits and what stands between groups more often than letters.
SIGNS = (b" ", b"-", b".", b"+", b"(", b"  ", b" (", b"---", b"c", b"w", b"N", b"M", b"T", b"Z", b"=", b"\0", b"\n")
DIGITS = st.text("0123456789", min_size=1, max_size=14).map(str.encode)
STRETCHES = st.lists(st.one_of(DIGITS, DIGITS.map(lambda row: row[:3]), st.sampled_from(SIGNS)), max_size=60)
TEXTS = STRETCHES.map(b"".join)
# Groups as numbers have them, with one byte changed: near to what a pattern matches, and near to what it does not.
NUMBERS = st.sampled_from([
    b"a138 0013 8001z", b"+86 (138) 0013---8001", b"13 80 01 38 00 1", b"138.0013.8001", b"13.80.01.38.00", b"+4420.79",
    b"020 79460018", b"12345  12345678901 ", b"1234567  123", b"12345678 123", b"+1 202", b"+1234+5",
    b"-123-12345678901",
])  # fmt: skip
NEAR = st.tuples(NUMBERS, st.integers(0, 20), st.sampled_from([*SIGNS, b"7", b"00", b""])).map(
    lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + 1 :]
)


@settings(max_examples=600, deadline=None)
@given(st.one_of(TEXTS, NEAR, st.lists(NEAR, max_size=9).map(b" ".join)))
def test_masks_let_every_place_pass_that_a_pattern_matches(text):
    """No place at which a pattern of groups matches is missing, the first and the last of a text among them."""
    classes = text.translate(CLASSES)
    for pattern, places in zip(GROUPS, Masks(classes).groups(), strict=True):
        matched = {at for at in range(len(classes)) if pattern.match(classes, at)}
        assert matched <= set(places), pattern.pattern
        assert places == sorted(set(places))


@settings(max_examples=400, deadline=None)
@given(TEXTS.map(lambda text: text.replace(b"5", b"138").replace(b"6", b"000")), st.booleans())
def test_rows_are_those_with_length_and_beginning_of_a_number(text, long):
    """Rows of digits are told when their beginning fits their length or they are long, and no others."""
    text += b"4" * LONG_DIGITS if long else b""
    expected = [
        match.span()
        for match in re.finditer(rb"[0-9]+", text)
        if (size := len(match[0])) >= LONG_DIGITS or (LEAST <= size < len(HEADS) and match[0][:3] in HEADS[size])
    ]
    assert Sieve(HEADS, LEAST).whole(text, Masks(text.translate(CLASSES)), LONG_DIGITS) == expected


@pytest.mark.parametrize("least", range(3, 12))
def test_a_row_of_every_least_length_is_seen(least):
    """The shortest row looked for is seen, one digit less is not."""
    heads = [()] * least + [(b"123",)]
    for size in (least - 1, least):
        text = b"x" + b"123456789012"[:size] + b"x12"
        found = Sieve(heads, least).whole(text, Masks(text.translate(CLASSES)), LONG_DIGITS)
        assert found == ([(1, 1 + size)] if size == least else [])


def test_both_ways_of_searching_find_the_same_in_every_window(monkeypatch):
    """Masks and patterns alone give the same runs in the same order, wherever a window begins and ends."""
    vault, chance = Numbers(), random.Random(4)  # noqa: S311
    pieces = (
        b"13800138001", b"+86 138 0013 8001", b"2026-11-22 10:15:07.123456", b"192.0.2.17", b"138.0013.8001", b" and ",
        b"3133383030313338303031", b"13 80 01 38 00 1", b"e3b0c442-98fc-4314-9afb", b"\n", b"4" * 90,
    )  # fmt: skip
    text = b"".join(chance.choices(pieces, k=400))
    classes = text.translate(CLASSES)
    for _ in range(60):
        begin, end = sorted(chance.choices(range(len(text)), k=2))
        found = []
        for least in (0, 1 << 30):
            monkeypatch.setattr(digits, "SIEVED_BYTES", least)
            found.append(list(Cutter(vault.shape, vault.least).runs(text, classes, begin, end)))
        assert found[0] == found[1]


@given(st.lists(st.sampled_from([b"\n", b"a", b"\r\n"]), max_size=30).map(b"".join), st.data())
def test_lines_are_counted_to_each_place(text, data):
    """Lines that ended before a place count from the window's beginning, in whatever order places are asked for."""
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    places = data.draw(st.lists(st.integers(begin, end), max_size=5))
    expected = [text.count(b"\n", begin, at) for at in places]
    assert lines(text, begin, end, places) == (expected, text.count(b"\n", begin, end))
