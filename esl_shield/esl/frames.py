"""FreeSWITCH's event socket as a sans-IO reader: bytes in, frames out.

The grammar (mod_event_socket.c ``listener_run``, switch_event.c ``switch_event_serialize``)::

    frame  = block [ body ]               body  = exactly Content-Length bytes
    block  = 1*header LF                  event = block [ body ]       (the body of a text/event-plain frame)
    header = name ":" [ " " value ] LF

A block whose first header is ``Event-Name`` is a serialised event: FreeSWITCH percent-encodes its values, all others
are literal. The answer to ``connect`` is a serialised event that is itself the frame's block.

Invariants:

- A block is cut at line feeds first and each value decoded afterwards, so that nothing inside a value (``%0A``, U+2028)
  can begin a header. The first value of a repeated header wins; Content-Type and Content-Length may not contradict
  themselves.
- Bytes held never exceed ``Limits.max_buffer_bytes``; each byte is looked at a fixed number of times.
- Only headers named by ``keep`` are stored; of the rest nothing outlives the parse.
- What is not the grammar raises FrameRejected, which names the rule and never quotes the data; after that the reader
  stays refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, NoReturn
from urllib.parse import unquote

from esl_shield.errors.freeswitch import FrameRejected

COMMAND_REPLY = "command/reply"
API_RESPONSE = "api/response"
EVENT_PLAIN = "text/event-plain"
EVENT_JSON = "text/event-json"
DISCONNECT_NOTICE = "text/disconnect-notice"
RUDE_REJECTION = "text/rude-rejection"

ALWAYS_KEPT = frozenset({"Event-Name", "Unique-ID", "Application-UUID"})
"""Event headers every session needs, whatever its ``keep`` says."""

_ENVELOPE = frozenset({"Content-Type", "Content-Length", "Content-Disposition", "Reply-Text", "Linger-Time"})
_WITHOUT_LENGTH = frozenset({COMMAND_REPLY, "auth/request"})
_SERIALISED = "Event-Name: "
_STRAY_LINE_FEEDS = 2  # a reply whose text ends in a line feed is followed by one too many

# A name may hold colons (`export nolocal:x` makes one): it ends at the first that a blank or the line's end follows.
_BLOCK = re.compile(
    rb"(?:[^\x00-\x20\x7f:][^\x00-\x1f\x7f:]*+(?::[^\x00-\x20\x7f:][^\x00-\x1f\x7f:]*+)*+"
    rb":(?: [^\x00-\x08\n-\x1f\x7f]*+)?\n)++"
)
_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most one frame may hold; a frame beyond any of them is refused before it is stored."""

    max_header_bytes: int = 256 * 1024
    max_body_bytes: int = 256 * 1024
    max_line_bytes: int = 64 * 1024
    max_headers: int = 4096

    @property
    def max_buffer_bytes(self) -> int:
        """The most bytes a reader holds: one whole frame and one more read of the socket."""
        return self.max_header_bytes + self.max_body_bytes + 64 * 1024


class Event(Mapping[str, str]):
    """The kept headers of one event, immutable, values decoded; ``repr`` shows no value."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return f"<Event of {len(self)} headers>"

    @property
    def name(self) -> str:
        """The event's name, such as ``CHANNEL_ANSWER``."""
        return self._headers["Event-Name"]


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One message of FreeSWITCH: the envelope's headers, and an event or a body where the type has one."""

    headers: Mapping[str, str]
    event: Event | None = None
    body: bytes = b""

    @property
    def content_type(self) -> str:
        """The type by which the conversation goes on, such as ``command/reply``."""
        return self.headers["Content-Type"]

    def __repr__(self) -> str:
        return f"<Frame of {len(self.headers)} headers>"


