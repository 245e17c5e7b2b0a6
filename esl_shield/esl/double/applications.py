"""The dialplan applications a worker executes: mod_dptools.c, and our own script as mod_lua runs it.

An application takes the parked leg and its argument and returns its Application-Response, if it has one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from esl_shield.esl.double import causes
from esl_shield.esl.double.outbound import Outbound

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.esl.double.park import Parked

_SCRIPT = re.compile(
    r"\S*esl_shield\.lua (?P<permit>[0-9a-f]{32}) (?P<token>[0-9]+) (?P<gateway>[\w.-]+)( [\w+.-]+)?", re.ASCII
)
_CARRIER_TEXT = (
    *("sip_invite_failure_phrase", "sip_hangup_phrase", "sip_reason", "sip_603plus_reason"),
    "switch_m_sdp",
)
_FINAL = 300


def bridge(parked: Parked, argument: str) -> None:
    """Originate what the dial string says and bridge it."""
    cause = Outbound.of_dial_string(parked, argument).connect()
    if cause:
        parked.channel.set("originate_failed_cause", cause)
        if not parked.channel.continues_on_fail:
            parked.hang_up(cause)


def lua(parked: Parked, argument: str) -> None:
    """Run ``esl_shield.lua PERMIT TOKEN GATEWAY``."""
    result, cause = _run_script(parked, argument)
    for name in _CARRIER_TEXT:
        parked.channel.set(name, None)
    parked.channel.set("shield_result", result)
    parked.channel.set("shield_cause", cause)


def _run_script(parked: Parked, argument: str) -> tuple[str, str]:
    match = _SCRIPT.fullmatch(argument)
    if match is None:
        return "refused", "CALL_REJECTED"
    outbound = Outbound.of_script(parked, match["permit"], match["token"], match["gateway"])
    problem = outbound.redeem_by_script()
    if problem:
        return problem, "NORMAL_TEMPORARY_FAILURE" if problem == "away" else "CALL_REJECTED"
    if parked.channel.down:
        return "failed", "ORIGINATOR_CANCEL"
    cause = outbound.connect() or outbound.leg.hangup_cause
    return "bridged" if outbound.answered else "failed", cause or "NORMAL_CLEARING"


def respond(parked: Parked, argument: str) -> None:
    """Answer the phone with a SIP status; a final one ends the leg."""
    text = argument.partition(" ")[0]
    status = int(text) if text.isdecimal() else 488
    if status >= _FINAL:
        parked.hang_up(causes.cause_of_status(status), status=status)
    else:
        parked.phone_sees(status)


def hangup(parked: Parked, argument: str) -> None:
    """End the leg with a cause."""
    parked.hang_up(argument or "NORMAL_CLEARING")


def set_variable(parked: Parked, argument: str) -> None:
    """Set one variable."""
    name, _, value = argument.partition("=")
    parked.channel.set(name.strip(), value.strip())


def multiset(parked: Parked, argument: str) -> None:
    """Set variables separated by blanks, or by the character after ``^^``."""
    separator = argument[2] if argument.startswith("^^") else " "
    for pair in argument.removeprefix(f"^^{separator}").split(separator):
        set_variable(parked, pair)


def unset(parked: Parked, argument: str) -> None:
    """Unset one variable."""
    parked.channel.set(argument, None)


def answer(parked: Parked, _: str) -> None:
    """Answer the phone."""
    parked.answer()


def playback(parked: Parked, _: str) -> str:
    """Play a file to the phone, in no time."""
    parked.pre_answer(by_carrier=True)
    return "FILE PLAYED"


def sleep(parked: Parked, argument: str) -> None:
    """Do nothing for some milliseconds."""
    parked.wait(int(argument) / 1000 if argument.isdecimal() else 0)


def park(parked: Parked, _: str) -> None:
    """Do nothing: the leg is parked already."""


APPLICATIONS: dict[str, Callable[[Parked, str], str | None]] = {
    "bridge": bridge,
    "lua": lua,
    "respond": respond,
    "hangup": hangup,
    "set": set_variable,
    "multiset": multiset,
    "unset": unset,
    "answer": answer,
    "playback": playback,
    "sleep": sleep,
    "park": park,
}
