"""The one table of states, transitions and causes.

A call is PARKED when FreeSWITCH hands it over, BRIDGING once it is authorised and a permit is out, RINGING when the
customer's side gave a sign (180 or 183), ANSWERED when it was picked up, and then in exactly one terminal state.
Nothing leaves a terminal state; what the table does not list is a programming error, not a call outcome.

Causes are FreeSWITCH's names (``switch_types.h``) with their Q.850 value, the SIP status the agent's phone gets and the
state they end an unanswered call in. An answered call always ends COMPLETED, whatever ended it. Three causes are our
own, for what only this package can know.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple

from esl_shield.errors.calls import IllegalTransition


class State(StrEnum):
    """Where a call is."""

    PARKED = "PARKED"
    BRIDGING = "BRIDGING"
    RINGING = "RINGING"
    ANSWERED = "ANSWERED"
    REFUSED = "REFUSED"
    COMPLETED = "COMPLETED"
    BUSY = "BUSY"
    NO_ANSWER = "NO_ANSWER"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    UNREACHABLE = "UNREACHABLE"
    FAILED = "FAILED"
    LOST = "LOST"

    @property
    def is_terminal(self) -> bool:
        """Whether the call is over."""
        return self not in _OPEN


_OPEN = frozenset({State.PARKED, State.BRIDGING, State.RINGING, State.ANSWERED})


class Elsewhere(Enum):
    """Whether a failed attempt may be tried through the next gateway."""

    NEVER = "the customer's side answered for itself"
    UNTIL_RINGING = "a gateway's silence, unless the customer's side was already reached"
    ALWAYS = "the gateway's fault, not the customer's"


class Cause(NamedTuple):
    """What ended an attempt: Q.850 value, SIP status for the agent, the CDR's state, failover, FreeSWITCH's name."""

    name: str
    q850: int
    sip: int
    state: State
    elsewhere: Elsewhere
    hangup_as: str

    def may_go_elsewhere(self, *, rang: bool) -> bool:
        """Whether the next gateway may be tried, given that the customer's side already ``rang``."""
        return self.elsewhere is Elsewhere.ALWAYS or (self.elsewhere is Elsewhere.UNTIL_RINGING and not rang)


_N, _U, _A = Elsewhere.NEVER, Elsewhere.UNTIL_RINGING, Elsewhere.ALWAYS

RESOLVER_AWAY = "RESOLVER_AWAY"
DESTINATION_REFUSED = "DESTINATION_REFUSED"
PERMIT_REFUSED = "PERMIT_REFUSED"

