"""The agent's leg as FreeSWITCH keeps it: state, times, caller profile and variables, and events written from them.

Sources: switch_channel.c ``switch_channel_event_set_basic_data`` and ``..._extended_data`` (which headers, in which
order, with variables or without), switch_core_state_machine.c (what HANGUP_COMPLETE adds).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esl_shield.esl.double import invite, report
from esl_shield.esl.double.causes import q850
from esl_shield.esl.double.stamps import now_us, stamp

if TYPE_CHECKING:
    from esl_shield.esl.double.scenario import Agent, Call
    from esl_shield.esl.double.wire import Header

_WITHOUT_VARIABLES = frozenset({"CHANNEL_STATE", "CHANNEL_CALLSTATE"})
_CALL_STATES = {"EARLY": 3, "ACTIVE": 4, "RING_WAIT": 6, "HANGUP": 7}
_TIMES = (
    *("Profile-Created", "Channel-Created", "Channel-Answered", "Channel-Progress", "Channel-Progress-Media"),
    *("Channel-Hangup", "Channel-Transfer", "Channel-Resurrect", "Channel-Bridged"),
)


@dataclass
class Leg:
    """The customer's leg, as far as the agent's leg shows it."""

    token: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_us: int = field(default_factory=now_us)
    progress_us: int = 0
    media_us: int = 0
    answered_us: int = 0
    hangup_cause: str = ""

    @property
    def name(self) -> str:
        """The channel's name."""
        return f"sofia/external/{self.token}"


