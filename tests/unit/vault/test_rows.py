import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.errors.tokens import AliasRejected, ExpiryRejected, LabelRejected
from esl_shield.vault import numbers, rows, tokens
from esl_shield.vault.rows import Refused, Row, read_row
from esl_shield.vault.seedkeys import SeedingTenant

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
TENANT = SeedingTenant("acme", 1, "CN", "77", 14)


def _read(**cells):
    return read_row({"number": "13800138001", **cells}, TENANT, NOW, None)


def test_row():
    """A row is read with what is derived from its number; empty labels are left out."""
    row = _read(alias=" C-1 ", expires_at="2030-02-01T08:00:00+08:00", city="Beijing", note="")
    assert (row.alias, row.labels) == ("C-1", {"city": "Beijing"})
    assert row.expires_at == dt.datetime(2030, 2, 1, tzinfo=dt.UTC)
    assert (row.derived.country, row.derived.line_type) == ("CN", "mobile")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"number": ""}, "number.empty"),
        ({"number": "1380013"}, "number.invalid"),
        ({"number": "call me"}, "number.spelling"),
        ({"number": "13800138001 ext 7"}, "number.extension"),
        ({"alias": "a b"}, "alias.spelling"),
        ({"alias": "客户"}, "alias.spelling"),
        ({"alias": "a" * 65}, "alias.spelling"),
        ({"alias": "C-13800138001"}, "alias.holds_number"),
        ({"alias": "0138001"}, "alias.holds_number"),
        ({"alias": "8613800138001"}, "alias.holds_number"),
        ({"alias": "13800138002"}, "alias.is_number"),
        ({"alias": "11010519491231002X"}, "alias.is_id_card"),
        ({"alias": "4539578763621486"}, "alias.is_bank_card"),
        ({"alias": tokens.draw("77", 14)}, "alias.token"),
        ({"city": "一三八〇〇一三八〇〇一"}, "label.holds_number"),
        ({"city": "call 138-0013-8002"}, "label.is_number"),
        ({"city": "ID 11010519491231002X"}, "label.is_id_card"),
        ({"city": "4539 5787 6362 1486"}, "label.is_bank_card"),
        ({"city": "x" * 513}, "label.too_long"),
        ({"city": "a\x1b[2J"}, "label.unprintable"),
        ({f"l{at}": "京" * 500 for at in range(6)}, "label.too_much"),
        ({"expires_at": "soon"}, "expires_at.moment"),
        ({"expires_at": "2029-12-31T23:59:59Z"}, "expires_at.past"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at.moment"),
    ],
)
def test_refusals(cells, reason):
    """A row that may not go in is refused with one word for the reason and its number masked."""
    refused = _read(**cells)
    assert isinstance(refused, Refused)
    assert refused.reason == reason
    assert "138001" not in refused.masked.replace("*", "")
    assert len(refused.masked.lstrip("*")) <= 2


@pytest.mark.parametrize("alias", ["C-20231234", "TASK.99812", "a", "-", "4711", "id_7", "SO-20231121-001"])
def test_aliases(alias):
    """The aliases call centres use are taken."""
    rows.check_alias(alias, TENANT)
    assert _read(alias=alias).alias == alias


def test_alias_of_another_shape_than_tokens():
    """Digits that would be a token of another prefix may be an alias, if they are no number."""
    rows.check_alias("00000000", TENANT)


@given(st.text(max_size=70))
def test_alias_takes_anything(alias):
    """Any text is an alias or refused."""
    with contextlib.suppress(AliasRejected):
        rows.check_alias(alias, TENANT)


@given(st.dictionaries(st.sampled_from(["number", "alias", "expires_at", "city"]), st.text(max_size=40)))
def test_rows_take_anything(cells):
    """Any row is taken or refused, with nothing raised."""
    assert isinstance(_read(**cells), Row | Refused)


@given(
    st.integers(0, 99_999_999), st.sampled_from(["", "+86", "0086", "86", "0"]), st.sampled_from(["", " ", "-", "."])
)
def test_spellings_in_labels(serial, prefix, separator):
    """A label that spells its row's number in whatever common way is refused."""
    number = f"138{serial:08d}"
    label = prefix + separator.join((number[:3], number[3:7], number[7:]))
    refused = _read(number=number, city=f"at home {label}!")
    assert refused == Refused("label.holds_number", "*" * 9 + number[-2:])


@pytest.mark.parametrize("name", ["", " x", "x ", "number", "Alias", "TOKEN", "a\nb", "13800138001", "x" * 65])
def test_label_names(name):
    """A label's name is printable, none of our own columns and no number."""
    with pytest.raises(LabelRejected):
        rows.check_label_name(name)


@pytest.mark.parametrize("name", ["city", "城市", "Customer group", "x" * 64])
def test_good_label_names(name):
    """Other names are taken, in any script."""
    rows.check_label_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2031-01-01T00:00:00Z", dt.datetime(2031, 1, 1, tzinfo=dt.UTC)),
        ("2031-01-01", dt.datetime(2031, 1, 1, tzinfo=dt.UTC)),
        ("2031-01-01T08:00:00+08:00", dt.datetime(2031, 1, 1, tzinfo=dt.UTC)),
        (" 2031-01-01 00:00 ", dt.datetime(2031, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_expiry(text, expected):
    """A moment without a zone is UTC, one with a zone is brought to UTC."""
    assert rows.read_expiry(text, NOW) == expected


@given(st.text(max_size=40))
def test_expiry_takes_anything(text):
    """Any text is a moment in the future or refused."""
    with contextlib.suppress(ExpiryRejected):
        assert rows.read_expiry(text, NOW) > NOW


@given(st.from_regex(rows._PLAIN_ALIAS, fullmatch=True).filter(bool))
def test_plain_aliases(alias):
    """An alias that is taken without a closer look is one every tenant may use for any number."""
    rows.check_alias(alias, TENANT, numbers.parse("+8613800138001", None))
