"""What is shown of customers' data: masks of phone numbers, cards, names and addresses, and patterns of a tenant.

Invariants: a mask shows at most the characters its rule names and hides the whole of what does not have the form the
rule is for: too short, too long, digits of another script than ASCII, invisible or combining characters. Masks whose
text has a length of its own (names, addresses, patterns) are as long whatever they hide. What is masked already stays
as it is. A pattern is one of a few words, never a regular expression.

Sources: GB/T 35273-2020, 7.2 and JR/T 0171-2020, annex A (informative) for which parts are shown; ISO/IEC 7812 and PCI
DSS 3.4.1 (first six and last four at most) for cards; GB 11643 for identity numbers; GB/T 2260 for provinces.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.errors.tenants import MaskRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STAR = "*"
HIDDEN = "***"
MAX_TEXT = 4096
MOST_KEPT = 6
_PHONE_SHOWS = 2
_PHONE_MIN = 6
_PHONE_MAX = 15
_CARD_MIN, _CARD_MAX = 12, 19
_CARD_HIDES = 8
_CARD_FIRST, _CARD_LAST = 6, 4
_ID_FIRST, _ID_LAST = 4, 3
_SEPARATORS = re.compile(r"[ \-.()/_+]")
_DIGITS = re.compile(r"[0-9*]+")
_ID_CARD = re.compile(r"[0-9*]{14}(?:[0-9*]{3}[0-9Xx*]|[0-9*])")
_KEEP = re.compile(rf"keep ([0-{MOST_KEPT}]) ([0-{MOST_KEPT}])")
_LETTERS = frozenset(("Lu", "Ll", "Lo", "Lt"))
_PLAIN = _LETTERS | frozenset(("Nd", "Pc", "Pd", "Ps", "Pe", "Po", "Sm", "Sc", "Zs"))
_PROVINCES = re.compile(
    "(?:中国|中华人民共和国)? ?("
    "(?:北京|天津|上海|重庆)市|(?:河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|"
    "陕西|甘肃|青海|台湾)省|(?:内蒙古|西藏|广西壮族|宁夏回族|新疆维吾尔)自治区|(?:香港|澳门)特别行政区)"
)


@dataclass(frozen=True)
class Pattern:
    """How one of a tenant's labels is shown: its spelling, and the mask that does it."""

    text: str
    show: Callable[[str], str]


def phone(text: str) -> str:
    """Stars for every digit but the last two, nothing else of the text; all stars below six digits.

    Longer than E.164 allows, the first digits are left out.
    """
    digits = _digits(text)
    if digits is None:
        return HIDDEN
    digits = digits[-_PHONE_MAX:]
    shown = _PHONE_SHOWS if len(digits) >= _PHONE_MIN else 0
    return _ends(digits, 0, shown)


def id_card(text: str) -> str:
    """Mask a Chinese identity number, 18 or 15 characters: the first four and the last three are shown."""
    spelling = _squeezed(text)
    return _ends(spelling, _ID_FIRST, _ID_LAST) if spelling and _ID_CARD.fullmatch(spelling) else HIDDEN


