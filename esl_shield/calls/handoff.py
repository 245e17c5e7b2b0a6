"""Who dials what, read from the data of the channel FreeSWITCH parked.

Invariants: the agent is ``sip_auth_username`` at ``domain_name`` and only when ``sip_authorized`` is true: FreeSWITCH
sets these after a digest, everything else in the channel data can be forged by a phone. Dialled digits that are not a
token are kept nowhere, only their class and length, because they may be a customer's number dialled by mistake. A
customer's leg that an agent transferred here has no agent, and an agent's leg that we made was never authenticated:
whose call it is, the database says by the leg's UUID.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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
_ALIAS = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_NO_LETTER = re.compile(r"[0-9._\-]+")
_LONG_RUN = re.compile(r"[0-9](?:[._\-]*[0-9]){10}")
_MOST_DIGITS = 6


@dataclass(frozen=True)
class Dialled:
    """What was dialled: a well-formed token, or only the class and length of what was not.

    ``alias`` is the text of what may be a tenant's own handle and can be no telephone number; it is looked up and goes
    nowhere else.
    """

    token: str | None
    kind: str
    length: int
    alias: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Handoff:
    """A parked call: its channel, its agent (None unless authenticated), the agent's SIP domain, what was dialled.

    ``transferred`` is the leg of a customer who is being connected to another, ``clicked`` that of an agent whose phone
    we rang; either was answered before, has a domain, and the database says by its UUID whose it is.
    """

    channel: UUID
    agent: str | None
    domain: str | None
    dialled: Dialled
    transferred: bool = False
    clicked: bool = False

    @property
    def was_answered(self) -> bool:
        """Whether the leg was answered before it came to us, so that only the customer's own tells of the answer."""
        return self.transferred or self.clicked


_CLICKED = Dialled(None, "click", 0)


def read(channel_data: Mapping[str, str], config: HandoffConfig) -> Handoff:
    """Read the channel data of ``connect``; raises HandoffRejected when it names no channel we can follow."""
    if _is_customers(channel_data):
        known = _own_domain(channel_data)
        return Handoff(_channel(channel_data), None, known, _dialled(channel_data, config), transferred=True)
    if _is_clicked(channel_data):
        return Handoff(_channel(channel_data), None, _own_domain(channel_data), _CLICKED, clicked=True)
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


def _is_clicked(channel_data: Mapping[str, str]) -> bool:
    """Whether it is an agent's leg that we made, with the variable it was made with; no phone sets one."""
    return (
        channel_data.get("Call-Direction") == "outbound"
        and channel_data.get("Answer-State") == "answered"
        and channel_data.get("variable_shield_side") == "agent"
    )


def _own_domain(channel_data: Mapping[str, str]) -> str | None:
    own = channel_data.get("variable_shield_domain", "")
    return own.lower() if _DOMAIN.fullmatch(own) else None


def _channel(channel_data: Mapping[str, str]) -> UUID:
    try:
        return UUID(channel_data["Unique-ID"])
    except (KeyError, ValueError):
        raise HandoffRejected(what="its Unique-ID is not a UUID") from None


def _principal(channel_data: Mapping[str, str]) -> tuple[str | None, str | None]:
    agent = channel_data.get("variable_sip_auth_username", "")
    domain = channel_data.get("variable_domain_name", "")
    # A leg somebody made may have been given any variable.
    came_in = channel_data.get("Call-Direction") == "inbound"
    authorized = came_in and channel_data.get("variable_sip_authorized") == "true"
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
    return Dialled(None, kind, length, text if _may_be_alias(text) else None)


def _may_be_alias(text: str) -> bool:
    """Whether text may be an alias, and is no telephone number dialled by mistake, which must not reach a statement.

    Digits alone are at most six; beside letters at most ten belong together.
    """
    if not _ALIAS.fullmatch(text) or _LONG_RUN.search(text):
        return False
    return not _NO_LETTER.fullmatch(text) or sum(map(str.isdigit, text)) <= _MOST_DIGITS
