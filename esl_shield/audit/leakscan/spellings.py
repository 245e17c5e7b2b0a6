"""Numbers in the spellings programs give text: base64, percent-encoding, escapes, UTF-16, full-width digits, hex.

Each spelling is noticed by something cheap that every number written in it shows (three digits of base64 at once, a
percent sign before a digit); what lies around it is decoded and cut into digit runs like any text, so that a number
spelled twice, such as base64 in a URL, is found as well.

Invariants: a hit's place is that of its first character in the bytes searched; what is decoded at a time is bounded,
and so is the depth. The same number may be seen in several ways at one place: whoever asks takes the first.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.audit.leakscan.digits import CLASSES, LONG, PLAIN, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esl_shield.audit.leakscan.digits import Cutter

# How far around its sign a spelled number is looked for.
BEFORE, BEHIND = 96, 384
MOST_DEPTH = 2
MOST_REMEMBERED = 100_000

_BASE64_AT = re.compile(rb"b(?<=[am]b)[cm][db0]")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_\r\n"
_BREAKS = b"\r\n"
# Seven digits that may be one number's, also if each is spelled as an escape.
_DENSE = re.compile(rb"[0-9](?:.{0,5}?[0-9]){6}", re.DOTALL)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WIDE = ((b"0n0n0n", 2, "UTF-16"), (b"0nnn0nnn0nnn", 4, "UTF-32"))
_HEX = re.compile(rb"(?:3[0-9]|2[0bdBD89eEfF])+")
_HEX_AT = re.compile(rb"(?:3[0-9]|20){8}")
_SPACE = ord(" ")
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_FULL_WIDTH = re.compile(rb"\xef\xbc[\x90-\x99]")


class _Escape(NamedTuple):
    """One way of writing a character by its code: the byte it begins with, what shows it, what it looks like."""

    name: str
    sign: bytes
    at: re.Pattern[bytes]
    one: re.Pattern[bytes]
    decode: Callable[[re.Match[bytes]], bytes]
    around: bytes


def _of_hex(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode("utf-8")


_AROUND = b"0123456789.()+_- "
_ESCAPES = (
    _Escape(
        "URL", b"%", re.compile(
            rb"%(?:2[0BbDd89EeFf]|3[0-9]|[aA]0|9[01])"
            rb"(?=[0-9]{3}|%3[0-9]|%2[Bb8]|[0-9]{2}%2[0DdEe])"
        ),
        re.compile(rb"%([0-9A-Fa-f]{2})"), lambda match: bytes((int(match[1], 16),)), _AROUND + b"%ABCDEFabcdef",
    ),
    _Escape(
        "escapes", b"\\", re.compile(rb"\\(?:x(?:3[0-9]\\|2[0bdBD][0-9\\])|u00(?:[23][0-9bdBD]|[aA]0)|u201[01])"),
        re.compile(rb"\\(?:x(?=[0-9a-fA-F]{2})|u(?=[0-9a-fA-F]{4}))([0-9a-fA-F]{2}(?:(?<=\\u..)[0-9a-fA-F]{2})?)"),
        _of_hex, _AROUND + b"\\xuABCDEFabcdef",
    ),
    _Escape(
        "escapes", b"&", re.compile(rb"&#(?:4[0-9]|5[0-7]|32|160|x[23][0-9bdBD]|x[aA]0);"),
        re.compile(rb"&#(x?[0-9a-fA-F]{1,5});"),
        lambda match: chr(int(match[1].replace(b"x", b"0x"), 0)).encode("utf-8"), _AROUND + b"&#x;ABCDEFabcdef",
    ),
)  # fmt: skip


class Speller:
    """Finds what may be numbers in bytes, however they are spelled."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._known: dict[tuple[bytes, int], tuple[Run, ...]] = {}

    def hits(self, data: bytes, begin: int, end: int, depth: int = 0) -> Iterator[Run]:
        """Yield hits whose first character lies from ``begin`` up to ``end``; what lies around is looked at too."""
        classes = data.translate(CLASSES)
        for run in self._cutter.runs(data, classes, begin, end):
            if run.spelling == LONG:
                yield from self._hexadecimal(data, run, begin, end, depth)
            else:
                yield run
        if depth >= MOST_DEPTH:
            return
        for hit in self._decoded(data, classes, begin, end, depth):
            if begin <= hit.start < end:
                yield hit

    def _decoded(self, data: bytes, classes: bytes, begin: int, end: int, depth: int) -> Iterator[Run]:
        yield from self._base64(data, classes, begin, end, depth)
        if b"\0" in data:
            for sign, width, name in _WIDE:
                yield from self._wide(data, classes, sign, width, name, begin, end, depth)
        for escape in _ESCAPES:
            if escape.sign in data:
                yield from self._escaped(data, escape, begin, end, depth)
        if b"\xef" in data:
            yield from self._full_width(data, begin, end, depth)

    def _base64(self, data: bytes, classes: bytes, begin: int, end: int, depth: int) -> Iterator[Run]:
        done = [-1] * 4
        for match in _BASE64_AT.finditer(classes, max(0, begin - BEFORE), end + BEFORE):
            at = match.start() - 1
            first, past = _reach(data, at, _BASE64)
            phase = len(data[first:at].translate(None, _BREAKS)) % 4
            if at < done[(at - phase) % 4]:
                continue
            # What a further sign of the same phase would show again, unless it stands too near to the end.
            done[(at - phase) % 4] = past if past < at + BEHIND else past - BEFORE
            body = data[first:past].translate(_URL_SAFE, _BREAKS)[phase:]
            if len(body) % 4 == 1:
                body = body[:-1]
            text = base64.b64decode(body + b"=" * (-len(body) % 4))
            if _DENSE.search(text):
                places = [place for place in range(first, past) if data[place] not in _BREAKS][phase:]
                yield from self._within(text, [places[i * 4 // 3] for i in range(len(text))], "base64", depth)

    def _wide(  # noqa: PLR0917
        self, data: bytes, classes: bytes, sign: bytes, width: int, name: str, begin: int, end: int, depth: int
    ) -> Iterator[Run]:
        at = classes.find(sign, max(0, begin - BEFORE))
        while 0 <= at < end + BEFORE:
            first = at
            while first - width >= max(0, at - BEFORE) and _is_wide(data, first - width, width):
                first -= width
            past = at
            while past < at + BEHIND and _is_wide(data, past, width):
                past += width
            if past < len(data) and data[past] and past < at + BEHIND:
                past += 1  # big-endian: the last character's zeros stand before it
            places = range(first, past, width)
            yield from self._within(data[first:past:width], places, name, depth)
            at = classes.find(sign, max(at + 1, past - BEFORE if past >= at + BEHIND else past))

    def _escaped(self, data: bytes, escape: _Escape, begin: int, end: int, depth: int) -> Iterator[Run]:
        done = -1
        for match in escape.at.finditer(data, max(0, begin - BEFORE), end + BEFORE):
            at = match.start()
            if at < done:
                continue
            first, past = _reach(data, at, escape.around)
            done = past if past < at + BEHIND else past - BEFORE
            yield from self._unescaped(data[first:past], escape, first, depth)

    def _unescaped(self, text: bytes, escape: _Escape, base: int, depth: int) -> Iterator[Run]:
        known = self._known.get((text, depth))
        if known is None:
            parts, places, at = [], [], 0
            for match in escape.one.finditer(text):
                character = escape.decode(match)
                parts += [text[at : match.start()], character]
                places += [*range(at, match.start()), *[match.start()] * len(character)]
                at = match.end()
            parts.append(text[at:])
            places += range(at, len(text))
            known = tuple(self._within(b"".join(parts), places, escape.name, depth))
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[text, depth] = known
        for hit in known:
            yield hit._replace(start=base + hit.start, end=base + hit.end)

    def _full_width(self, data: bytes, begin: int, end: int, depth: int) -> Iterator[Run]:
        done = -1
        for match in _FULL_WIDTH.finditer(data, max(0, begin - BEFORE), end + BEFORE):
            at = match.start()
            if at < done:
                continue
            past = at + BEHIND
            done = past - BEFORE
            text = data[at:past].decode("utf-8", "replace")
            parts, places, place = [], [], at
            for character in text:
                folded = unicodedata.normalize("NFKC", character).encode("utf-8")
                parts.append(folded)
                places += [place] * len(folded)
                place += len(character.encode("utf-8")) if character != "\ufffd" else 1
            yield from self._within(b"".join(parts), places, "full-width", depth)

    def _hexadecimal(self, data: bytes, run: Run, begin: int, end: int, depth: int) -> Iterator[Run]:
        if not _HEX_AT.search(data, run.start, run.end):
            return
        first, past = _reach(data, run.start, _HEX_DIGITS)
        for match in _HEX.finditer(data, first, past):
            text = bytes.fromhex(match[0].decode("ascii"))
            places = range(match.start(), match.end(), 2)
            for hit in self._within(text, places, "hex", depth):
                if begin <= hit.start < end:
                    yield hit

    def _within(self, text: bytes, places: Sequence[int], name: str, depth: int) -> Iterator[Run]:
        """Search decoded text; ``places`` says where each of its bytes came from."""
        for hit in self.hits(text, 0, len(text), depth + 1):
            spelling = name if hit.spelling in (PLAIN, name) else f"{name}, {hit.spelling}"
            yield Run(places[hit.start], places[hit.end - 1] + 1, hit.digits, spelling)


def _reach(data: bytes, at: int, members: bytes) -> tuple[int, int]:
    """Return the ends of what consists of these bytes around a place."""
    left, right = data[max(0, at - BEFORE) : at], data[at : at + BEHIND]
    return at - len(left) + len(left.rstrip(members)), at + len(right) - len(right.lstrip(members))


def _is_wide(data: bytes, at: int, width: int) -> bool:
    """Whether a character of ASCII stands here, and the zeros that belong to it."""
    return at + width <= len(data) and data[at] >= _SPACE and not any(data[at + 1 : at + width])
