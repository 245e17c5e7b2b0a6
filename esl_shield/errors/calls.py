"""Errors of one shielded call."""

from __future__ import annotations

from esl_shield.errors import NegativeAnswer, ShieldError


class CallError(ShieldError):
    """A call cannot be taken as it was handed over; that call is refused, the process lives."""


class HandoffRejected(CallError):
    """The parked channel's data does not describe a call."""

    error_id = "call.bad_handoff"
    sentence = "FreeSWITCH handed over a channel we cannot use: {what}; check the dialplan's socket action."


class IllegalTransition(CallError):
    """A call was moved to a state the table does not allow: a defect in this package."""

    error_id = "call.illegal_transition"
    sentence = "A call cannot go from {current} to {following}; please report this."


class CallUnknown(NegativeAnswer):
    """The tenant has no call of that id, or the login does not see it."""

    error_id = "call.unknown"
    sentence = "The tenant has no call {call}; `call list` shows the ids."
