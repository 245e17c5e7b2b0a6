"""What FreeSWITCH is told to dial: the only place that writes a bridge argument or a leg variable.

Invariants: FreeSWITCH is given a token and a permit, never a number; every value is checked against a character set
that holds no separator of FreeSWITCH's dial strings (``,|[]{}<>^;=`` and blanks), so nothing a phone or a tenant chose
can add a variable, a second destination or an application.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.freeswitch import UnsafeArgument

if TYPE_CHECKING:
    from uuid import UUID

    from esl_shield.calls.permits import Permit
    from esl_shield.calls.records import Allowed
    from esl_shield.calls.routing import Route

SCRIPT = "esl_shield.lua"
TRANSFERS = "shield_transfers"  # the dialplan's context for transferred customers
CLICKS = "shield_clicks"  # its context and extension for agents we rang
ANONYMOUS = "anonymous"
_SAFE = re.compile(r"[A-Za-z0-9+._\-]+")

# On the leg that calls: nothing of the customer's side may come back to the phone, and a failed attempt leaves the leg
# to us. ``disable_q850_reason`` keeps a carrier's Reason text, which may quote the number, from the phone.
_PARKED_LEG = {
    "ignore_display_updates": "true",
    "disable_q850_reason": "true",
    "sip_copy_custom_headers": "false",
    "hangup_after_bridge": "true",
    "continue_on_fail": "true",
    # Else mod_sofia answers the phone with the status of the last leg that had one, whatever we hang up with
    # (mod_sofia.c:446): after a 503 and then our own time-out the agent would be told 503.
    "sip_ignore_remote_cause": "true",
}

# What an earlier attempt leaves on that leg and a later one may not overwrite; an empty value deletes.
_LEFT_BEHIND = (
    "last_bridge_proto_specific_hangup_cause",
    "last_bridge_hangup_cause",
    "bridge_hangup_cause",
    "shield_result",
    "shield_cause",
)

# On the leg we make: the customer's of an edge delivery, the agent's of a call that comes in.
_FAR_LEG = {
    "ignore_display_updates": "true",
    "sip_copy_custom_headers": "false",
    "outbound_redirect_fatal": "true",
}

# The customer's leg of an edge delivery; the script has its own. ``shield_side`` is what event filters, the dialplan
# and a hand-off after a transfer know the leg by.
_CUSTOMER_LEG = dict(_FAR_LEG, shield_side="customer", force_transfer_context=TRANSFERS)


class Execution(NamedTuple):
    """A dialplan application and its argument."""

    app: str
    argument: str


def parked_leg_variables(
    route: Route, channel: UUID, *, answer_timeout_s: int, call: UUID, allowed: Allowed, was_answered: bool = False,
    wishes: str = "", notice_s: int = 0,
) -> str:  # fmt: skip
    """Write the argument of ``uuid_setvar_multi`` after the channel's UUID.

    ``was_answered`` is a leg that did not dial: a transferred customer's, or that of an agent we rang; ``wishes`` is
    what ``policy`` appends, ``notice_s`` how long what the customer hears first may take.
    """
    # call_timeout ends ringing, bridge_answer_timeout ends early media that nobody answers (switch_ivr_bridge.c:716).
    variables = dict(_PARKED_LEG, call_timeout=str(answer_timeout_s), bridge_answer_timeout=str(answer_timeout_s))
    if notice_s:
        # call_timeout would go on through the notice and cut off who answers late; leg_timeout, which is the customer's
        # leg's own, is put off by the answer (switch_ivr_originate.c:803). The script takes it from here.
        variables |= {"call_timeout": str(answer_timeout_s + notice_s), "shield_ring_s": str(answer_timeout_s)}
    # Such a leg would call as what it was shown: the token of its own customer, or a business ID.
    caller_id = route.caller_id or (ANONYMOUS if was_answered else "")
    if caller_id:
        variables["effective_caller_id_number"] = variables["effective_caller_id_name"] = caller_id
    variables |= _route_data(call, allowed, dialled=not was_answered)
    left_behind = "".join(f"{name}=;" for name in _LEFT_BEHIND)
    # An answered call is disarmed by FreeSWITCH itself: a worker that froze while it rang must not end it.
    return f"{left_behind}api_on_answer=sched_del {channel};{_join(variables, ';')}{wishes}"


def _route_data(call: UUID, allowed: Allowed, *, dialled: bool) -> dict[str, str]:
    """Return what recordings, FreeSWITCH's own record and an agent's phone know the call by; none goes to the carrier.

    Answers to a phone that dialled have the business ID as ``X-Shield-Ref``: 18x by ``sip_ph_``, 200 by ``sip_rh_``.
    """
    ref = allowed.ref if allowed.ref and _SAFE.fullmatch(allowed.ref) else ""
    shown = showable(allowed.shown, allowed.token or "")
    variables = {"shield_recording": f"{ref or allowed.token or ANONYMOUS}_{call}"}
    if shown:
        variables["shield_shown"] = shown
    if ref:
        variables["shield_ref"] = ref
        if dialled:
            variables |= dict.fromkeys(("sip_ph_X-Shield-Ref", "sip_rh_X-Shield-Ref"), ref)
    return variables


def showable(shown: str | None, token: str = ANONYMOUS) -> str:
    """Return what is shown, which a tenant chose, where it may stand in a dial string; else the token."""
    return shown if shown and _SAFE.fullmatch(shown) else token


def execution(
    route: Route, *, token: str, domain: str, permit: Permit, sip_call_id: UUID, answer_timeout_s: int,
    disarms: UUID | None = None, shown: str = "", wishes: str = "",
) -> Execution:  # fmt: skip
    """Write the application that takes the call to the customer by this route's delivery; raises UnsafeArgument.

    Behind the edge ``sip_call_id`` is also the UUID of the customer's leg, by which a transfer is recognised. Its
    answer disarms the alarm of the leg ``disarms``: one that was answered before is not answered again. The script
    does both for such a leg alone.
    """
    name, shown = _safe("gateway", route.gateway.name), showable(shown, token)
    if route.gateway.delivery == "direct":
        instead = f" {shown}" if disarms or shown != token else ""
        leg = f" {sip_call_id}" if disarms else ""
        return Execution("lua", f"{SCRIPT} {permit.text} {_safe('token', token)} {name}{instead}{leg}")
    variables = dict(
        _CUSTOMER_LEG,
        **{"sip_h_X-Shield-Permit": permit.text, "sip_h_X-Shield-Gateway": name},
        sip_invite_call_id=str(sip_call_id),
        origination_uuid=str(sip_call_id),
        leg_timeout=str(answer_timeout_s),
        origination_callee_id_number=shown,
        origination_callee_id_name=shown,
    )
    if _SAFE.fullmatch(domain):  # another one can be called from, not transferred within
        variables["shield_domain"] = domain
    disarming = f",api_on_answer='sched_del {disarms}'" if disarms else ""
    leg = f"{_join(variables, ',')}{disarming}{wishes}"
    return Execution("bridge", f"[{leg}]sofia/gateway/{name}/{_safe('token', token)}")


def customer_leg_variables(token: str | None, channel: UUID, *, domain: str, ring_s: int) -> str:
    """Write the argument of ``uuid_setvar_multi`` for a customer who calls in; ``token`` None is anonymous."""
    shown = token or ANONYMOUS
    variables = dict(_PARKED_LEG, call_timeout=str(ring_s), effective_caller_id_number=shown)
    variables["effective_caller_id_name"] = shown
    # Wherever an agent's REFER wants to send the customer, and what the leg is known by there.
    variables["force_transfer_context"], variables["shield_side"] = TRANSFERS, "customer"
    if _SAFE.fullmatch(domain):
        variables["shield_domain"] = variables["eavesdrop_group"] = domain
    left_behind = "".join(f"{name}=;" for name in _LEFT_BEHIND)
    return f"{left_behind}api_on_answer=sched_del {channel};{_join(variables, ';')}"


def note_ringing(agent: str, domain: str, channel: UUID) -> str:
    """Write the command that lets a colleague pick up what rings at an agent, as the dialplan's ``hash`` does."""
    return f"api hash insert/shield_ringing/{_at(agent, domain)}/{channel}"