def bank_card(text: str) -> str:
    """Mask a card of 12 to 19 digits: the middle eight are hidden, and all but the first six and last four."""
    digits = _squeezed(text)
    if not _DIGITS.fullmatch(digits) or not _CARD_MIN <= len(digits) <= _CARD_MAX:
        return HIDDEN
    shown = min(len(digits) - _CARD_HIDES, _CARD_FIRST + _CARD_LAST)
    last = min(shown // 2, _CARD_LAST)
    return _ends(digits, shown - last, last)


def name(text: str) -> str:
    """Show a name's first letter: of Chinese names the first character, nearly always the surname."""
    plain = _plain(text)
    letters = [character for character in plain if unicodedata.category(character) in _LETTERS]
    masked = re.fullmatch(r".\*\*", plain) is not None
    if not plain or unicodedata.category(plain[0]) not in _LETTERS or (len(letters) < 2 and not masked):  # noqa: PLR2004
        return HIDDEN
    return plain[0] + STAR * 2


def address(text: str) -> str:
    """Show of a Chinese address its province, municipality or region; of any other nothing."""
    plain = _plain(text)
    found = _PROVINCES.match(plain)
    return found[1] + HIDDEN if found and len(plain) > found.end() else HIDDEN


def hidden(text: str) -> str:
    """Show nothing, not even how long it is."""
    del text
    return HIDDEN


def clear(text: str) -> str:
    """Show everything, for what says nothing about a person."""
    return text


def keep(first: int, last: int) -> Callable[[str], str]:
    """Make the mask that shows the first and last characters, and nothing unless it hides as many and three more."""

    def mask(text: str) -> str:
        plain = _plain(text)
        if first + last and re.fullmatch(rf"[^*]{{{first}}}\*{{3}}[^*]{{{last}}}", plain):
            return plain
        shown = plain[:first], plain[len(plain) - last :]
        if len(plain) < 2 * (first + last) + len(HIDDEN) or STAR in "".join(shown):
            return HIDDEN
        return HIDDEN.join(shown)

    return mask


KINDS: dict[str, Callable[[str], str]] = {
    "phone": phone, "id_card": id_card, "bank_card": bank_card, "name": name, "address": address, "hidden": hidden,
    "clear": clear,
}  # fmt: skip


def show_labels(labels: Mapping[str, str], patterns: Mapping[str, Pattern]) -> dict[str, str]:
    """Mask a token's labels, each by its pattern; one that has none is hidden."""
    return {label: patterns[label].show(value) if label in patterns else HIDDEN for label, value in labels.items()}


def read_pattern(text: str) -> Pattern:
    """Read ``phone``, ``id_card``, ``bank_card``, ``name``, ``address``, ``hidden``, ``clear`` or ``keep N M``.

    N characters are kept in front and M at the end, at most 6 each. Raises MaskRejected, without the text.
    """
    found = _KEEP.fullmatch(text)
    if found:
        return Pattern(text, keep(int(found[1]), int(found[2])))
    if text not in KINDS:
        raise MaskRejected(known=", ".join(KINDS))
    return Pattern(text, KINDS[text])


def _ends(text: str, first: int, last: int) -> str:
    middle = STAR * (len(text) - first - last)
    return text[:first] + middle + text[len(text) - last :]


def _digits(text: str) -> str | None:
    """Give the ASCII digits and stars of a text; None where another script's digits stand, or what cannot be seen.

    Letters and signs are left out.
    """
    if len(text) > MAX_TEXT or not all(" " <= character <= "~" or _is_sign(character) for character in text):
        return None
    return "".join(_DIGITS.findall(text))


def _squeezed(text: str) -> str:
    return _SEPARATORS.sub("", text.strip()) if text.isascii() and len(text) <= MAX_TEXT else ""


def _is_sign(character: str) -> bool:
    """Whether a character outside ASCII can neither be taken for a digit nor change how its neighbours look."""
    return unicodedata.category(character) in _LETTERS | {"Zs", "Po", "Pd", "Ps", "Pe"} and _is_no_number(character)


def _is_no_number(character: str) -> bool:
    return unicodedata.numeric(character, None) is None and not unicodedata.normalize("NFKC", character).isdecimal()


def _plain(text: str) -> str:
    """Give the text composed (NFC) and trimmed, or nothing where it holds what a mask cannot count or show alone.

    That is: combining, invisible, unassigned or private characters, surrogates, controls, another script's digits.
    """
    if len(text) > MAX_TEXT:
        return ""
    try:
        composed = unicodedata.normalize("NFC", text).strip()
    except UnicodeError:
        return ""
    sound = all(
        unicodedata.category(character) in _PLAIN and (character.isascii() or unicodedata.category(character) != "Nd")
        for character in composed
    )
    return composed if sound else ""
