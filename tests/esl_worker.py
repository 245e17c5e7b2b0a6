"""A worker's handler for tests of the event socket: takes a call through gateways as the call flow says."""

from __future__ import annotations

import uuid

from esl_shield.esl.session import Execute

KEEP = frozenset(
    {
        *(
            "Hangup-Cause",
            "Answer-State",
            "Channel-Call-State",
            "Application",
            "Caller-Destination-Number",
            "variable_sip_auth_username",
        ),
        *("variable_originate_disposition", "variable_bridge_hangup_cause", "variable_shield_result"),
        *("variable_shield_cause", "variable_sip_authorized", "variable_user_name", "variable_sip_h_X-Note"),
    }
)
PERMIT = "0123456789abcdef0123456789abcdef"
EVENTS = "CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE CHANNEL_PROGRESS CHANNEL_ANSWER CHANNEL_BRIDGE"
VARIABLES = "hangup_after_bridge=true;continue_on_fail=true;call_timeout=60"


class Worker:
    """Takes a call through gateways in order, as the call flow says, and notes what it saw."""

    def __init__(self, *gateways, delivery="edge"):
        self.gateways = gateways or ("carrier",)
        self.delivery = delivery
        self.seen = []
        self.sessions = []

    def __call__(self, session):
        """Handle one call."""
        self.sessions.append(session)
        data = session.connect()
        token, number = data["Caller-Destination-Number"], session.uuid
        gateways = list(self.gateways)
        first, waiting = self.attempt(token, gateways.pop(0))
        session.request(
            *("linger", f"filter Unique-ID {number}", f"event plain {EVENTS}"),
            *(f"api uuid_setvar_multi {number} {VARIABLES}", f"api sched_del {number}", first),
        )
        while True:
            event = session.next_event(5)
            assert event is not None
            self.seen.append((event.name, dict(event)))
            if event.name == "CHANNEL_HANGUP_COMPLETE":
                return
            if event.name != "CHANNEL_EXECUTE_COMPLETE" or event["Application-UUID"] != waiting:
                continue
            if event["Answer-State"] == "hangup":
                continue
            if gateways:
                command, waiting = self.attempt(token, gateways.pop(0))
                session.request(command)
            else:
                session.hangup("NORMAL_TEMPORARY_FAILURE")

    def attempt(self, token, gateway):
        """Return the command for one attempt, and its uuid."""
        event_uuid = str(uuid.uuid4())
        if self.delivery == "direct":
            return Execute("lua", f"esl_shield.lua {PERMIT} {token} {gateway}", event_uuid), event_uuid
        dial = f"[sip_h_X-Shield-Permit={PERMIT},sip_invite_call_id={uuid.uuid4()}]sofia/gateway/{gateway}/{token}"
        return Execute("bridge", dial, event_uuid), event_uuid

    @property
    def names(self):
        """The events' names in order."""
        return [name for name, _ in self.seen]

    @property
    def last(self):
        """The last event's headers."""
        return self.seen[-1][1]


def full(session):
    """Answer a call this worker has no room for."""
    session.connect()
    session.execute("respond", "503 Service Unavailable")