def note_answer(rung: str, agent: str, domain: str, channel: UUID) -> list[str]:
    """Write the commands that end pickup at who was ``rung`` and let supervisors find the call of who answered.

    Either may be empty, as the name of nobody known.
    """
    noted = [f"api hash delete/shield_ringing/{_at(rung, domain)}"] if rung else []
    return [*noted, *([f"api hash insert/shield_calls/{_at(agent, domain)}/{channel}"] if agent else [])]


def _at(agent: str, domain: str) -> str:
    return f"{_safe('agent', agent)}@{_safe('domain', domain)}"


def ring_agent(agent: str, domain: str, *, ring_s: int) -> Execution:
    """Write the application that rings an agent's phones for a customer; raises UnsafeArgument."""
    variables = dict(_FAR_LEG, leg_timeout=str(ring_s))
    return Execution("bridge", f"[{_join(variables, ',')}]user/{_at(agent, domain)}")


def ring_for_click(agent: str, domain: str, channel: UUID, *, shown: str, ref: str | None, ring_s: int) -> str:
    """Write the command that rings an agent's phones and hands the answered leg to a worker; raises UnsafeArgument.

    ``shown`` is what the phone shows as the caller; the leg's UUID is what the database knows its agent by.
    """
    variables = dict(
        _FAR_LEG, origination_uuid=str(channel), shield_side="agent", shield_domain=domain, eavesdrop_group=domain,
        origination_caller_id_number=shown, origination_caller_id_name=shown, originate_timeout=str(ring_s),
        ignore_early_media="true",  # else a phone that says 183 would be handed over unanswered
    )  # fmt: skip
    if ref:
        variables |= {"shield_ref": ref, "sip_h_X-Shield-Ref": ref}
    return f"originate {{{_join(variables, ',')}}}user/{_at(agent, domain)} {CLICKS} XML {CLICKS}"


def wait_in_queue(queue: str) -> Execution:
    """Write the application in which a customer waits for an agent of mod_callcenter; raises UnsafeArgument."""
    name, _, domain = queue.partition("@")
    return Execution("callcenter", _safe("queue", name) + (f"@{_safe('queue', domain)}" if domain else ""))


def _join(variables: dict[str, str], separator: str) -> str:
    return separator.join(f"{name}={_safe(name, value)}" for name, value in variables.items())


def _safe(what: str, value: str) -> str:
    if not _SAFE.fullmatch(value):
        raise UnsafeArgument(what=what)
    return value
