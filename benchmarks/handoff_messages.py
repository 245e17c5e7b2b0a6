"""What FreeSWITCH sends during one answered call, for the load generator: a recording with its values left open.

Invariant: every byte that is not a value of the call (its UUIDs, token, agent, times) is as recorded; Content-Length is
counted anew, since a token may be longer than the recorded one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

RECORDING = Path(__file__).parents[1] / "tests" / "data" / "transcripts" / "bridge-answered.txt"
RECORDED_DOMAIN = b"agents.example.com"
_UUID, _STAMP, _AGENT = 36, 16, 4
_EVENT = re.compile(rb"Content-Length: \d+\nContent-Type: text/event-plain\n\n")
_NOTICE = b"Content-Type: text/disconnect-notice\n"


class Recorded(NamedTuple):
    """A recorded call: FreeSWITCH's texts, and the worker's two writes."""

    channel_data: bytes
    events: list[bytes]
    notice: bytes
    prepare: bytes
    bridge: bytes


def read(path: Path = RECORDING) -> Recorded:
    """Take a recording of an answered call apart."""
    turns: list[tuple[bytes, list[bytes]]] = []
    for line in path.read_bytes().splitlines():
        who, text = line[:1], line[2:]
        if who in (b"<", b">"):
            if not turns or turns[-1][0] != who:
                turns.append((who, []))
            turns[-1][1].append(text)
    said = [b"\n".join(lines) + b"\n" for _, lines in turns]
    channel_data, commands, answers = said[1], said[2], said[3]
    first, *rest = _EVENT.split(answers)
    if not first.endswith(b"\nReply-Text: +OK\n\n"):
        raise SystemExit(f"{path} is not the recording of a bridge")
    events, notice = [], b""
    for text in rest:
        event, found, after = text.partition(_NOTICE)
        events.append(event)
        notice = found + after if found else notice
    prepare, _, bridge = commands.partition(b"sendmsg\n")
    return Recorded(channel_data, events, notice, prepare, b"sendmsg\n" + bridge)


def write(folder: Path, *, domain: str, token_length: int) -> None:
    """Write the generator's messages 0 to 4 and the null server's ``prepare`` and ``bridge``."""
    recorded = read()
    values = _values(recorded)

    def opened(text: bytes) -> bytes:
        for value, mark, length in values:
            text = text.replace(value, mark * (length or token_length))
        text = re.sub(rb"(?<=: )1001(?=\n)", b"\5" * _AGENT, text)
        text = re.sub(rb"(?<=: )1795304[0-9]{9}(?=\n)", b"\6" * _STAMP, text)
        return text.replace(RECORDED_DOMAIN, domain.encode())

    def event(text: bytes) -> bytes:
        body = opened(text)
        return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(body), body)

    # The worker filters away the end of ``socket`` itself.
    early, active, *ended = (text for text in recorded.events if b"\nApplication: socket\n" not in text)
    texts = [opened(recorded.channel_data), event(early), event(active), opened(recorded.notice)]
    for number, text in enumerate([*texts, b"".join(map(event, ended))]):
        (folder / str(number)).write_bytes(text)
    (folder / "prepare").write_bytes(recorded.prepare)
    (folder / "bridge").write_bytes(recorded.bridge)


def _values(recorded: Recorded) -> list[tuple[bytes, bytes, int]]:
    """Find the recorded call's own values; the token's length is the caller's to say."""

    def found(pattern: bytes, text: bytes) -> bytes:
        match = re.search(pattern, text)
        if match is None:
            raise SystemExit(f"the recording lacks {pattern!r}")
        return match[1]

    return [
        (found(rb"\nUnique-ID: (\S+)", recorded.channel_data), b"\1", _UUID),
        (found(rb"\nChannel-Destination-Number: (\d+)", recorded.channel_data), b"\2", 0),
        (found(rb"\nEvent-UUID: (\S+)", recorded.bridge), b"\3", _UUID),
        (found(rb"\nOther-Leg-Unique-ID: (\S+)", b"".join(recorded.events)), b"\4", _UUID),
    ]