class Channel:
    """The agent's leg."""

    def __init__(self, call: Call, socket_argument: str) -> None:
        agent = call.agent
        self.agent = agent
        self.dialled = call.dialled
        self._context = call.context
        self.uuid = call.uuid or str(uuid.uuid4())
        self.name = f"sofia/internal/{agent.address}"
        self.late_negotiation = call.late_negotiation
        self.running_state = "CS_EXECUTE"
        self.call_state = "RINGING"
        self.answered = self.early = False
        self.hangup_cause = ""
        self.callee: tuple[str, str] | None = None
        self.other: Leg | None = None
        self.times = dict.fromkeys(_TIMES, 0)
        self.times["Profile-Created"] = self.times["Channel-Created"] = now_us()
        self.last_app = ("socket", socket_argument)
        self.variables = invite.variables(self, call)
        for name, value in call.variables.items():
            self.set(name, value)
        self.execute("socket", socket_argument)

    @property
    def down(self) -> bool:
        """Whether the leg was hung up."""
        return bool(self.hangup_cause)

    def set(self, name: str, value: object | None) -> None:
        """Set a variable, as FreeSWITCH does: at the end of the list; an empty value unsets it."""
        self.variables.pop(name, None)
        if value is not None and str(value):
            self.variables[name] = str(value)

    def push(self, name: str, value: str) -> None:
        """Add to a variable, which becomes a list from the second value on."""
        before = self.variables.pop(name, None)
        listed = before if before is None or before.startswith("ARRAY::") else f"ARRAY::{before}"
        self.variables[name] = value if listed is None else f"{listed}|:{value}"

    @property
    def continues_on_fail(self) -> bool:
        """Whether a failed attempt leaves the leg up."""
        return self.variables.get("continue_on_fail") == "true"

    def execute(self, app: str, argument: str) -> None:
        """Note the application that runs now."""
        self.set("current_application", app)
        self.set("current_application_data", argument)
        self.last_app = (app, argument)

    def begin_socket(self, worker_host: str) -> None:
        """Be as a leg is once ``socket`` has its connection."""
        self.set("current_application", "socket")
        self.set("socket_host", worker_host)

    def mark(self, time_name: str) -> None:
        """Note that something happened now, once: ``Channel-Answered``, ``Channel-Progress`` and so on."""
        self.times[time_name] = self.times[time_name] or now_us()

    def event(self, name: str, first: tuple[Header, ...] = (), last: tuple[Header, ...] = ()) -> list[Header]:
        """Write an event from the state of now; ``first`` and ``last`` surround what every channel event has."""
        variables = [] if name in _WITHOUT_VARIABLES else [(f"variable_{k}", v) for k, v in self.variables.items()]
        return [*stamp(name), *first, *self._basic(), *variables, *last]

    def enters(self, call_state: str) -> tuple[Header, ...]:
        """Change the call state; returns what CHANNEL_CALLSTATE begins with."""
        before, self.call_state = self.call_state, call_state
        number = ("Channel-Call-State-Number", str(_CALL_STATES[call_state]))
        return (("Original-Channel-Call-State", before), number)

    def data(self) -> list[Header]:
        """Write the answer to ``connect``."""
        head, rest = stamp("CHANNEL_DATA"), self.event("CHANNEL_DATA")[len(stamp("CHANNEL_DATA")) :]
        reply = [
            ("Content-Type", "command/reply"),
            ("Reply-Text", "+OK\n"),
            ("Socket-Mode", "async"),
            ("Control", "full"),
        ]
        return [*head, *self._profile("Channel"), *rest, *reply]

    def pre_answer(self, *, by_carrier: bool) -> None:
        """Open media to the phone before an answer."""
        self.early = True
        self.mark("Channel-Progress-Media")
        if self.late_negotiation:
            self._set_all(invite.negotiated(self.agent))
        self._set_all(invite.local_media(self.agent))
        if not by_carrier:
            self._set_all(invite.OTHER_MEDIA)
        self.set("endpoint_disposition", "EARLY MEDIA")

    def settle_media(self) -> None:
        """Be as a leg is once media is open."""
        self.set("rtp_local_sdp_str", invite.local_sdp(self.agent))

    def answer(self) -> None:
        """Be answered, towards the phone."""
        self.answered = True
        self.mark("Channel-Answered")
        if not self.early:
            self._set_all(invite.local_media(self.agent) | invite.OTHER_MEDIA)
            self.set("rtp_local_sdp_str", invite.local_sdp(self.agent))

    def settle(self) -> None:
        """Be as a leg is once the answer is out."""
        self.set("endpoint_disposition", "ANSWER")

    def note_cancel(self) -> None:
        """Take note of the phone's CANCEL."""
        self.set("sip_hangup_disposition", "recv_cancel")
        self.set("sip_invite_failure_status", 487)
        self.set("sip_invite_failure_phrase", "CANCEL")
        self._note_end(487, 487)

    def note_bye(self) -> None:
        """Take note of the phone's BYE."""
        self._note_end(200, 16)
        self._set_all({f"sip_bye_h_{name}": value for name, value in self.agent.headers.items()})
        if self.other:
            self.set("last_bridge_role", "originator")

    def _note_end(self, status: int, cause: int) -> None:
        self.set("sip_term_status", status)
        self.set("proto_specific_hangup_cause", f"sip:{status}")
        self.set("sip_term_cause", cause)

    def _set_all(self, variables: dict[str, str]) -> None:
        for name, value in variables.items():
            self.set(name, value)

    def hangup(self, cause: str) -> bool:
        """Hang up with a cause, once; tells whether this was the first time."""
        if self.hangup_cause:
            return False
        self.hangup_cause = cause
        return True

    def reported(self) -> list[Header]:
        """Write CHANNEL_HANGUP_COMPLETE, with the times and figures a CDR is made of."""
        self.set("hangup_cause", self.hangup_cause)
        self.set("hangup_cause_q850", q850(self.hangup_cause))
        self.set("digits_dialed", "none")
        report.set_times(self)
        app, argument = self.last_app
        self.set("last_app", app)
        self.set("last_arg", argument)
        self.set("caller_id", f'"{self.agent.display}" <{self.agent.username}>')
        report.set_durations(self)
        if self.early or self.answered:
            self._set_all(invite.media_report())
        if not self.variables.get("sip_hangup_disposition"):
            self.set("sip_hangup_disposition", "send_bye" if self.answered else "send_refuse")
        return self.event("CHANNEL_HANGUP_COMPLETE", first=(("Hangup-Cause", self.hangup_cause),))

    @property
    def answer_state(self) -> str:
        """What the phone hears."""
        if self.down:
            return "hangup"
        return "answered" if self.answered else "early" if self.early else "ringing"

    @property
    def state_number(self) -> int:
        """The number of the state the leg is to go to, ahead of the one it runs in."""
        if self.running_state == "CS_REPORTING":
            return 11
        return 10 if self.down else 4

    def _basic(self) -> list[Header]:
        headers = [
            ("Channel-State", self.running_state),
            ("Channel-Call-State", self.call_state),
            ("Channel-State-Number", str(self.state_number)),
            ("Channel-Name", self.name),
            ("Unique-ID", self.uuid),
            ("Call-Direction", "inbound"),
            ("Presence-Call-Direction", "inbound"),
            ("Channel-HIT-Dialplan", "true"),
            *([("Channel-Presence-ID", self.variables["presence_id"])] if "presence_id" in self.variables else []),
            ("Channel-Call-UUID", self.uuid),
            ("Answer-State", self.answer_state),
        ]
        if self.down:
            headers.append(("Hangup-Cause", self.hangup_cause))
        for way in () if self.late_negotiation and not (self.early or self.answered) else ("Read", "Write"):
            codec = (("Name", "PCMA"), ("Rate", "8000"), ("Bit-Rate", "64000"))
            headers += [(f"Channel-{way}-Codec-{name}", value) for name, value in codec]
        return [*headers, *self._profile("Caller"), *self._other_profile()]

    def _profile(self, prefix: str) -> list[Header]:
        headers = [
            *_who("inbound", self.agent, self._caller, self.callee),
            ("Destination-Number", self.dialled),
            ("Unique-ID", self.uuid),
        ]
        headers += [
            ("Source", "mod_sofia"),
            ("Context", self._context),
            ("Channel-Name", self.name),
            ("Profile-Index", "1"),
        ]
        return [(f"{prefix}-{name}", value) for name, value in [*headers, *_times(self.times)]]

    @property
    def _caller(self) -> tuple[str, str]:
        return self.agent.display, self.agent.username

    @property
    def _shown(self) -> tuple[str, str]:
        """The caller ID the customer sees."""
        name, number = self._caller
        shown = self.variables.get("effective_caller_id_name", name)
        return shown, self.variables.get("effective_caller_id_number", number)

    def _other_profile(self) -> list[Header]:
        leg = self.other
        if leg is None:
            return []
        times = dict.fromkeys(_TIMES, 0)
        times["Profile-Created"] = times["Channel-Created"] = leg.created_us
        times["Channel-Answered"], times["Channel-Progress"] = leg.answered_us, leg.progress_us
        times["Channel-Progress-Media"] = leg.media_us
        headers = [
            *_who("outbound", self.agent, self._shown, self.callee),
            ("Destination-Number", leg.token),
            ("Unique-ID", leg.uuid),
        ]
        headers += [("Source", "mod_sofia"), ("Context", "agents"), ("Channel-Name", leg.name), *_times(times)]
        return [("Other-Type", "originatee"), *((f"Other-Leg-{name}", value) for name, value in headers)]


def _who(direction: str, agent: Agent, caller: tuple[str, str], callee: tuple[str, str] | None) -> list[Header]:
    headers = [
        ("Direction", direction),
        ("Logical-Direction", "inbound"),
        ("Username", agent.username),
        ("Dialplan", "XML"),
    ]
    headers += [("Caller-ID-Name", caller[0]), ("Caller-ID-Number", caller[1])]
    headers += [("Orig-Caller-ID-Name", agent.display), ("Orig-Caller-ID-Number", agent.username)]
    if callee is not None:
        headers += [("Callee-ID-Name", callee[0]), ("Callee-ID-Number", callee[1])]
    return [*headers, ("Network-Addr", agent.host), ("ANI", agent.username)]


def _times(times: dict[str, int]) -> list[Header]:
    headers = [(f"{name}-Time", str(us)) for name, us in times.items()]
    headers += [("Channel-Last-Hold", "0"), ("Channel-Hold-Accum", "0"), ("Screen-Bit", "true")]
    return [*headers, ("Privacy-Hide-Name", "false"), ("Privacy-Hide-Number", "false")]
