"""What FreeSWITCH's events say of a call: which we ask for, which headers we keep, how an attempt ended.

Invariants: of the agent's leg's progress only CHANNEL_CALLSTATE is asked for, which carries no channel variables
(``switch_channel_event_set_extended_data``): a carrier's SDP, which may quote the number, stands in the agent's leg's
variables while it talks. Of a transferred customer's leg only CHANNEL_STATE and CHANNEL_CALLSTATE pass: a filter keeps
away whatever carries its variables. Only the headers named here are kept; what an event does not say is never
guessed as success.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esl_shield.calls import states
from esl_shield.calls.states import Cause, cause_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esl_shield.config.gateways import Delivery
    from esl_shield.esl.session import Event

EVENTS = ("CHANNEL_CALLSTATE", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HANGUP_COMPLETE")
CUSTOMERS_EVENTS = ("CHANNEL_STATE",)  # in addition, once the customer talks on without the leg we hold
NO_END_OF_SOCKET = "filter Application -socket"  # ten kilobytes that say the worker was there
NO_CUSTOMERS_VARIABLES = "filter variable_shield_side -customer"
EVENT_HEADERS = frozenset(
    {
        "Event-Name",
        "Unique-ID",
        "Event-Date-Timestamp",
        "Application-UUID",
        "Channel-Call-State",
        "Hangup-Cause",
        "Caller-Channel-Progress-Time",
        "Caller-Channel-Progress-Media-Time",
        "Caller-Channel-Answered-Time",
        "Other-Leg-Unique-ID",
        "variable_originate_disposition",
        "variable_bridge_hangup_cause",
        "variable_last_bridge_proto_specific_hangup_cause",
        "variable_shield_result",
        "variable_shield_cause",
        "variable_cc_cause",
    }
)

LIMIT = "ALLOTTED_TIMEOUT"  # the cause by which FreeSWITCH ends a call that lasts as long as it may
_RESULTS = {
    "away": states.RESOLVER_AWAY,
    "destination": states.DESTINATION_REFUSED,
    "refused": states.PERMIT_REFUSED,
}


def was_bridged(event: Event, delivery: Delivery) -> bool:
    """Whether the end of an attempt says that the two legs met, be it only on early media."""
    if delivery == "direct":
        return event.get("variable_shield_result") == "bridged"
    return event.get("variable_originate_disposition") == "SUCCESS"


def cause(event: Event, delivery: Delivery, *, answered: bool) -> Cause:
    """Read what the end of ``bridge`` or of the Lua script says ended the attempt."""
    if answered or was_bridged(event, delivery):
        # In direct delivery the longest duration ends the agent's leg, and by that, ordinarily, the customer's.
        out_of_time = event.get("Hangup-Cause") == LIMIT
        name = LIMIT if out_of_time else event.get("variable_bridge_hangup_cause", "NORMAL_CLEARING")
    elif delivery == "edge":
        name = event.get("variable_originate_disposition", "")
    elif event.get("variable_shield_result") == "failed":
        name = event.get("variable_shield_cause", "")
    else:
        name = _RESULTS.get(event.get("variable_shield_result", ""), "NORMAL_TEMPORARY_FAILURE")
    return cause_of(name)


def is_ending(event: Event) -> bool:
    """Whether the agent's leg is already hung up, which its state does not tell while an application returns."""
    return "Hangup-Cause" in event


def is_answer(event: Event) -> bool:
    """Whether the event says that the call was answered just now."""
    return event.name == "CHANNEL_CALLSTATE" and event.get("Channel-Call-State") == "ACTIVE"


def ringing_at(event: Event) -> datetime | None:
    """Return when the customer's side first gave a sign (180 or 183), None if it has not."""
    names = ("Caller-Channel-Progress-Time", "Caller-Channel-Progress-Media-Time")
    return min((at for name in names if (at := _time(event, name))), default=None)


def answered_at(event: Event) -> datetime | None:
    """Return when the agent's leg was answered, None if it was not."""
    return _time(event, "Caller-Channel-Answered-Time")


def stamp(event: Event) -> datetime:
    """Return the event's own time; now, if it has none."""
    return _time(event, "Event-Date-Timestamp") or datetime.now(UTC)


def sip_code(event: Event) -> int:
    """Return the carrier's final SIP status of a failed attempt (``sip:486``), 0 if it gave none."""
    text = event.get("variable_last_bridge_proto_specific_hangup_cause", "")
    return int(text[4:]) if text.startswith("sip:") and text[4:].isdecimal() else 0


def _time(event: Mapping[str, str], name: str) -> datetime | None:
    """Read microseconds since the epoch; 0 and nonsense are None."""
    text = event.get(name, "")
    microseconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0  # noqa: PLR2004
    return datetime.fromtimestamp(microseconds / 1e6, UTC) if microseconds else None
