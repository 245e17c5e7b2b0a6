"""What we say to FreeSWITCH and what it answers: commands that are safe by construction, and replies.

Invariant: a command is rendered only when every part of it is free of control characters and no longer than
``MAX_ARGUMENT_BYTES``; otherwise UnsafeArgument is raised and nothing is sent. An error names the part, never its text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from esl_shield.errors.freeswitch import UnsafeArgument
from esl_shield.esl.frames import API_RESPONSE, Frame

MAX_ARGUMENT_BYTES = 8 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RAW_REPLIES = ("getvar",)  # its reply holds a channel variable unencoded, which may hold a whole forged frame


class Reply(NamedTuple):
    """FreeSWITCH's answer to one command: ``body`` is what an ``api`` command printed."""

    text: str
    ok: bool
    body: str = ""

    @property
    def data(self) -> str:
        """The text, by the name greenswitch gives it."""
        return self.text

    def __repr__(self) -> str:
        return f"<Reply ok={self.ok}>"


@dataclass(frozen=True, slots=True, repr=False)
class Execute:
    """A dialplan application to run on the parked channel; ``event_uuid`` returns as Application-UUID."""

    app: str
    argument: str = ""
    event_uuid: str = ""

    def render(self) -> str:
        """Write the sendmsg of switch_ivr.c ``switch_ivr_parse_event``; raises UnsafeArgument."""
        lines = ["sendmsg"]
        if self.event_uuid:
            lines.append(f"Event-UUID: {safe(self.event_uuid, 'event uuid')}")
        lines += ["call-command: execute", f"execute-app-name: {safe(self.app, 'application name')}"]
        if self.argument:
            lines.append(f"execute-app-arg: {safe(self.argument, 'application argument')}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, repr=False)
class Hangup:
    """The end of the parked channel, with a cause by its Q.850 name such as ``CALL_REJECTED``."""

    cause: str

    def render(self) -> str:
        """Write the sendmsg of switch_ivr.c ``switch_ivr_parse_event``; raises UnsafeArgument."""
        return f"sendmsg\ncall-command: hangup\nhangup-cause: {safe(self.cause, 'hangup cause')}"


Command = str | Execute | Hangup


def render(command: Command) -> str:
    """Write one command without its closing empty line; raises UnsafeArgument."""
    return _line(command) if isinstance(command, str) else command.render()


def name_of(command: Command) -> str:
    """Return the word by which an error may name the command: never an argument."""
    return command.split(" ", 1)[0] if isinstance(command, str) else type(command).__name__.lower()


def reply_of(frame: Frame) -> Reply:
    """Read the reply in a command/reply or api/response frame."""
    body = frame.body.decode("utf-8", "replace")
    if frame.content_type == API_RESPONSE:
        return Reply(body.split("\n", 1)[0], not body.startswith(("-ERR", "-USAGE")), body)
    text = frame.headers.get("Reply-Text", "").strip()
    return Reply(text, text.startswith("+OK"), body)


def safe(text: str, what: str) -> str:
    """Return the text if it can be part of a command; raises UnsafeArgument naming ``what``."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UnsafeArgument(what=what) from None
    if not text.strip() or size > MAX_ARGUMENT_BYTES or _CONTROL.search(text):
        raise UnsafeArgument(what=what)
    return text


def _line(command: str) -> str:
    name = safe(command, "command").split(" ", 1)[0].lower()
    if name in _RAW_REPLIES:
        raise UnsafeArgument(what=f"command {name}")
    return command
