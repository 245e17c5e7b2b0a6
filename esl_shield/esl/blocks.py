"""A block of headers: whether it has the form FreeSWITCH gives it, and where in it the headers we look for stand.

Invariant: the quick look at a block's form accepts nothing that the grammar, which ``is_well_formed`` spells out, does
not; a header is one only at the beginning of a line, with its whole name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

ALWAYS_KEPT = frozenset({"Event-Name", "Unique-ID", "Application-UUID"})
"""Event headers every session needs, whatever its ``keep`` says."""

ENVELOPE = frozenset({"Content-Type", "Content-Length", "Content-Disposition", "Reply-Text", "Linger-Time"})
# A name may hold colons (`export nolocal:x` makes one): it ends at the first that a blank or the line's end follows.
_BLOCK = re.compile(
    rb"(?:[^\x00-\x20\x7f:][^\x00-\x1f\x7f:]*+(?::[^\x00-\x20\x7f:][^\x00-\x1f\x7f:]*+)*+"
    rb":(?: [^\x00-\x08\n-\x1f\x7f]*+)?\n)++"
)
# All that says nothing of a block's form. Without it a block whose lines hold one colon each, as FreeSWITCH writes them
# (it encodes those in values), is colons and line feeds in turn: told with two looks at a byte, where _BLOCK takes 30.
_FORMLESS = bytes(byte for byte in range(0x20, 0x100) if byte not in (0x3A, 0x7F))


class Names(NamedTuple):
    """Headers to look for, each with how its line begins; a name is one object, which thousands of calls share."""

    envelope: tuple[tuple[str, str], ...]
    event: tuple[tuple[str, str], ...]
    both: tuple[tuple[str, str], ...]
    kept: frozenset[str]


@lru_cache(maxsize=16)
def names_of(keep: frozenset[str], keep_events: frozenset[str]) -> Names:
    """Return the headers to look for when these are to be kept, of the answer to ``connect`` and of events."""
    kept, of_events = keep | ALWAYS_KEPT, keep_events | ALWAYS_KEPT
    every = {name: (name, f"\n{name}:") for name in sorted(kept | of_events | ENVELOPE)}
    return Names(
        envelope=tuple(every[name] for name in every if name in ENVELOPE),
        event=tuple(every[name] for name in every if name in of_events),
        both=tuple(every[name] for name in every if name in kept or name in ENVELOPE),
        kept=kept,
    )


def is_well_formed(block: bytes) -> bool:
    """Whether a block is lines of the grammar, one or more."""
    return _BLOCK.fullmatch(block) is not None


def plain_lines(block: bytes) -> int:
    """Count the lines when each is, in the simplest way, a name, a colon, a blank and a value; 0 when one is not."""
    form = block.translate(None, _FORMLESS)
    lines = len(form) // 2
    plain = form == b":\n" * lines and block.count(b": ") == lines and block[:1] not in b" :"
    return lines if plain and b"\n " not in block and b"\n:" not in block else 0


def value_at(text: str, line: str, at: int) -> int:
    """Return where the header found at ``at`` has its value, less one; -1 when it, and all after it, only begin so."""
    while text[at + len(line)] not in " \n":  # the name goes on behind its first colon
        at = text.find(line, at + 1)
        if at < 0:
            return at
    return at + len(line)
