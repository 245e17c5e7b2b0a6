"""What may not stand in an alias or a label: the row's number, telephone numbers, ID cards, bank cards.

Invariants: an answer is yes or no, never the text. Customer and task IDs with letters (``C-20231234``, ``TASK.99812``)
pass: inside other text only a digit run that is plainly a mobile number, an ID card by its checksum or a 16 to 19 digit
card by its check digit counts; a value of nothing but digits and separators is held against every rule.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from phonenumbers import PhoneNumberType, number_type

from esl_shield.vault import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

# The last seven digits say which subscriber it is in nearly every numbering plan, and are part of every spelling.
_TELLING_DIGITS = 7
_MIN_NUMBER_DIGITS = 7
_MIN_EMBEDDED_DIGITS = 11
_MIN_EMBEDDED_CARD = 16
_NUMBER_ONLY = re.compile(r"[0-9+()\-./_ ]+")
_RUN = re.compile(r"\+?[0-9](?:[ \-.()/_]{0,2}[0-9])*")
_DIGIT_GROUP = re.compile(r"[0-9]+")
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
# GB 11643: weights and check characters of the resident identity number (ISO 7064 MOD 11-2).
_ID_CARD = re.compile(r"(?<![0-9])([1-8][0-9]{5})([0-9]{8})([0-9]{3})([0-9Xx])(?![0-9])")
_OLD_ID_CARD = re.compile(r"(?<![0-9])[1-8][0-9]{5}([0-9]{6})[0-9]{3}(?![0-9])")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECK = "10X98765432"
# ISO/IEC 7812: what payment cards begin with (2200-2720 Mir and Mastercard, 3 to 6, 9 national such as ICBC's 9558).
_CARD = re.compile(r"(?=[0-9]{12,19}\Z)(?:2[2-7]|[34569])[0-9]+")


def is_too_short(text: str) -> bool:
    """Whether the text has fewer digits than anything looked for here; False where that takes a closer look."""
    return text.isascii() and len(text.translate(_WITHOUT_DIGITS)) > len(text) - _MIN_NUMBER_DIGITS


def is_worded(text: str) -> bool:
    """Whether the text is more than digits and separators, and has too few digits to hold a number, ID or bank card."""
    if not text.isascii() or "+" in text or len(numbers.squeeze(text)) >= _MIN_EMBEDDED_DIGITS:
        return False
    return not _NUMBER_ONLY.fullmatch(text.strip())


def holds_number(text: str, number: numbers.SubscriberNumber) -> bool:
    """Whether the text holds the number in any spelling.

    With or without country code, trunk zero or area code, whatever separators, letters or scripts lie between.
    """
    digits = numbers.secret_digits(number)
    return digits[-_TELLING_DIGITS:] in _all_digits(text)


def looks_like_number(text: str, region: str | None) -> bool:
    """Whether the text is a telephone number, in ``region`` or with ``+`` before it, or plainly holds one."""
    spelling = numbers.plain(text)
    if len(numbers.squeeze(spelling)) < _MIN_NUMBER_DIGITS:
        return False
    if _NUMBER_ONLY.fullmatch(spelling) and _is_number(spelling.replace("_", " "), region):
        return True
    return any(_plainly_number(run, region) for run in _runs(spelling))


def looks_like_id_card(text: str) -> bool:
    """Whether a Chinese identity number (18 digits by its checksum, or the old 15 by its date) is in the text."""
    spelling = numbers.plain(text)
    if any(_check_id(match) for match in _ID_CARD.finditer(spelling)):
        return True
    return any(_is_date("19" + match[1]) for match in _OLD_ID_CARD.finditer(spelling))


def looks_like_bank_card(text: str) -> bool:
    """Whether the text is a payment card's number (12 to 19 digits, Luhn), or plainly holds one (16 to 19)."""
    spelling = numbers.plain(text)
    if _NUMBER_ONLY.fullmatch(spelling) and _is_card(numbers.squeeze(spelling)):
        return True
    return any(
        len(digits) >= _MIN_EMBEDDED_CARD and _is_card(digits) for digits in map(numbers.squeeze, _runs(spelling))
    )


def _all_digits(text: str) -> str:
    """Every digit of the text in order, Chinese numerals too."""
    return numbers.squeeze(text if text.isascii() else text.translate(_NUMERALS))


_WITHOUT_DIGITS = str.maketrans("", "", "0123456789")
_NUMERALS = str.maketrans(
    dict(zip("〇一二三四五六七八九零壹贰叁肆伍陆柒捌玖", "01234567890123456789", strict=True))
    | dict(zip("幺两貳參陸", "12236", strict=True))
)


def _runs(spelling: str) -> Iterator[str]:
    """Yield runs of digits with separators, and each plain group within a run that has some."""
    for match in _RUN.finditer(spelling):
        yield match[0]
        groups = _DIGIT_GROUP.findall(match[0])
        if len(groups) > 1:
            yield from groups


def _is_number(spelling: str, region: str | None) -> bool:
    if numbers.read_valid(spelling, region) is not None:
        return True
    return "+" not in spelling and numbers.read_valid("+" + numbers.squeeze(spelling), None) is not None


def _plainly_number(run: str, region: str | None) -> bool:
    digits = numbers.squeeze(run)
    if not (run.startswith("+") and len(digits) >= _MIN_NUMBER_DIGITS) and len(digits) < _MIN_EMBEDDED_DIGITS:
        return False
    phone = numbers.read_valid(run.replace("_", " "), region)
    return phone is not None and (run.startswith("+") or number_type(phone) in _MOBILE)


def _check_id(match: re.Match[str]) -> bool:
    first_17 = match[1] + match[2] + match[3]
    total = sum(int(digit) * weight for digit, weight in zip(first_17, _ID_WEIGHTS, strict=True))
    return _ID_CHECK[total % 11] == match[4].upper() and _is_date(match[2])


def _is_date(yyyymmdd: str) -> bool:
    try:
        dt.date(int(yyyymmdd[:4]), int(yyyymmdd[4:6]), int(yyyymmdd[6:]))
    except ValueError:
        return False
    return True


def _is_card(digits: str) -> bool:
    if not _CARD.fullmatch(digits):
        return False
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - Luhn adds the two digits
    return total % 10 == 0
