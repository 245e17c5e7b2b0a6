import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.vault import tokens

bodies = st.text("0123456789", min_size=7, max_size=19)
lengths = st.integers(tokens.TOKEN_MIN_LENGTH, tokens.TOKEN_MAX_LENGTH)


def _token(body: str) -> str:
    return body + tokens.damm_digit(body)


def test_known_check_digit():
    """The check digit is Damm's: 572 is followed by 4."""
    assert tokens.damm_digit("572") == "4"


@given(bodies)
def test_round_trip(body):
    """A body with its check digit is a token."""
    assert tokens.is_valid(_token(body))


@given(bodies, st.data())
def test_single_errors(body, data):
    """Every single wrong digit is refused."""
    token = _token(body)
    at = data.draw(st.integers(0, len(token) - 1))
    for digit in "0123456789":
        if digit != token[at]:
            assert not tokens.is_valid(token[:at] + digit + token[at + 1 :])


@given(bodies)
def test_adjacent_swaps(body):
    """Every swap of two neighbouring digits that differ is refused."""
    token = _token(body)
    for at in range(len(token) - 1):
        if token[at] != token[at + 1]:
            assert not tokens.is_valid(token[:at] + token[at + 1] + token[at] + token[at + 2 :])


@given(st.text("0123456789", max_size=6), lengths)
def test_draw(prefix, length):
    """A drawn token has the tenant's prefix and length and is a token."""
    token = tokens.draw(prefix, length)
    assert tokens.valid_for(token, prefix, length)
    assert tokens.is_valid(token)


def test_draws_differ():
    """Two thousand draws of 14 digits are two thousand tokens."""
    assert len({tokens.draw("", 14) for _ in range(2000)}) == 2000


@pytest.mark.parametrize(("prefix", "length"), [("", 7), ("", 21), ("1234567", 8), ("12a", 14), ("１２", 14)])
def test_draw_refuses(prefix, length):
    """Prefix and length that leave no room, or a prefix that is no digits, are refused."""
    with pytest.raises(ValueError, match="fits behind"):
        tokens.draw(prefix, length)


@pytest.mark.parametrize("text", ["", "0" * 7, "0" * 21, "５７２4", " 00000000", "00000000\n", "0000000x", "+0000000"])
def test_grammar(text):
    """Only 8 to 20 ASCII digits are a token."""
    assert not tokens.is_valid(text)


def test_grammar_of_tenant():
    """A token of another length or prefix is not one of the tenant's."""
    token = tokens.draw("77", 14)
    assert not tokens.valid_for(token, "78", 14)
    assert not tokens.valid_for(token, "77", 13)


@given(st.text(max_size=40))
def test_is_valid_takes_anything(text):
    """Any text at all is answered without an error."""
    assert tokens.is_valid(text) in (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("empty", 0)),
        ("13800138001", ("digits", 11)),
        ("+8613800138001", ("plus_digits", 14)),
        ("*98#", ("star_code", 4)),
        ("alice", ("other", 5)),
        ("+", ("other", 1)),
        ("１３８", ("other", 3)),
    ],
)
def test_classify(text, expected):
    """Dialled text that is no token is described by class and length."""
    assert tokens.classify(text) == expected


@given(st.text(max_size=40))
def test_classify_tells_no_text(text):
    """A description is one of five words and a length, whatever was dialled."""
    kind, length = tokens.classify(text)
    assert kind in {"empty", "digits", "plus_digits", "star_code", "other"}
    assert length == len(text)


def test_capacity():
    """One random token in ten thousand may exist: 14 digits without prefix hold a billion tokens."""
    assert tokens.capacity(0, 14) == 10**9
    assert tokens.capacity(2, 14) == 10**7
