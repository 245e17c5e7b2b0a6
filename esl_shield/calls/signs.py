"""What FreeSWITCH's events say of a call: which we ask for, which headers we keep, how an attempt ended.

Invariants: only events of the agent's leg are asked for; only the headers named here are kept of them; what an event
does not say is never guessed as success.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esl_shield.calls import handoff, states
from esl_shield.calls.states import Cause, cause_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esl_shield.config import Delivery
    from esl_shield.esl.session import Event

EVENTS = (
    "CHANNEL_EXECUTE_COMPLETE",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_ANSWER",
    "CHANNEL_BRIDGE",
)
HEADERS = handoff.HEADERS | {
    "Event-Name",
    "Event-Date-Timestamp",
    "Application-UUID",
    "Hangup-Cause",
    "Caller-Channel-Answered-Time",
    "Other-Leg-Unique-ID",
    "variable_originate_disposition",
    "variable_bridge_hangup_cause",
    "variable_proto_specific_hangup_cause",
    "variable_last_bridge_proto_specific_hangup_cause",
    "variable_shield_result",
    "variable_shield_cause",
}

_RESULTS = {
    "away": states.RESOLVER_AWAY,
    "destination": states.DESTINATION_REFUSED,
    "refused": states.PERMIT_REFUSED,
}
_BRIDGED = frozenset({"SUCCESS", "bridged"})


def cause(event: Event, delivery: Delivery, *, answered: bool) -> Cause:
    """Read what the end of ``bridge`` or of the Lua script says ended the attempt."""
    result = event.get("variable_shield_result" if delivery == "direct" else "variable_originate_disposition", "")
    if result in _BRIDGED or answered:
        return cause_of(event.get("variable_bridge_hangup_cause", "NORMAL_CLEARING"))
    if delivery == "edge":
        return cause_of(result)
    if result == "failed":
        return cause_of(event.get("variable_shield_cause", ""))
    return cause_of(_RESULTS.get(result, "NORMAL_TEMPORARY_FAILURE"))


def stamp(event: Mapping[str, str]) -> datetime:
    """Read the event's own time (``Event-Date-Timestamp``, microseconds since the epoch)."""
    stamp = event.get("Event-Date-Timestamp", "")
    return datetime.fromtimestamp(int(stamp) / 1e6, UTC) if stamp.isdecimal() else datetime.now(UTC)


def is_ending(event: Event) -> bool:
    """Whether the agent's leg is already hung up, which its state does not tell while an application returns."""
    return "Hangup-Cause" in event


def is_answer(event: Event) -> bool:
    """Whether the event says the customer's side answered.

    A bridge may also stand on early media; and a leg that was answered before the hand-off fires no CHANNEL_ANSWER.
    """
    if event.name == "CHANNEL_BRIDGE":
        return event.get("Caller-Channel-Answered-Time", "0") != "0"
    return event.name == "CHANNEL_ANSWER"


def sip_code(event: Mapping[str, str]) -> int:
    """Read the carrier's final SIP status of a failed attempt (``sip:486``), 0 if it gave none."""
    text = event.get("variable_last_bridge_proto_specific_hangup_cause", "")
    return int(text[4:]) if text.startswith("sip:") and text[4:].isdecimal() else 0
