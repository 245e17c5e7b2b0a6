"""Reads the recordings in ``data/transcripts``: what the worker wrote and the bytes FreeSWITCH answered, in order.

A recording shows lines; a body that does not end in a line feed was closed with one by the recorder, which is why
bodies are cut by their Content-Length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "transcripts"
NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))

_LENGTH = re.compile(rb"^Content-Length: ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Message:
    """One command of the worker (without its closing empty line) or one whole frame of FreeSWITCH."""

    from_worker: bool
    data: bytes


def load(name: str, folder: Path = FOLDER) -> list[Message]:
    """Return a recording's messages in order."""
    lines = [line for line in (folder / f"{name}.txt").read_bytes().split(b"\n") if not line.startswith(b"#")]
    messages: list[Message] = []
    while lines:
        if lines[0].startswith(b">"):
            messages.append(Message(from_worker=True, data=_block(lines, b">")))
        elif lines[0].startswith(b"<"):
            messages.append(Message(from_worker=False, data=_frame(lines)))
        else:
            assert not lines.pop(0).strip()
    return messages


def frames(name: str) -> list[bytes]:
    """Return every frame FreeSWITCH sent."""
    return [message.data for message in load(name) if not message.from_worker]


def commands(name: str) -> list[str]:
    """Return every command the worker sent."""
    return [message.data.decode() for message in load(name) if message.from_worker]


def _block(lines: list[bytes], mark: bytes) -> bytes:
    taken = []
    while lines and lines[0].startswith(mark):
        line = lines.pop(0)[2:]
        if not line:
            break
        taken.append(line)
    return b"\n".join(taken)


def _frame(lines: list[bytes]) -> bytes:
    block = _block(lines, b"<")
    length = _LENGTH.search(block)
    body = b""
    wanted = int(length[1]) if length else 0
    while len(body) < wanted:
        body += lines.pop(0)[2:] + b"\n"
    if wanted and lines and lines[0] in (b"<", b"< "):
        lines.pop(0)
    assert len(body) in (wanted, wanted + 1), (block, len(body))
    return block + b"\n\n" + body[:wanted]
