"""The little HTTP/1.1 our processes speak: bytes in, requests out, replies as bytes; no I/O.

Invariants: nothing is kept of a request but what a caller may legitimately say (method, target, the headers in KEPT, a
body of a length set by whom it is for); memory is bounded at every offset; what is not plainly a request is rejected
and the connection closed, never guessed at, so that two parsers cannot disagree about where a request ends. A refused
request gets the same bytes whatever was wrong with it. Grammar: RFC 9112 without line folding, chunked bodies, bare LF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.resolver import RequestRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEAD_BYTES = 4096
MAX_BODY_BYTES = 1024
MAX_HEADERS = 32
KEPT = frozenset(
    {
        *("authorization", "x-shield-signature", "content-type", "content-length", "connection", "transfer-encoding"),
        "expect",
    }
)
_KEPT_BY_BYTES = {name.encode("ascii"): name for name in KEPT}

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]{1,256}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}):[ \t]*([\x20-\x7e\t\x80-\xff]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, repr=False, slots=True)
class Request:
    """One request; ``keep_alive`` says whether the caller may send another on this connection."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


class Reply(NamedTuple):
    """Bytes to send, and whether the connection ends with them."""

    data: bytes
    close: bool


class RequestReader:
    """Collects bytes until they are a request."""

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._buffer = bytearray()
        self._max_body_bytes = max_body_bytes
        self._awaits_continue = False

    @property
    def is_empty(self) -> bool:
        """Whether no byte of a next request has come yet."""
        return not self._buffer

    def asks_to_continue(self) -> bool:
        """Whether the caller keeps its body back until it is asked for it; said once per request."""
        awaits, self._awaits_continue = self._awaits_continue, False
        return awaits

    def feed(self, data: bytes) -> None:
        """Take what the socket gave. Call only after ``next_request`` said None, so that the buffer stays bounded."""
        self._buffer += data

    def next_request(self) -> Request | None:
        """Return the next request, None while it is incomplete; raises RequestRejected."""
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            _require(len(self._buffer) < MAX_HEAD_BYTES, "head_too_large")
            return None
        request_line, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        match = _REQUEST_LINE.fullmatch(request_line)
        if not match:
            raise RequestRejected(reason="malformed")
        headers = _headers(lines)
        body_start, length = end + 4, _body_length(headers, self._max_body_bytes)
        if len(self._buffer) < body_start + length:
            self._awaits_continue = len(self._buffer) == body_start and "expect" in headers
            return None
        body = bytes(self._buffer[body_start : body_start + length])
        del self._buffer[: body_start + length]
        method, target, minor = (group.decode("ascii") for group in match.groups())
        keep_alive = minor == "1" and "close" not in headers.get("connection", "").lower()
        return Request(method, target, headers, body, keep_alive)


def reply(status: str, body: bytes, *, close: bool, content_type: str = "text/plain") -> bytes:
    """Spell a reply; nothing in it depends on the time, the version or the machine."""
    connection = "Connection: close\r\n" if close else ""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{connection}\r\n"
    )
    return head.encode("ascii") + body


def _headers(lines: list[bytes]) -> dict[str, str]:
    _require(len(lines) <= MAX_HEADERS, "head_too_large")
    kept: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if not match:
            raise RequestRejected(reason="malformed")
        name = _KEPT_BY_BYTES.get(match[1].lower())
        if name is not None:
            _require(name not in kept, "malformed")
            kept[name] = match[2].decode("latin-1")
    return kept


def _body_length(headers: Mapping[str, str], most: int) -> int:
    _require("transfer-encoding" not in headers, "malformed")
    text = headers.get("content-length", "0")
    _require(_LENGTH.fullmatch(text) is not None, "malformed")
    _require(int(text) <= most, "body_too_large")
    return int(text)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise RequestRejected(reason=reason)
