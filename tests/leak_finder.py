"""A vault of a few numbers in memory, for tests of the search itself."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.audit.leakscan.scan import Finding, Scan
from esl_shield.vault.plan import Plan, Shape

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


class Token(NamedTuple):
    tenant: str
    token: str


class Suspect:
    """Answered when it was asked for."""

    def __init__(self, token: Token | None) -> None:
        self._token = token
        self.token: Token | None = None
        self.answered = False

    def answer(self) -> None:
        self.answered, self.token = True, self._token


class Numbers:
    """Knows E.164 digits; a number's token is its last four digits, reversed."""

    def __init__(self, *numbers: str, region: str = "CN", countries: Collection[str] = ("CN", "GB", "US")) -> None:
        self._plan = Plan(region, set(countries))
        self.shape, self.least = _shape(region, tuple(countries)), self._plan.least
        self._suspects = {number: Suspect(Token("acme", number[:-5:-1])) for number in numbers}

    def read(self, digits: bytes) -> Sequence[Suspect]:
        return [self._suspects[number] for number in self._plan.read(digits) if number in self._suspects]

    def ask(self, suspects: Collection[Suspect]) -> None:
        for suspect in suspects:
            suspect.answer()


@functools.cache
def _shape(region: str, countries: tuple[str, ...]) -> Shape:
    """Compiling the numbering plans of three countries takes half a second."""
    return Shape(Plan(region, set(countries)).patterns)


class Searched(NamedTuple):
    found: list[Finding]
    unread: list[tuple[str, str]]
    scan: Scan


def search(*paths: Path, finder: Numbers | None = None) -> Searched:
    """Search paths for 138 0013 8001 of China, or for a finder's numbers."""
    found, unread = [], []
    scan = Scan(finder or Numbers("8613800138001"), found.append, lambda *what: unread.append(what))
    for path in paths:
        scan.path(path)
    return Searched(found, unread, scan)
