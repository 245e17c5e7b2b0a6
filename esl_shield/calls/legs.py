"""What FreeSWITCH's own record of a leg (mod_json_cdr) says that a call's record needs: UUIDs, times, causes.

Invariants: of a record only the variables named in READ are looked at and of these only what has the form of a UUID, a
time or a cause is kept, so that a number standing anywhere in it, as in those of a misconfigured switch, goes no
further; no error quotes the record. Its size is bounded by who read it. The three ways mod_json_cdr encodes a post, and
the two it encodes a file, are told apart by their first bytes: its ``disable-100-continue`` drops the Content-Type.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes
from uuid import UUID

from esl_shield.calls import signs
from esl_shield.calls.states import Cause, State, cause_of
from esl_shield.errors.endings import CdrRejected
from esl_shield.esl.frames import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 512 * 1024
READ = frozenset(
    {
        *("uuid", "originator", "bridge_uuid", "hangup_cause", "end_uepoch", "answer_uepoch", "bridge_uepoch"),
        *("progress_uepoch", "progress_media_uepoch"),
        *("shield_result", "shield_cause", "originate_disposition", "bridge_hangup_cause"),
    }
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"[1-9][0-9]{14,16}")  # microseconds since the epoch
_CAUSE = re.compile(r"[A-Z][A-Z_]{0,63}")
_ENDINGS = frozenset(
    {
        *(State.BUSY, State.NO_ANSWER, State.CANCELLED, State.REJECTED, State.UNREACHABLE, State.FAILED),
        State.REFUSED,
    }
)


class Leg(NamedTuple):
    """One leg: its UUID, the leg it was made for, the one it talked to last, why and when; times are aware."""

    channel: UUID
    originator: UUID | None
    other: UUID | None
    state: State
    cause: str
    sip_code: int
    ringing_at: datetime | None
    answered_at: datetime | None
    bridged_at: datetime | None
    ended_at: datetime

    def values(self) -> tuple[object, ...]:
        """Return the arguments of ``shield_api.take_cdr``."""
        return tuple(str(value) if isinstance(value, UUID | State) else value for value in self)


def read(data: bytes) -> Leg:
    """Read a record as it was posted, or written to a file; raises CdrRejected."""
    variables = _variables(_decoded(data))
    channel, ended_at = _uuid(variables, "uuid"), _time(variables, "end_uepoch")
    if channel is None or ended_at is None:
        raise CdrRejected(reason="it does not say which leg ended when")
    cause = _cause(variables)
    ringing = [at for name in ("progress_uepoch", "progress_media_uepoch") if (at := _time(variables, name))]
    return Leg(
        channel=channel,
        originator=_uuid(variables, "originator"),
        other=_uuid(variables, "bridge_uuid"),
        state=cause.state if cause.state in _ENDINGS else State.FAILED,
        cause=cause.name,
        sip_code=cause.sip,
        ringing_at=min(ringing, default=None),
        answered_at=_time(variables, "answer_uepoch"),
        bridged_at=_time(variables, "bridge_uepoch"),
        ended_at=ended_at,
    )


def _decoded(data: bytes) -> bytes:
    text = data.strip().removeprefix(b"cdr=")
    if text.startswith(b"{"):
        return text
    if text.startswith((b"%7B", b"%7b")):
        return unquote_to_bytes(text)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise CdrRejected(reason="it is neither JSON nor encoded as mod_json_cdr does") from None


def _variables(text: bytes) -> dict[str, str]:
    """Return those of its variables that are read; raises CdrRejected without a word of them."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    variables = record.get("variables") if isinstance(record, dict) else None
    if not isinstance(variables, dict):
        raise CdrRejected(reason="it is no JSON record of a leg")
    return {name: value for name, value in variables.items() if name in READ and isinstance(value, str)}


def _uuid(variables: Mapping[str, str], name: str) -> UUID | None:
    text = variables.get(name, "")
    return UUID(text) if _UUID.fullmatch(text) else None


def _time(variables: Mapping[str, str], name: str) -> datetime | None:
    text = variables.get(name, "")
    return datetime.fromtimestamp(int(text) / 1e6, UTC) if _TIME.fullmatch(text) else None


def _cause(variables: Mapping[str, str]) -> Cause:
    """Say why the leg ended; of the leg that called and was not answered, what ended its last attempt."""
    named = {name: value for name, value in variables.items() if _CAUSE.fullmatch(value) or name == "shield_result"}
    attempt = Event({f"variable_{name}": value for name, value in named.items()})
    called = "originator" not in variables
    if called and _time(variables, "answer_uepoch") is None:
        if "shield_result" in variables:
            return signs.cause(attempt, "direct", answered=False)
        if "originate_disposition" in named:
            return signs.cause(attempt, "edge", answered=False)
    return cause_of(named.get("hangup_cause", ""))
