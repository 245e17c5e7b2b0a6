"""Who dials what, read from the data of the channel FreeSWITCH parked.

Invariants: the agent is ``sip_auth_username`` at ``domain_name`` and only when ``sip_authorized`` is true: FreeSWITCH
sets these after a digest, everything else in the channel data can be forged by a phone. Dialled digits that are not a
token are kept nowhere, only their class and length, because they may be a customer's number dialled by mistake. A
customer's leg that an agent transferred here has no agent: whose call it is, the database says by the leg's UUID.
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

    from esl_shield.config.calls import HandoffConfig

TOKEN_HEADER = "variable_sip_h_X-Shield-Token"  # noqa: S105 - a header's name
HEADERS = frozenset(
    {
        "Unique-ID",
        "Answer-State",
        "Caller-Destination-Number",
        "variable_sip_authorized",
        "variable_sip_auth_username",
        "variable_domain_name",
        "Call-Direction",
        "variable_esl_shield_inbound",
        "variable_shield_side",
        "variable_shield_domain",
        TOKEN_HEADER,
    }
)
_PRINCIPAL = re.compile(r"[A-Za-z0-9._+\-]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,253}")


@dataclass(frozen=True)
class Dialled:
    """What was dialled: a well-formed token, or only the class and length of what was not."""

    token: str | None
    kind: str
    length: int


@dataclass(frozen=True)
class Handoff:
    """A parked call: its channel, its agent (None unless authenticated), the agent's SIP domain, what was dialled.

    ``transferred`` is the leg of a customer who is being connected to another; it has a domain and no agent.
    """

    channel: UUID
    agent: str | None
    domain: str | None
    dialled: Dialled
    transferred: bool = False


def read(channel_data: Mapping[str, str], config: HandoffConfig) -> Handoff:
    """Read the channel data of ``connect``; raises HandoffRejected when it names no channel we can follow."""
    if _is_customers(channel_data):
        own = channel_data.get("variable_shield_domain", "")
        known = own.lower() if _DOMAIN.fullmatch(own) else None
        return Handoff(_channel(channel_data), None, known, _dialled(channel_data, config), transferred=True)
    if channel_data.get("Answer-State") == "answered":
        # Such a leg tells nothing of the customer's answer, and the alarm of an unanswered call would cut it off.
        raise HandoffRejected(what="it was answered before `socket`")
    agent, domain = _principal(channel_data)
    return Handoff(_channel(channel_data), agent, domain, _dialled(channel_data, config))


def _is_customers(channel_data: Mapping[str, str]) -> bool:
    """Whether it is a customer's leg, made by us or come in, with the variable we wrote on it; no phone sets one."""
    came_in = channel_data.get("variable_esl_shield_inbound") == "true"
    return (
        (came_in or channel_data.get("Call-Direction") == "outbound")
        and channel_data.get("Answer-State") == "answered"
        and channel_data.get("variable_shield_side") == "customer"
    )


def _channel(channel_data: Mapping[str, str]) -> UUID:
    try:
        return UUID(channel_data["Unique-ID"])
    except (KeyError, ValueError):
        raise HandoffRejected(what="its Unique-ID is not a UUID") from None


def _principal(channel_data: Mapping[str, str]) -> tuple[str | None, str | None]:
    agent = channel_data.get("variable_sip_auth_username", "")
    domain = channel_data.get("variable_domain_name", "")
    authorized = channel_data.get("variable_sip_authorized") == "true"
    if authorized and _PRINCIPAL.fullmatch(agent) and _DOMAIN.fullmatch(domain):
        return agent, domain.lower()
    return None, None


def _dialled(channel_data: Mapping[str, str], config: HandoffConfig) -> Dialled:
    text = channel_data.get("Caller-Destination-Number", "")
    if config.dummy_number is not None and text == config.dummy_number:
        text = channel_data.get(TOKEN_HEADER, "")
    if tokens.is_valid(text):
        return Dialled(text, "token", len(text))
    kind, length = tokens.classify(text)
    return Dialled(None, kind, length)