class FrameReader:
    """Collects bytes until they make a frame; ``feed`` what was read, then call ``next`` until it returns None."""

    __slots__ = ("_buffer", "_envelope", "_limits", "_names", "_refused", "_scanned")

    def __init__(self, keep: frozenset[str], limits: Limits | None = None) -> None:
        self._names = _names(keep)
        self._limits = limits or _DEFAULT_LIMITS
        self._buffer = bytearray()
        self._scanned = 0
        self._envelope: tuple[dict[str, str], Event | None, int] | None = None
        self._refused = ""

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket; raises FrameRejected when more wait than one frame may hold."""
        self._stay_refused()
        if len(self._buffer) + len(data) > self._limits.max_buffer_bytes:
            self._refuse("more bytes wait than a frame may hold")
        self._buffer += data

    def next(self) -> Frame | None:
        """Return the next whole frame or None; raises FrameRejected."""
        self._stay_refused()
        if self._envelope is None:
            block = self._take_block()
            if block is None:
                return None
            self._envelope = self._read_envelope(block)
        headers, event, length = self._envelope
        if len(self._buffer) < length:
            return None
        body = self._take(length)
        self._envelope = None
        if headers["Content-Type"] == EVENT_PLAIN:
            return Frame(headers, self._read_event(body))
        return Frame(headers, event, body)

    def eof(self) -> None:
        """Say that no more bytes come; raises FrameRejected inside a frame."""
        self._stay_refused()
        if self._envelope is not None or self._buffer.strip(b"\n"):
            self._refuse("the connection ended inside a frame")

    def _take_block(self) -> bytes | None:
        if not self._skip_stray_line_feeds():
            return None
        end = self._buffer.find(b"\n\n", self._scanned)
        size = len(self._buffer) if end < 0 else end
        if size > self._limits.max_header_bytes:
            self._refuse("its headers are longer than allowed")
        if end < 0:
            self._scanned = max(0, size - 1)
            return None
        self._scanned = 0
        return self._take(end + 2)[:-1]

    def _skip_stray_line_feeds(self) -> bool:
        """Tell whether a block has begun."""
        if not self._buffer.startswith(b"\n"):
            return bool(self._buffer)
        stray = len(self._buffer) - len(self._buffer.lstrip(b"\n"))
        if stray > _STRAY_LINE_FEEDS:
            self._refuse("a block has no header")
        if stray == len(self._buffer):
            return False
        self._take(stray)
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        if count == len(self._buffer):
            self._buffer = bytearray()  # an idle call holds no buffer
        else:
            del self._buffer[:count]
        return taken

    def _read_envelope(self, block: bytes) -> tuple[dict[str, str], Event | None, int]:
        lines = self._lines(block)
        if lines[0].startswith(_SERIALISED):
            found = self._pick(lines, self._names.both, quoted=True)
            headers = {name: value for name, value in found.items() if name in _ENVELOPE}
            event = Event({name: value for name, value in found.items() if name in self._names.event})
        else:
            headers, event = self._pick(lines, self._names.envelope, quoted=False), None
        content_type = headers.get("Content-Type")
        if content_type is None:
            self._refuse("it has no Content-Type")
        length = self._length(headers, required=content_type not in _WITHOUT_LENGTH)
        return headers, event if content_type == COMMAND_REPLY else None, length

    def _read_event(self, body: bytes) -> Event:
        end = body.find(b"\n\n")
        if end < 0:
            self._refuse("an event's headers do not end")
        lines = self._lines(body[: end + 1])
        if not lines[0].startswith(_SERIALISED):
            self._refuse("an event does not begin with Event-Name")
        if end + 2 != len(body):
            length = self._length(self._pick(lines, self._names.envelope, quoted=True), required=True)
            if end + 2 + length != len(body):
                self._refuse("an event's body is not as long as it says")
        return Event(self._pick(lines, self._names.event, quoted=True))

    def _lines(self, block: bytes) -> list[str]:
        if not _BLOCK.fullmatch(block):
            self._refuse("a header is malformed")
        try:
            lines = block[:-1].decode("utf-8").split("\n")
        except UnicodeDecodeError:
            self._refuse("it is not UTF-8")
        if len(lines) > self._limits.max_headers:
            self._refuse("it has too many headers")
        if max(map(len, lines)) > self._limits.max_line_bytes:
            self._refuse("a line is too long")
        return lines

    def _pick(self, lines: list[str], wanted: Mapping[str, str], *, quoted: bool) -> dict[str, str]:
        """Return the first value of each wanted header."""
        found: dict[str, str] = {}
        for line in lines:
            name, blank, value = line.partition(": ")
            shared = wanted.get(name if blank else line[:-1])
            if shared is None:
                continue
            value = self._value(value, quoted=quoted)
            if found.setdefault(shared, value) != value and shared in ("Content-Type", "Content-Length"):
                self._refuse("a header contradicts itself")
        return found

    def _value(self, text: str, *, quoted: bool) -> str:
        if not quoted or "%" not in text:
            return text
        value = unquote(text, errors="replace")  # a phone may send a display name in any encoding
        if "\0" in value:
            self._refuse("a value holds NUL")
        return value

    def _length(self, headers: Mapping[str, str], *, required: bool) -> int:
        text = headers.get("Content-Length")
        if text is None:
            if required:
                self._refuse("it has no Content-Length")
            return 0
        if not _LENGTH.fullmatch(text):
            self._refuse("its Content-Length is not a number")
        length = int(text)
        if length > self._limits.max_body_bytes:
            self._refuse("its body is longer than allowed")
        return length

    def _stay_refused(self) -> None:
        if self._refused:
            raise FrameRejected(reason=self._refused)

    def _refuse(self, reason: str) -> NoReturn:
        self._refused = reason
        self._buffer = bytearray()
        self._envelope = None
        raise FrameRejected(reason=reason)


_DEFAULT_LIMITS = Limits()


class _Names(NamedTuple):
    """Header names to look for; each maps to one object, so that thousands of calls hold a name once."""

    envelope: Mapping[str, str]
    event: Mapping[str, str]
    both: Mapping[str, str]


@lru_cache(maxsize=16)
def _names(keep: frozenset[str]) -> _Names:
    both = {name: name for name in keep | ALWAYS_KEPT | _ENVELOPE}
    envelope = {name: both[name] for name in _ENVELOPE}
    return _Names(envelope, {name: both[name] for name in keep | ALWAYS_KEPT}, both)
