r"""What the first digits of a text say of whether a regular expression matches it, whatever digits follow.

Invariants: an answer holds for every text of that length that begins so, because the expression is followed as an
automaton, state by state; where it depends on later digits there is no answer (Undecided). Constructs that
phonenumbers does not write raise ValueError.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.vault.beginnings import members, signs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIGITS = "0123456789"
_ACCEPTED = 0


class Undecided(Exception):
    """It depends on digits that are not known."""


class Start(NamedTuple):
    """The first digits of a text, and the length of the whole."""

    digits: str
    length: int


class Expression:
    """A regular expression held against the beginnings of texts, as ``re.Pattern`` is against texts."""

    def __init__(self, pattern: str) -> None:
        """Raise ValueError for a construct that is not known."""
        # State 0 is the end. A state has digits that lead on (``_steps``) or states it is as well (``_also``).
        self._steps: list[tuple[frozenset[str], int]] = [(frozenset(), _ACCEPTED)]
        self._also: list[tuple[int, ...]] = [()]
        self._reached: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        waiting = iter([*signs_of(pattern), ")"])
        tree = _alternatives(waiting)
        if next(waiting, None) is not None:
            message = "an expression with a bracket too many"
            raise ValueError(message)
        self._first = self._closure({self._build(tree, _ACCEPTED)})

    def fullmatch(self, start: Start) -> bool:
        """Whether every text with this start matches (True) or none does; else raises Undecided."""
        states = self._first
        for digit in start.digits:
            states = self._step(states, digit)
        level = {states}
        for _ in range(start.length - len(start.digits)):
            level = {self._step(states, digit) for states in level for digit in _DIGITS}
        return _agreed({_ACCEPTED in states for states in level})

    def match(self, start: Start) -> bool:
        """Whether every text with this start begins with a match (True) or none does; else raises Undecided."""
        states = self._first
        for digit in start.digits:
            if _ACCEPTED in states:
                return True
            states = self._step(states, digit)
        open_, answers = {states}, set[bool]()
        for left in reversed(range(start.length - len(start.digits) + 1)):
            answers |= {True for states in open_ if _ACCEPTED in states}
            answers |= {False for states in open_ if not states}
            open_ = {states for states in open_ if states and _ACCEPTED not in states}
            if left:
                open_ = {self._step(states, digit) for states in open_ for digit in _DIGITS}
        return _agreed(answers | {False for _ in open_})

    def _step(self, states: frozenset[int], digit: str) -> frozenset[int]:
        key = states, digit
        if key not in self._reached:
            into = {to for digits, to in map(self._steps.__getitem__, states) if digit in digits}
            self._reached[key] = self._closure(into)
        return self._reached[key]

    def _closure(self, states: set[int]) -> frozenset[int]:
        found, waiting = set(states), list(states)
        while waiting:
            more = set(self._also[waiting.pop()]) - found
            found |= more
            waiting += more
        return frozenset(found)

    def _state(self, digits: frozenset[str], to: int, also: tuple[int, ...] = ()) -> int:
        self._steps.append((digits, to))
        self._also.append(also)
        return len(self._steps) - 1

    def _build(self, tree: _Tree, then: int) -> int:
        """Add the states that read ``tree`` and go on as ``then``; returns where they begin."""
        if isinstance(tree, frozenset):
            return self._state(tree, then)
        if isinstance(tree, _Repeated):
            for _ in range(tree.most - tree.least):
                then = self._state(frozenset(), then, (then, self._build(tree.one, then)))
            for _ in range(tree.least):
                then = self._build(tree.one, then)
            return then
        begins = []
        for sequence in tree:
            at = then
            for part in reversed(sequence):
                at = self._build(part, at)
            begins.append(at)
        return self._state(frozenset(), then, tuple(begins))


class _Repeated(NamedTuple):
    one: _Tree
    least: int
    most: int


# Digits; something some times; or alternatives, each a sequence.
_Tree = frozenset[str] | _Repeated | list[list["_Tree"]]


def _alternatives(signs: Iterator[str]) -> list[list[_Tree]]:
    """Read up to the closing bracket."""
    every: list[list[_Tree]] = [[]]
    for sign in signs:
        if sign == ")":
            break
        if sign == "|":
            every.append([])
        elif sign == "?" or sign[0] == "{":
            least, most = (0, 1) if sign == "?" else ([int(text) for text in sign[1:-1].split(",")] * 2)[:2]
            every[-1].append(_Repeated(every[-1].pop(), least, most))
        else:
            every[-1].append(_alternatives(signs) if sign[0] == "(" else frozenset(members(sign)))
    return every


def _agreed(answers: set[bool]) -> bool:
    if len(answers) != 1:
        raise Undecided
    return answers.pop()


@functools.cache
def compile(pattern: str) -> Expression:  # noqa: A001 - takes the place of re.compile
    """Return the expression; raises ValueError for a construct that is not known."""
    return Expression(pattern)
