"""The token grammar: tenant prefix, random digits, Damm check digit.

Invariants: a token is 8 to 20 ASCII digits whose Damm interim digit is 0, so that every single wrong digit and every
swap of two neighbours is refused before anything is asked; the random digits come from the operating system's
generator; nothing here knows a telephone number or a key, so the worker may import it.

Source of the check digit: H. M. Damm, "Total anti-symmetrische Quasigruppen" (2004), the order-10 quasigroup.
"""

from __future__ import annotations

import functools
import secrets
from array import array

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
_CHUNK = 4
_DRAWN_BITS = 64
_DIGITS = frozenset("0123456789")


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
    """Draw as many different tokens as ``draw`` one at a time, several times as fast; raises ValueError as it does."""
    drawn: dict[str, None] = {}
    if count:
        drawn[draw(prefix, length)] = None
    digits = length - len(prefix) - CHECK_DIGITS
    most = 10**digits
    fair = 2**_DRAWN_BITS - 2**_DRAWN_BITS % most  # what lies above would favour the first tokens
    before = int(damm_digit(prefix))
    chunks = [(10**at, _checks(min(_CHUNK, digits - at))) for at in reversed(range(0, digits, _CHUNK))]
    spelled = f"{prefix}%0{digits}d%d"
    while len(drawn) < count:
        for value in array("Q", secrets.token_bytes(_DRAWN_BITS // 8 * (count - len(drawn)))):
            if value < fair:
                body = rest = value % most
                check = before
                for unit, checks in chunks:
                    part, rest = divmod(rest, unit)
                    check = checks[check][part]
                drawn[spelled % (body, check)] = None
    return list(drawn)


@functools.cache
def _checks(digits: int) -> tuple[bytes, ...]:
    """Make the interim digit after so many more, by the one before and by their value."""
    if digits == 0:
        return tuple(bytes([interim]) for interim in range(10))
    last = [bytes(map(int, row)) for row in _DAMM]
    return tuple(b"".join(map(last.__getitem__, before)) for before in _checks(digits - 1))


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
