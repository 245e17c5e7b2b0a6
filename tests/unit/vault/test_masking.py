"""Masks: by tables of what each shows, and by properties over any text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esl_shield.errors.tenants import MaskRejected
from esl_shield.vault import masking

H = masking.HIDDEN
# What no mask is for: each is hidden whole, whatever the kind.
ODD = {
    "full-width digits": "１３８００１３８００１",
    "arabic-indic digits": "٠١٢٣٤٥٦٧٨٩٠",
    "mathematical digits": "𝟏𝟑𝟖𝟎𝟎𝟏𝟑𝟖𝟎𝟎𝟏",
    "one digit of another script": "1380013800１",
    "superscript": "138001380²1",
    "right-to-left override": "138\u202e00138001",
    "zero width": "138\u200b00138001",
    "combining enclosure": "13800138\u20dd001",
    "lone surrogate": "1380\ud83d0138001",
    "private use": "张\ue000三丰太极",
    "control": "138001\x1b38001",
    "tag characters": "张三\U000e0041丰极",
    "too long": "1" * (masking.MAX_TEXT + 1),
}
TABLE = [
    ("phone", "+86 138-0013-8001", "***********01"),
    ("phone", "13800138001", "*********01"),
    ("phone", "123456", "****56"),
    ("phone", "12345", "*****"),
    ("phone", "", ""),
    ("phone", "Zhang San", ""),
    ("phone", "电话 13800138001", "*********01"),
    ("phone", "一三八00138001", H),
    ("phone", "1" * 40 + "23", "*" * 13 + "23"),
    ("id_card", "11010519491231002X", "1101***********02X"),
    ("id_card", " 110105 19491231 002x ", "1101***********02x"),
    ("id_card", "110105491231002", "1101********002"),
    ("id_card", "1101054912310020", H),
    ("id_card", "11010519491231002", H),
    ("id_card", "11010519491231002Y", H),
    ("id_card", "110105X9491231002X", H),
    ("id_card", "", H),
    ("bank_card", "4539578763621486", "4539********1486"),
    ("bank_card", "4539 5787 6362 1486", "4539********1486"),
    ("bank_card", "6222021234567890123", "622202*********0123"),
    ("bank_card", "622202123456789012", "622202********9012"),
    ("bank_card", "62220212345678901", "62220********8901"),
    ("bank_card", "371449635398431", "3714********431"),
    ("bank_card", "123456789012", "12********12"),
    ("bank_card", "12345678901", H),
    ("bank_card", "12345678901234567890", H),
    ("bank_card", "4539578763621486 CVV 123", H),
    ("bank_card", "4539x578763621486", H),
    ("name", "张三", "张**"),
    ("name", "欧阳修远", "欧**"),
    ("name", "Alice Smith", "A**"),
    ("name", "  李四 ", "李**"),
    ("name", "e\u0301lodie", "é**"),
    ("name", "محمد علي", "م**"),
    ("name", "O'Brien", "O**"),
    ("name", "张", H),
    ("name", "", H),
    ("name", "13800138001", H),
    ("name", "*张三", H),
    ("name", "x\u0301\u0302y", H),
    ("name", "👩\u200d👩\u200d👧 Ann", H),
    ("address", "浙江省杭州市西湖区文三路1号", "浙江省***"),
    ("address", "中国北京市朝阳区阳光小区3号楼", "北京市***"),
    ("address", "新疆维吾尔自治区伊犁", "新疆维吾尔自治区***"),
    ("address", "香港特别行政区中环", "香港特别行政区***"),
    ("address", "河南路12号", H),
    ("address", "幸福路超市3楼", H),
    ("address", "浙江省", H),
    ("address", "12 High Street, London", H),
    ("address", "", H),
    ("hidden", "anything", H),
    ("hidden", "", H),
    ("clear", "north", "north"),
    ("clear", "", ""),
    ("keep 2 2", "AB12345YZ", H),
    ("keep 2 2", "AB1234567YZ", "AB***YZ"),
    ("keep 2 2", "AB123456789012345YZ", "AB***YZ"),
    ("keep 3 0", "contract-77", "con***"),
    ("keep 0 1", "abcde", "***e"),
    ("keep 0 1", "abcd", H),
    ("keep 0 0", "abcdefgh", H),
    ("keep 2 2", "A*1234567YZ", H),
    ("keep 1 1", "客户一二三四五", "客***五"),
]


def _mask(kind, text):
    return masking.read_pattern(kind).show(text)


@pytest.mark.parametrize(("kind", "text", "masked"), TABLE, ids=[f"{at}-{row[0]}" for at, row in enumerate(TABLE)])
def test_masks(kind, text, masked):
    """Each mask shows what its rule names, and hides the whole of what is not of its form."""
    assert _mask(kind, text) == masked


@pytest.mark.parametrize("kind", ["phone", "id_card", "bank_card", "name", "keep 2 2", "address"])
@pytest.mark.parametrize("odd", sorted(ODD))
def test_odd_text(kind, odd):
    """Digits of other scripts, what cannot be seen, surrogates and endless text are hidden whole by every mask."""
    assert _mask(kind, ODD[odd]) == H


@pytest.mark.parametrize(
    "text",
    ["", "keep", "keep 7 0", "keep 0 7", "keep  1 1", "keep 1", "keep -1 1", "keep １ 1", "phones", "PHONE", ".*",
     "keep 1 1\n", "keep 10 1", "name "],
)  # fmt: skip
def test_what_is_no_pattern(text):
    """A pattern is one of a few words; anything else is refused without being repeated."""
    with pytest.raises(MaskRejected) as caught:
        masking.read_pattern(text)
    assert text == "" or f"was not taken: {text}" not in str(caught.value)


TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("0123456789*X- +张三浙江省北京市é\u0301\u202eab１٣"), max_size=40),
    st.from_regex(r"[0-9*]{10,20}[Xx]?", fullmatch=True),
)
# How many characters of the text each mask may show at most.
SHOWS = {
    "phone": 2, "id_card": 7, "bank_card": 10, "name": 1, "hidden": 0, "keep 0 0": 0, "keep 1 2": 3, "keep 4 0": 4,
    "keep 6 6": 12,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(SHOWS))
@settings(max_examples=60)
@given(text=TEXTS)
def test_no_mask_shows_more_than_its_rule(kind, text):
    """Whatever the text, what is no star is at most what the rule names, and stood in the text."""
    shown = _mask(kind, text).replace("*", "")
    assert len(shown) <= SHOWS[kind]
    assert set(shown) <= set(text) | set(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("kind", ["bank_card", "id_card"])
@settings(max_examples=60)
@given(text=TEXTS)
def test_a_card_hides_eight_digits_or_all(kind, text):
    """A card that shows anything hides eight characters at least."""
    masked = _mask(kind, text)
    assert masked == H or masked.count("*") >= 8


@settings(max_examples=60)
@given(text=TEXTS)
def test_an_address_shows_a_province_or_nothing(text):
    """What an address shows ends as a province's name does."""
    shown = masking.address(text).replace("*", "")
    assert shown == "" or shown.endswith(("省", "市", "自治区", "特别行政区"))


@pytest.mark.parametrize("kind", [*sorted(SHOWS), "address", "clear"])
@settings(max_examples=60)
@given(text=TEXTS)
def test_masking_twice_is_masking_once(kind, text):
    """What is masked stays as it is."""
    once = _mask(kind, text)
    assert _mask(kind, once) == once


@pytest.mark.parametrize("kind", ["name", "keep 2 1", "address", "hidden"])
@settings(max_examples=60)
@given(text=st.text(st.sampled_from("abcdefg"), min_size=9, max_size=60))
def test_length_says_nothing(kind, text):
    """Masks of names, addresses and patterns are as long for a long text as for a short one."""
    assert len(_mask(kind, text)) == len(_mask(kind, text[:9]))


def test_labels():
    """Each label is masked by its tenant's pattern; one without a pattern is hidden."""
    patterns = {"name": masking.read_pattern("name"), "shop": masking.read_pattern("clear")}
    shown = masking.show_labels({"name": "张三", "shop": "north", "note": "owes 5"}, patterns)
    assert shown == {"name": "张**", "shop": "north", "note": H}
