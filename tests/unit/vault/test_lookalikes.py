import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.vault import lookalikes, numbers

NUMBER = numbers.parse("+8613800138001", None)


@pytest.mark.parametrize(
    "text",
    [
        "13800138001",
        "+8613800138001",
        "C-13800138001",
        "8613800138001",
        "138-0013-8001",
        "138_0013_8001",
        "1.3.8.0.0.1.3.8.0.0.1",
        "called 013800138001 twice",
        "１３８００１３８００１",
        "一三八〇〇一三八〇〇一",
        "壹叁捌零零壹叁捌零零壹",
        "0138001",
        "①③⑧⓪⓪①③⑧⓪⓪①",
        "x1x3x8x0x0x1x3x8x0x0x1",
        "138\u200b0013\u200b8001",
        "١٣٨٠٠١٣٨٠٠١",
    ],
)
def test_holds_number(text):
    """The row's own number is found in any spelling, with or without country and area code, inside any text."""
    assert lookalikes.holds_number(text, NUMBER)


@pytest.mark.parametrize("text", ["C-20231234", "TASK.99812", "13800138002", "", "8001", "VIP"])
def test_holds_no_number(text):
    """Other IDs, other numbers and the last four digits are not the row's number."""
    assert not lookalikes.holds_number(text, NUMBER)


@given(st.lists(st.text(st.characters(categories=["L", "Z", "P"]), max_size=3), min_size=12, max_size=12))
def test_holds_number_between_anything(between):
    """Whatever letters, spaces and punctuation lie between its digits, the number is found."""
    text = "".join(a + b for a, b in zip(between, "13800138001 ", strict=True))
    assert lookalikes.holds_number(text, NUMBER)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("13800138002", "CN"),
        ("+442079460018", "CN"),
        ("442079460018", "CN"),
        ("8613800138002", "US"),
        ("2025550101", "US"),
        ("202-555-0101", "US"),
        ("138 0013 8002", "CN"),
        ("C-13800138002", "CN"),
        ("tel13800138002", "CN"),
        ("13800138002-1", "CN"),
        ("call +44 20 7946 0018 first", "CN"),
        ("alt: 138-0013-8002", "CN"),
        ("１３８００１３８００２", "CN"),
        ("010-65529988", "CN"),
        ("+8613800138002", None),
        ("8613800138002", None),
    ],
)
def test_numbers(text, region):
    """Text that is a number in the region or with + before it, or plainly holds one, is recognised."""
    assert lookalikes.looks_like_number(text, region)


@pytest.mark.parametrize(
    "text",
    [
        "C-20231234",
        "TASK.99812",
        "ORDER-20231121093045",
        "SO-20231121-001",
        "SO-2023-112101",
        "99812",
        "VIP",
        "",
        "A.99812.20231234",
        "2023-11-21",
        "2023-11-21 09:30:00",
        "id_4711",
        "0000000012",
    ],
)
@pytest.mark.parametrize("region", ["CN", "US", "GB", "HK", None])
def test_customer_ids(text, region):
    """Customer, task and order IDs and dates stay allowed in every region."""
    assert not lookalikes.looks_like_number(text, region)
    assert not lookalikes.looks_like_id_card(text)
    assert not lookalikes.looks_like_bank_card(text)


@pytest.mark.parametrize(
    "text", ["11010519491231002X", "11010519491231002x", "ID:11010519491231002X", "110105491231002"]
)
def test_id_cards(text):
    """A Chinese identity number is recognised by its checksum, the old form by its date."""
    assert lookalikes.looks_like_id_card(text)


@pytest.mark.parametrize("text", ["110105194912310021", "11010519491331002X", "110105491331002", "911010519491231002X"])
def test_no_id_cards(text):
    """A wrong checksum or date, or more digits around it, is no identity number."""
    assert not lookalikes.looks_like_id_card(text)


@pytest.mark.parametrize(
    "text", ["4539578763621486", "4539 5787 6362 1486", "card-4539578763621486", "6222021234567890128"]
)
def test_bank_cards(text):
    """A payment card's number is recognised by its check digit, with separators and inside text."""
    assert lookalikes.looks_like_bank_card(text)


@pytest.mark.parametrize("text", ["4539578763621487", "20231121093045", "C-453957876362", "1234567"])
def test_no_bank_cards(text):
    """A wrong check digit, a time stamp or a short run inside an ID is no card."""
    assert not lookalikes.looks_like_bank_card(text)


@given(st.text(max_size=80), st.sampled_from(["CN", "US", None]))
def test_takes_anything(text, region):
    """Any text is answered without an error."""
    for answer in (
        lookalikes.looks_like_number(text, region),
        lookalikes.looks_like_id_card(text),
        lookalikes.looks_like_bank_card(text),
        lookalikes.holds_number(text, NUMBER),
    ):
        assert answer in (True, False)


@given(st.text("AZaz09182 -._/()", max_size=24) | st.text(max_size=24), st.sampled_from(["CN", "US", None]))
def test_what_is_worded_holds_nothing(text, region):
    """A text that is taken for words by a short look is taken by every long one too."""
    if lookalikes.is_worded(text):
        assert not lookalikes.looks_like_number(text, region)
        assert not lookalikes.looks_like_id_card(text)
        assert not lookalikes.looks_like_bank_card(text)


@given(st.text(max_size=40))
def test_squeezes_ascii_as_any_text(text):
    """Digits are taken out of an ASCII text by the short way as by the long one."""
    assert numbers.squeeze(text) == "".join(letter for letter in numbers.plain(text) if letter in "0123456789")
