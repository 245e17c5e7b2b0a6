r"""With which digits, and at which length, the telephone numbers a regular expression matches can begin.

phonenumbers writes numbering plans as regular expressions of few constructs: digits, ``\d``, classes, groups,
alternatives and counts. Matching one takes a microsecond; looking up three digits and a length in a set takes a tenth.
Invariants: nothing the expression matches is missing (a test holds them against each other); a construct that is not
known raises ValueError.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    # The first digits, at most ``HEAD`` of them, and the length of the whole.
    Beginnings = frozenset[tuple[str, int]]

HEAD = 3
_SIGN = re.compile(r"\\d|\[[0-9\-]+\]|\(\?:|[()|?]|\{[0-9]+(?:,[0-9]+)?\}|[0-9]")
_DIGITS = "0123456789"
_NOTHING: Beginnings = frozenset({("", 0)})


def beginnings(pattern: str) -> Beginnings:
    """Return the beginnings of what a pattern matches; raises ValueError for what phonenumbers does not write."""
    waiting = iter([*signs_of(pattern), ")"])
    found = _alternatives(waiting)
    if next(waiting, None) is not None:
        message = "an expression with a bracket too many"
        raise ValueError(message)
    return found


def signs_of(pattern: str) -> list[str]:
    """Take an expression apart; raises ValueError for what phonenumbers does not write."""
    signs = _SIGN.findall(pattern)
    if "".join(signs) != pattern:
        message = "an expression with an unknown construct"
        raise ValueError(message)
    return signs


def follow(first: Beginnings, second: Beginnings) -> Beginnings:
    """Return the beginnings of one after the other."""
    lengths = {length for _, length in second}
    made: set[tuple[str, int]] = set()
    for head, length in first:
        if len(head) == HEAD:
            made.update((head, length + more) for more in lengths)
        else:
            made.update(((head + tail)[:HEAD], length + more) for tail, more in second)
    return frozenset(made)


def _alternatives(signs: Iterator[str]) -> Beginnings:
    """Read up to the closing bracket."""
    every: set[tuple[str, int]] = set()
    sequence, last = _NOTHING, _NOTHING
    for sign in signs:
        if sign in ("|", ")"):
            every |= follow(sequence, last)
            sequence, last = _NOTHING, _NOTHING
            if sign == ")":
                break
        elif sign == "?" or sign[0] == "{":
            last = _repeated(last, sign)
        else:
            sequence = follow(sequence, last)
            last = _alternatives(signs) if sign[0] == "(" else frozenset((digit, 1) for digit in members(sign))
    return frozenset(every)


def _repeated(one: Beginnings, count: str) -> Beginnings:
    least, most = (0, 1) if count == "?" else ([int(text) for text in count[1:-1].split(",")] * 2)[:2]
    so_far, every = _NOTHING, set[tuple[str, int]]()
    for times in range(most + 1):
        if times >= least:
            every |= so_far
        so_far = follow(so_far, one)
    return frozenset(every)


def members(sign: str) -> set[str]:
    """Return the digits that a digit, a class or its short form stands for."""
    if sign == "\\d":
        return set(_DIGITS)
    if len(sign) == 1:
        return {sign}
    pairs = re.findall(r"[0-9]-[0-9]|[0-9]", sign)
    return set(itertools.chain.from_iterable(_DIGITS[int(pair[0]) : int(pair[-1]) + 1] for pair in pairs))
