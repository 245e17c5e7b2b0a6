"""The token grammar: tenant prefix, random digits, Damm check digit.

Invariants: a token is 8 to 20 ASCII digits whose Damm interim digit is 0, so that every single wrong digit and every
swap of two neighbours is refused before anything is asked; the random digits come from the operating system's
generator; nothing here knows a telephone number or a key, so the worker may import it.

Source of the check digit: H. M. Damm, "Total anti-symmetrische Quasigruppen" (2004), the order-10 quasigroup.
"""

from __future__ import annotations

import secrets

TOKEN_MIN_LENGTH = 8
TOKEN_MAX_LENGTH = 20
DEFAULT_LENGTH = 14
CHECK_DIGITS = 1
# Of the tokens a length allows, at most one in this many may exist, so that dialling at random finds nobody.
SPARSENESS = 10_000

_DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)
_DIGITS = frozenset("0123456789")
# For drawing many: a random byte is spelled as its last digit, except those that would favour the first six; interim
# digit times ten, a spelled digit's value, and the next interim digit by the sum of both.
_SPELLED = bytes(ord("0") + value % 10 for value in range(256))
_UNFAIR = bytes(range(250, 256))
_TENS = bytes(10 * value % 256 for value in range(256))
_VALUES = bytes(max(0, value - ord("0")) % 10 for value in range(256))
_STEPS = "".join(_DAMM).encode("ascii").translate(_VALUES).ljust(256, b"\0")
_SPARE = 64


def damm_digit(digits: str) -> str:
    """Return the digit that appended to ``digits`` makes them check out; raises ValueError on anything but digits."""
    if not _DIGITS.issuperset(digits):
        message = "only the digits 0 to 9 have a check digit"
        raise ValueError(message)
    interim = "0"
    for digit in digits:
        interim = _DAMM[int(interim)][int(digit)]
    return interim


def is_valid(token: str) -> bool:
    """Whether the text is a token by length, alphabet and check digit; says nothing about its existence."""
    return TOKEN_MIN_LENGTH <= len(token) <= TOKEN_MAX_LENGTH and _DIGITS.issuperset(token) and damm_digit(token) == "0"


def valid_for(token: str, prefix: str, length: int) -> bool:
    """Whether the text is a token a tenant with this prefix and length could have been given."""
    return len(token) == length and token.startswith(prefix) and is_valid(token)


def draw(prefix: str, length: int) -> str:
    """Draw a random token of ``length`` digits in all; raises ValueError if prefix and length leave no room."""
    drawn = length - len(prefix) - CHECK_DIGITS
    if not TOKEN_MIN_LENGTH <= length <= TOKEN_MAX_LENGTH or drawn < 1 or not _DIGITS.issuperset(prefix):
        message = f"no token of {length} digits fits behind a prefix of {len(prefix)}"
        raise ValueError(message)
    body = prefix + str(secrets.randbelow(10**drawn)).zfill(drawn)
    return body + damm_digit(body)


def draw_many(prefix: str, length: int, count: int) -> list[str]:
    """Draw as many different tokens as ``draw`` one at a time, ten times as fast; raises ValueError as it does."""
    drawn: dict[str, None] = {}
    if count:
        drawn[draw(prefix, length)] = None
    digits = length - len(prefix) - CHECK_DIGITS
    before = int(damm_digit(prefix))
    while len(drawn) < count:
        drawn.update(dict.fromkeys(_spelled(prefix, before, digits, count - len(drawn))))
    return list(drawn)


def _spelled(prefix: str, interim: int, digits: int, count: int) -> list[str]:
    """Spell tokens behind a prefix with this interim digit, all at once: the n-th digits of all are one byte string."""
    random = _random_digits(digits * count)
    width = digits + CHECK_DIGITS
    together = bytearray(width * count)
    interims = bytes([interim]) * count
    for at in range(digits):
        column = random[at::digits]
        together[at::width] = column
        both = int.from_bytes(interims.translate(_TENS), "big") + int.from_bytes(column.translate(_VALUES), "big")
        interims = both.to_bytes(count, "big").translate(_STEPS)
    together[digits::width] = interims.translate(_SPELLED)
    text = together.decode("ascii")
    return [prefix + text[at : at + width] for at in range(0, width * count, width)]


def _random_digits(count: int) -> bytes:
    digits = b""
    while len(digits) < count:
        digits += secrets.token_bytes(count - len(digits) + _SPARE).translate(_SPELLED, _UNFAIR)
    return digits[:count]


def capacity(prefix_length: int, length: int) -> int:
    """How many tokens may exist for a tenant before random dialling would find them too often."""
    return int(10 ** (length - prefix_length - CHECK_DIGITS) // SPARSENESS)


def classify(text: str) -> tuple[str, int]:
    """Describe dialled text that is no token by class and length only, for the audit trail.

    The classes: ``empty``; ``digits`` (0-9); ``plus_digits`` (a leading + then digits); ``star_code`` (0-9, * and #);
    ``other``. The text itself goes nowhere: it may be a telephone number somebody tried to dial.
    """
    if not text:
        return "empty", 0
    if _DIGITS.issuperset(text):
        kind = "digits"
    elif text[0] == "+" and len(text) > 1 and _DIGITS.issuperset(text[1:]):
        kind = "plus_digits"
    elif _DIGITS.union("*#").issuperset(text):
        kind = "star_code"
    else:
        kind = "other"
    return kind, len(text)
