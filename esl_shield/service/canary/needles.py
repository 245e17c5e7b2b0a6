"""The exact numbers of one run's canaries, as what is searched for; held here and nowhere else.

Invariants: the object shows nothing of what it holds; what it says of bytes is a token and the name of a form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from esl_shield.audit import known
from esl_shield.vault.hidden import Hidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TRACE = "token"
_FORM = "{token} {form}"


@final
class Needles(Hidden):
    """Numbers by their tokens: ``numbers`` are E.164."""

    __slots__ = ("__forms", "__lines", "tokens")

    def __init__(self, numbers: Mapping[str, str]) -> None:
        self.tokens = tuple(numbers)
        self.__forms = {token.encode(): _FORM.format(token=token, form=_TRACE) for token in numbers}
        self.__lines = "".join(f"{number}\n" for number in numbers.values()).encode()
        for token, number in numbers.items():
            for needle, form in known.forms(number, token).items():
                self.__forms.setdefault(needle, _FORM.format(token=token, form=form))

    def control(self) -> bytes:
        """Return the numbers as text, a line each, for the search that proves the scanner finds them."""
        return self.__lines

    def in_bytes(self, data: bytes) -> Iterator[tuple[str, str, int]]:
        """Yield token, form and offset of each number in ``data``."""
        for found in known.scan_bytes(data, self.__forms):
            token, _, form = found.form.partition(" ")
            if form != _TRACE:
                yield token, form, found.offset

    def in_tree(self, path: Path, traces: dict[str, set[str]]) -> Iterator[tuple[str, int, str, str]]:
        """Yield path, offset, token and form of each number below ``path``; ``traces`` gets the files of each token.

        Raises OSError for what cannot be read.
        """
        for found in known.scan_tree(path, self.__forms):
            token, _, form = found.form.partition(" ")
            if form == _TRACE:
                traces[token].add(found.path)
            else:
                yield found.path, found.offset, token, form
