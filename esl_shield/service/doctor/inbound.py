"""Area ``inbound``: whether customers who call in are masked, or never come to FreeSWITCH at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.calls.arrivals import CONTEXT
from esl_shield.service.doctor import switch_access
from esl_shield.service.doctor.dialplan import read_dialplan
from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, NotAskedError, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config
    from esl_shield.service.doctor.switch import SwitchFacts

# What a context that takes no calls may do with one.
_TURNS_AWAY = frozenset({"respond", "hangup", "log", "set", "unset"})


@dataclass(frozen=True)
class InboundFacts:
    """The configuration, and FreeSWITCH's own unless it could not be asked."""

    config: Config
    switch: SwitchFacts | NotAskedError


def look_at_inbound(config: Config, switch: SwitchFacts | NotAskedError) -> InboundFacts:
    """Return the area's facts; raises NotApplicableError for a configuration without gateways."""
    if not config.gateways:
        message = "this configuration has no [[gateways]]"
        raise NotApplicableError(message)
    return InboundFacts(config, switch)


def _masked(facts: InboundFacts) -> Iterator[str]:
    if any(gateway.delivery == "edge" for gateway in facts.config.gateways):
        return
    if isinstance(facts.switch, NotAskedError):
        raise facts.switch
    for way in _ways_in(facts.switch):
        yield f'no gateway has delivery = "edge", and {way}: FreeSWITCH, its logs and agents get to know who calls in'


def _ways_in(switch: SwitchFacts) -> Iterator[str]:
    """Yield how a call from the carriers' side gets further than a refusal."""
    contexts = read_dialplan(switch.dialplan)
    carriers = switch_access.carrier_profiles(switch)
    for name, settings in switch.profiles.items():
        context = settings.get("context", "default")
        if context != CONTEXT and name not in carriers:
            continue
        taken = {context} | {
            params["context"] for profile, params in switch.gateways.values() if profile == name and "context" in params
        }
        for one in sorted(taken):
            actions = {action.application for extension in contexts.get(one, ()) for action in extension.actions}
            if actions - _TURNS_AWAY:
                yield f"profile {name} takes calls into the context {one}"


AREA = Area[InboundFacts](
    "inbound",
    "the configuration's `[[gateways]]` and, without one of delivery edge, FreeSWITCH's dialplan over `[freeswitch]`",
    (
        Check("inbound.masked", Severity.WARNING,
              "Customers who call in are masked by an edge, or do not get to this FreeSWITCH",
              "Only an edge can take the number out of a call before FreeSWITCH sees it.",
              "Put an edge in front of the carriers; or take no calls: remove the profile inbound, and let the "
              "carriers' context respond 404 as the shipped one does.", _masked),
    ),
)  # fmt: skip
