"""A customer's call that came in through the edge, read from the data of the channel FreeSWITCH parked.

Invariants: nobody authenticates a customer, so such a call is known by what FreeSWITCH alone says: the dialplan's
context, which a Sofia profile fixes and no SIP message chooses, and a variable that this context sets. Caller and
called number are believed because that context takes calls from the edge only, which composes both; what is no token is
anonymous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from esl_shield.errors.calls import HandoffRejected
from esl_shield.vault import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT = "shield-inbound"
HEADERS = frozenset(
    {
        "Caller-Context",
        "Caller-Caller-ID-Number",
        "variable_esl_shield_inbound",
        "variable_sip_call_id",
    }
)
_DID = re.compile(r"\+[0-9]{5,15}")


@dataclass(frozen=True)
class Arrival:
    """A parked customer: the channel, the DID called, the customer's token, the edge's name of the call.

    ``did`` is None when it is no E.164 number, ``token`` when the caller is anonymous.
    """

    channel: UUID
    did: str | None
    token: str | None
    sip_call: UUID | None


def is_arrival(channel_data: Mapping[str, str]) -> bool:
    """Whether the parked channel is a customer's who calls in."""
    context, marked = channel_data.get("Caller-Context"), channel_data.get("variable_esl_shield_inbound")
    return context == CONTEXT and marked == "true"


def read(channel_data: Mapping[str, str]) -> Arrival:
    """Read the channel data of ``connect``; raises HandoffRejected when it names no channel we can follow."""
    if channel_data.get("Answer-State") == "answered":
        raise HandoffRejected(what="it was answered before `socket`")
    channel = _uuid(channel_data.get("Unique-ID", ""))
    if channel is None:
        raise HandoffRejected(what="its Unique-ID is not a UUID")
    did = channel_data.get("Caller-Destination-Number", "")
    caller = channel_data.get("Caller-Caller-ID-Number", "")
    return Arrival(
        channel,
        did if _DID.fullmatch(did) else None,
        caller if tokens.is_valid(caller) else None,
        _uuid(channel_data.get("variable_sip_call_id", "")),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