# name, Q.850, SIP, state when unanswered, elsewhere[, FreeSWITCH's cause to hang the agent's leg up with]
_ROWS: tuple[tuple[str, int, int, State, Elsewhere] | tuple[str, int, int, State, Elsewhere, str], ...] = (
    ("NORMAL_CLEARING", 16, 480, State.NO_ANSWER, _N),
    ("USER_BUSY", 17, 486, State.BUSY, _N),
    ("BUSY_EVERYWHERE", 17, 600, State.BUSY, _N),
    ("NO_USER_RESPONSE", 18, 480, State.NO_ANSWER, _N, "NO_ANSWER"),
    ("NO_ANSWER", 19, 480, State.NO_ANSWER, _N),
    ("NO_PICKUP", 19, 480, State.NO_ANSWER, _N, "NO_ANSWER"),
    ("ALLOTTED_TIMEOUT", 19, 480, State.NO_ANSWER, _N, "NO_ANSWER"),
    ("SUBSCRIBER_ABSENT", 20, 480, State.UNREACHABLE, _N),
    ("USER_NOT_REGISTERED", 20, 480, State.UNREACHABLE, _N, "SUBSCRIBER_ABSENT"),
    ("CALL_REJECTED", 21, 603, State.REJECTED, _N),
    ("DECLINE", 21, 603, State.REJECTED, _N),
    ("REJECT_ALL", 21, 603, State.REJECTED, _N),
    ("UNWANTED", 21, 607, State.REJECTED, _N),
    ("ORIGINATOR_CANCEL", 16, 487, State.CANCELLED, _N),
    ("UNALLOCATED_NUMBER", 1, 404, State.UNREACHABLE, _N),
    ("DOES_NOT_EXIST_ANYWHERE", 1, 604, State.UNREACHABLE, _N),
    ("NUMBER_CHANGED", 22, 410, State.UNREACHABLE, _N),
    ("REDIRECTION_TO_NEW_DESTINATION", 23, 410, State.UNREACHABLE, _N),
    ("INVALID_NUMBER_FORMAT", 28, 484, State.UNREACHABLE, _N),
    ("NO_ROUTE_TRANSIT_NET", 2, 503, State.FAILED, _A, "NORMAL_TEMPORARY_FAILURE"),
    ("NO_ROUTE_DESTINATION", 3, 404, State.UNREACHABLE, _A),
    ("EXCHANGE_ROUTING_ERROR", 25, 483, State.FAILED, _A),
    ("DESTINATION_OUT_OF_ORDER", 27, 502, State.FAILED, _A),
    ("FACILITY_REJECTED", 29, 501, State.FAILED, _N),
    ("NORMAL_UNSPECIFIED", 31, 480, State.FAILED, _N),
    ("NORMAL_CIRCUIT_CONGESTION", 34, 503, State.FAILED, _A),
    ("NETWORK_OUT_OF_ORDER", 38, 503, State.FAILED, _A),
    ("NORMAL_TEMPORARY_FAILURE", 41, 503, State.FAILED, _A),
    ("SWITCH_CONGESTION", 42, 503, State.FAILED, _A),
    ("REQUESTED_CHAN_UNAVAIL", 44, 503, State.FAILED, _A),
    ("OUTGOING_CALL_BARRED", 52, 403, State.REJECTED, _N),
    ("INCOMING_CALL_BARRED", 54, 403, State.REJECTED, _N),
    ("BEARERCAPABILITY_NOTAVAIL", 58, 503, State.FAILED, _A),
    ("SERVICE_UNAVAILABLE", 63, 503, State.FAILED, _A, "NORMAL_TEMPORARY_FAILURE"),
    ("SERVICE_NOT_IMPLEMENTED", 79, 501, State.FAILED, _A),
    ("INCOMPATIBLE_DESTINATION", 88, 488, State.FAILED, _N),
    ("RECOVERY_ON_TIMER_EXPIRE", 102, 504, State.NO_ANSWER, _U),
    ("PROGRESS_TIMEOUT", 102, 503, State.FAILED, _U, "NORMAL_TEMPORARY_FAILURE"),
    ("MEDIA_TIMEOUT", 41, 503, State.FAILED, _N, "NORMAL_TEMPORARY_FAILURE"),
    ("INTERWORKING", 127, 503, State.FAILED, _A, "NORMAL_TEMPORARY_FAILURE"),
    ("INVALID_GATEWAY", 3, 503, State.FAILED, _A, "NORMAL_TEMPORARY_FAILURE"),
    ("GATEWAY_DOWN", 27, 503, State.FAILED, _A),
    ("INVALID_PROFILE", 3, 503, State.FAILED, _A, "NORMAL_TEMPORARY_FAILURE"),
    ("INVALID_URL", 3, 503, State.FAILED, _A, "NORMAL_TEMPORARY_FAILURE"),
    ("SYSTEM_SHUTDOWN", 41, 503, State.FAILED, _N, "NORMAL_TEMPORARY_FAILURE"),
    ("MANAGER_REQUEST", 16, 480, State.FAILED, _N),
    (RESOLVER_AWAY, 41, 503, State.FAILED, _N, "NORMAL_TEMPORARY_FAILURE"),
    (DESTINATION_REFUSED, 52, 403, State.REFUSED, _N, "OUTGOING_CALL_BARRED"),
    (PERMIT_REFUSED, 41, 503, State.FAILED, _N, "NORMAL_TEMPORARY_FAILURE"),
)

CAUSES: dict[str, Cause] = {row[0]: Cause(*row[:5], row[5] if len(row) > 5 else row[0]) for row in _ROWS}  # noqa: PLR2004

# Any other cause FreeSWITCH may name: a failure that costs no second attempt.
_OTHER = Cause("NORMAL_UNSPECIFIED", 31, 480, State.FAILED, Elsewhere.NEVER, "NORMAL_UNSPECIFIED")


def cause_of(name: str) -> Cause:
    """Return the row for a FreeSWITCH cause name; an unlisted one keeps its name and counts as a plain failure."""
    return CAUSES.get(name) or _OTHER._replace(name=name or _OTHER.name)


_ENDINGS = frozenset(set(State) - _OPEN)

TRANSITIONS: dict[State, frozenset[State]] = {
    State.PARKED: frozenset({State.BRIDGING, State.REFUSED, State.FAILED, State.CANCELLED}),
    State.BRIDGING: frozenset({State.BRIDGING, State.RINGING, State.ANSWERED}) | (_ENDINGS - {State.COMPLETED}),
    State.RINGING: frozenset({State.BRIDGING, State.RINGING, State.ANSWERED}) | (_ENDINGS - {State.COMPLETED}),
    State.ANSWERED: frozenset({State.ANSWERED, State.COMPLETED, State.LOST}),
    **{state: frozenset() for state in _ENDINGS},
}


def advance(current: State, following: State) -> State:
    """Return ``following`` if the table allows it from ``current``; raises IllegalTransition."""
    if following not in TRANSITIONS[current]:
        raise IllegalTransition(current=current, following=following)
    return following


def ending(current: State, cause: Cause) -> State:
    """Return the terminal state a call in ``current`` ends in when ``cause`` ends it."""
    return State.COMPLETED if current is State.ANSWERED else cause.state
