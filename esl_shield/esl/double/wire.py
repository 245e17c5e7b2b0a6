"""How FreeSWITCH writes to the outbound socket and what it reads from it.

Sources: switch_event.c ``switch_event_serialize``, switch_utils.c ``switch_url_encode``, mod_event_socket.c
``read_packet``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Header = tuple[str, str]

_TO_ENCODE = re.compile(rb"%(?![0-9A-F]{2})|[^ -~]|[ #&+:;<=>?@\[\\\]^`{|}\"]")


@lru_cache(maxsize=8192)
def url_encode(value: str) -> str:
    """Encode a value as FreeSWITCH does, which leaves what already looks encoded alone."""
    data = value.encode("utf-8", "surrogateescape")
    return _TO_ENCODE.sub(lambda found: b"%%%02X" % found[0][0], data).decode("ascii")


def serialize(headers: Iterable[Header]) -> bytes:
    """Write an event's headers and their closing empty line."""
    return "".join(f"{name}: {url_encode(value) or '_undef_'}\n" for name, value in headers).encode() + b"\n"


def event_frame(headers: Iterable[Header]) -> bytes:
    """Write an event as the socket carries it."""
    body = serialize(headers)
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(body) + body


def reply_frame(text: str) -> bytes:
    """Write the reply to a command."""
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def api_frame(text: str) -> bytes:
    """Write what an api command printed."""
    body = (text or "-ERR no reply\n").encode()
    return b"Content-Type: api/response\nContent-Length: %d\n\n" % len(body) + body


def linger_notice(uuid: str, channel_name: str, linger_s: int) -> bytes:
    """Write the notice that the channel ended and the socket stays."""
    return (
        f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {uuid}\nContent-Disposition: linger\n"
        f"Channel-Name: {channel_name}\nLinger-Time: {linger_s}\nContent-Length: 0\n\n"
    ).encode()


def disconnect_notice(uuid: str) -> bytes:
    """Write FreeSWITCH's goodbye."""
    body = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
    head = f"Content-Type: text/disconnect-notice\nControlled-Session-UUID: {uuid}\nContent-Disposition: disconnect\n"
    return head.encode() + b"Content-Length: %d\n\n" % len(body) + body


@dataclass(frozen=True)
class Command:
    """One command of the worker: its first line and, for a sendmsg, its headers (names in lower case)."""

    line: str
    headers: dict[str, str] = field(default_factory=dict)
    raw: str = ""

    @property
    def name(self) -> str:
        """The command's first word."""
        return self.line.split(" ", 1)[0].lower()

    @property
    def argument(self) -> str:
        """What follows the first word."""
        return self.line.partition(" ")[2]


class CommandReader:
    """Cuts the worker's bytes into commands at empty lines, skipping leading ones."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Command]:
        """Take bytes; returns the commands they complete."""
        self._buffer = (self._buffer + data).lstrip(b"\r\n")
        commands = []
        while b"\n\n" in self._buffer:
            block, _, rest = self._buffer.partition(b"\n\n")
            self._buffer = rest.lstrip(b"\r\n")
            commands.append(_command(block.decode("utf-8", "replace")))
        return commands


def _command(block: str) -> Command:
    line, *rest = block.split("\n")
    headers: dict[str, str] = {}
    for text in rest:
        name, _, value = text.partition(":")
        headers.setdefault(name.lower(), value.lstrip(" "))
    return Command(line.strip(), headers, block)
