"""One attempt to reach the customer: the gateway, the edge or the script, the carrier, the bridge.

Sources: switch_ivr_originate.c, switch_ivr_bridge.c ``switch_ivr_multi_threaded_bridge``, mod_dptools.c
``audio_bridge_function``. Where the number stands: on the carrier's wire (``Result.wire``) and nowhere else; the edge
lets nothing of the carrier's through, direct delivery lets its headers through as mod_sofia does.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from esl_shield.esl.double import causes
from esl_shield.esl.double.channel import Leg
from esl_shield.esl.double.redeem import Redemption
from esl_shield.esl.double.scenario import Carrier, Gateway, WireEntry
from esl_shield.esl.double.stamps import now_us

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esl_shield.esl.double.park import Parked

_DIAL_STRING = re.compile(
    r"(?:\[(?P<variables>[^\]]*)\])?(?:sofia/gateway/(?P<gateway>[^/]+)/(?P<user>.+)|(?P<desk>user/(?P<agent>[^@]+)@.+))"
)
_REQUEST_URI = re.compile(r"sip:\+?[0-9]+@[\w.-]+:[0-9]+", re.ASCII)
_PHRASES = {
    200: "OK", 403: "Forbidden", 404: "Not Found", 480: "Temporarily Unavailable", 486: "Busy Here",
    503: "Service Unavailable", 600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip
_EDGE_REFUSALS = frozenset({403, 404, 503})
_DEFAULT_CALL_TIMEOUT_S = 60.0
_OK = 200


class Outbound:
    """What a dial string or the script asks for, and what became of it."""

    def __init__(self, parked: Parked, gateway: str, user: str, variables: Mapping[str, str]) -> None:
        self._parked = parked
        self._channel = parked.channel
        self._gateway_name = gateway
        self._user = user
        self._variables = variables
        self._request_uri = ""
        self._permit = ""
        self._call_id = variables.get("sip_invite_call_id") or str(uuid.uuid4())
        self._callee = ("", "")
        self._bridged = False
        self.answered = False
        self.leg = Leg(user)

    @classmethod
    def of_dial_string(cls, parked: Parked, argument: str) -> Outbound:
        """Read ``[a=b,...]sofia/gateway/GATEWAY/USER`` or ``[...]user/AGENT@DOMAIN``; anything else names no gateway.

        A registered phone is the gateway of that whole name, such as ``user/1001@agents.example``.
        """
        match = _DIAL_STRING.fullmatch(argument)
        if match is None:
            return cls(parked, "", "", {})
        pairs = (pair.partition("=") for pair in (match["variables"] or "").split(",") if pair)
        variables = {name: value for name, _, value in pairs}
        return cls(parked, match["gateway"] or match["desk"], match["user"] or match["agent"], variables)

    @classmethod
    def of_script(cls, parked: Parked, permit: str, token: str, gateway: str) -> Outbound:
        """Make what ``esl_shield.lua`` makes of its arguments."""
        callee = {"origination_callee_id_number": token, "origination_callee_id_name": token}
        outbound = cls(parked, gateway, token, callee)
        outbound._permit = permit
        return outbound

    def redeem_by_script(self) -> str:
        """Exchange the permit as the script does; returns what ``shield_result`` says instead, if refused."""
        status, text = self._parked.redeem(Redemption("direct", self._permit, self._user, self._gateway_name))
        if status == _OK and _REQUEST_URI.fullmatch(text):
            self._request_uri = text
            return ""
        return {403: "destination", 404: "refused"}.get(status, "away")

    def connect(self) -> str:
        """Originate, bridge and talk to the end; returns the cause when the originate failed."""
        gateway = self._parked.call.gateways.get(self._gateway_name)
        if gateway is None or not gateway.up:
            missing = "USER_NOT_REGISTERED" if self._gateway_name.startswith("user/") else "INVALID_GATEWAY"
            return self._fail_to_originate(missing if gateway is None else "GATEWAY_DOWN")
        self._start()
        carrier = self._reach(gateway)
        self._parked.agent_may_cancel()
        self._progress(carrier)
        status = self._await_final(carrier)
        if status == _OK:
            self._answer(carrier)
            return ""
        cause = self._refused(status, carrier)
        if self._bridged:
            self._end_early_bridge(cause)
            return ""
        return cause

    # The INVITE:

    def _start(self) -> None:
        channel, leg = self._channel, self.leg
        for name in ("sip_invite_failure_status", "sip_invite_failure_phrase"):
            channel.set(name, None)
        channel.set("originate_disposition", "failure")
        channel.set("DIALSTATUS", "INVALIDARGS")
        channel.set("originate_signal_bond", leg.uuid)
        name = self._variables.get("origination_callee_id_name", "Outbound Call")
        number = self._variables.get("origination_callee_id_number", self._user)
        channel.push("originated_legs", f"{leg.uuid};{name};{number}")
        self._callee = (name, number)
        if channel.answered:
            self._parked.enter("RING_WAIT")

    def _reach(self, gateway: Gateway) -> Carrier:
        """Send the INVITE on its way; returns whoever answers it: the carrier, or the edge that refuses."""
        permit = self._variables.get("sip_h_X-Shield-Permit")
        if permit is None:
            uri = self._request_uri or f"sip:{self._user}@{gateway.host}"
            self._on_the_wire(uri, f"sip:{self._user}@{gateway.host}")
            return gateway.carrier
        named = self._variables.get("sip_h_X-Shield-Gateway", self._gateway_name)
        status, text = self._parked.redeem(Redemption("edge", permit, self._user, named, self._call_id))
        if status != _OK:
            status = status if status in _EDGE_REFUSALS else 503
            return Carrier(status=status, phrase=_PHRASES[status], rings=False)
        uri = f"sip:{text}@{gateway.host}"
        self._on_the_wire(uri, uri)
        return _behind_the_edge(gateway.carrier)

    def _on_the_wire(self, request_uri: str, to: str) -> None:
        self._parked.result.wire.append(WireEntry(self._gateway_name, request_uri, to, self._call_id))

    def _progress(self, carrier: Carrier) -> None:
        channel = self._channel
        if channel.down:
            return
        if carrier.rings:
            channel.callee = self._callee
            self.leg.progress_us = now_us()
            channel.mark("Channel-Progress")
            self._headers("sip_ph_", carrier.progress_headers)
            channel.set("sip_to_tag", uuid.uuid4().hex[:13])
            self._parked.phone_sees(180)
            self._parked.fire("CHANNEL_PROGRESS")
        if carrier.early_media:
            channel.callee = self._callee
            self.leg.media_us = now_us()
            self._parked.pre_answer(by_carrier=True)
            self._bridge()

    def _await_final(self, carrier: Carrier) -> int:
        """Return the carrier's final status, 487 when the agent was first, 0 when nobody answered in time."""
        limit_s = None if self._bridged else self._answer_timeout_s()
        waits = [seconds for seconds in (carrier.after_s, limit_s) if seconds is not None]
        if self._parked.wait(min(waits) if waits else None):
            return 487
        return 0 if carrier.after_s is None or carrier.after_s > min(waits) else carrier.status

    def _answer_timeout_s(self) -> float:
        set_ = self._channel.variables
        texts = (self._variables.get("leg_timeout"), set_.get("shield_ring_s"), set_.get("call_timeout"))
        limits = [float(text) for text in texts if text and text.isdecimal()]
        return min(limits, default=_DEFAULT_CALL_TIMEOUT_S) * self._parked.call.timeout_scale

    # The answer:

    def _answer(self, carrier: Carrier) -> None:
        self.answered = True
        self.leg.answered_us = now_us()
        self._channel.callee = self._callee
        self._headers("sip_rh_", carrier.final_headers)
        self._parked.answer()
        if not self._bridged:
            self._bridge()
        self._channel.set("last_sent_callee_id_name", self._callee[0])
        self._channel.set("last_sent_callee_id_number", self._callee[1])
        self._parked.result.bridged = True
        self._parked.agent_may_hang_up()
        if self._parked.wait(carrier.hangs_up_after_s):
            self.leg.hangup_cause = self._channel.hangup_cause
            self._unbridge()
        else:
            self._customer_hangs_up()

    def _bridge(self) -> None:
        channel, leg = self._channel, self.leg
        self._bridged = True
        channel.other = replace(leg)  # a copy: what becomes of the leg later does not show
        self._end_ring_wait()
        channel.mark("Channel-Bridged")
        channel.set("originate_disposition", "SUCCESS")
        channel.set("DIALSTATUS", "SUCCESS")
        channel.push("originate_causes", f"{leg.uuid};NONE")
        channel.set("originate_signal_bond", None)
        channel.set("signal_bond", leg.uuid)
        self._parked.fire("CHANNEL_BRIDGE", first=self._both())
        for name in ("bridge_to", "last_bridge_to", "bridge_uuid"):
            channel.set(name, leg.uuid)
        channel.set("bridge_channel", leg.name)

    def _end_ring_wait(self) -> None:
        """Leave the call state in which a leg that was answered before waits until the originate ends, either way."""
        if self._channel.call_state == "RING_WAIT":
            self._parked.enter("ACTIVE")

    def _unbridge(self) -> None:
        self._channel.set("bridge_to", None)
        self._channel.set("bridge_hangup_cause", self.leg.hangup_cause)
        self._parked.fire("CHANNEL_UNBRIDGE", first=self._both())

    def _both(self) -> tuple[tuple[str, str], ...]:
        return (("Bridge-A-Unique-ID", self._channel.uuid), ("Bridge-B-Unique-ID", self.leg.uuid))

    def _customer_hangs_up(self) -> None:
        self._leg_ended("NORMAL_CLEARING", "sip:200")
        self._unbridge()
        if self._channel.variables.get("hangup_after_bridge") == "true":
            self._parked.hang_up("NORMAL_CLEARING")

    # The refusal:

    def _fail_to_originate(self, cause: str) -> str:
        for name in ("sip_invite_failure_status", "sip_invite_failure_phrase"):
            self._channel.set(name, None)
        self._channel.set("originate_disposition", cause)
        self._channel.set("DIALSTATUS", cause)
        return cause

    def _refused(self, status: int, carrier: Carrier) -> str:
        """Note a final refusal, the agent's CANCEL (487) or the time-out (0); returns the cause."""
        if status == 487 and self._channel.down:  # noqa: PLR2004
            cause = "ORIGINATOR_CANCEL" if not self._channel.answered else self._channel.hangup_cause
        elif status == 0:
            cause = "NO_ANSWER"
            self._leg_ended(cause, None)
        else:
            cause = causes.cause_of_status(status)
            self._note_refusal(status, carrier)
            self._leg_ended(cause, f"sip:{status}")
        self.leg.hangup_cause = cause
        if not self._bridged:
            self._channel.set("originate_disposition", cause)
            self._channel.set("DIALSTATUS", causes.dialstatus(cause))
            self._channel.push("originate_causes", f"{self.leg.uuid};{cause}")
            if not self._channel.down:
                self._end_ring_wait()
        return cause

    def _note_refusal(self, status: int, carrier: Carrier) -> None:
        phrase = carrier.phrase.format(called=self._called_user)
        self._channel.set("sip_invite_failure_status", status)
        self._channel.set("sip_invite_failure_phrase", phrase)
        self._headers("sip_rh_", carrier.final_headers)
        if carrier.reason:
            self._channel.set("sip_reason", carrier.reason.format(called=self._called_user))
        self._channel.set("sip_hangup_phrase", phrase)

    def _leg_ended(self, cause: str, protocol_cause: str | None) -> None:
        self.leg.hangup_cause = cause
        self._channel.set("last_bridge_hangup_cause", cause)
        if protocol_cause:
            self._channel.set("last_bridge_proto_specific_hangup_cause", protocol_cause)

    def _end_early_bridge(self, cause: str) -> None:
        self._unbridge()
        if not self._channel.continues_on_fail:
            self._parked.hang_up(cause)

    def _headers(self, prefix: str, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self._channel.set(prefix + name, value.format(called=self._called_user))

    @property
    def _called_user(self) -> str:
        entry = self._parked.result.wire[-1] if self._parked.result.wire else None
        return entry.request_uri.removeprefix("sip:").partition("@")[0] if entry else ""


def _behind_the_edge(carrier: Carrier) -> Carrier:
    """Return the carrier as it looks through the edge: nothing it wrote, only what it did."""
    return Carrier(
        status=carrier.status,
        phrase=_PHRASES.get(carrier.status, "Refused"),
        rings=carrier.rings,
        early_media=carrier.early_media,
        after_s=carrier.after_s,
        hangs_up_after_s=carrier.hangs_up_after_s,
    )
