"""Errors of FreeSWITCH's event socket."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, ShieldError, UsageError


class FreeSwitchRefused(UsageError):
    """FreeSWITCH's event socket did not let us in."""

    error_id = "esl.login_refused"
    sentence = "FreeSWITCH's event socket at {address} did not let us in: {why}; check [freeswitch]."


class FreeSwitchAway(DependencyAway):
    """FreeSWITCH's event socket refused the connection, dropped it or did not answer in time."""

    error_id = "esl.away"
    sentence = (
        "FreeSWITCH's event socket at {address} did not answer: {problem}; check [freeswitch] address and that it runs."
    )


class EslError(ShieldError):
    """The conversation with FreeSWITCH cannot go on; this call's session ends, the process lives."""


class SessionGone(EslError):
    """FreeSWITCH ended the socket, or it was closed; no further command reaches the call."""

    error_id = "esl.gone"
    sentence = "The event socket of this call is gone: {reason}."


class FrameRejected(EslError):
    """FreeSWITCH's side sent what is not the event socket's grammar, or more than the limits allow."""

    error_id = "esl.bad_frame"
    sentence = "The event socket sent a frame that cannot be taken: {reason}."


class CommandRefused(EslError):
    """FreeSWITCH answered a command with -ERR."""

    error_id = "esl.command_refused"
    sentence = "FreeSWITCH refused the command {command}."


class SoundMissing(EslError):
    """FreeSWITCH has no file that every customer must hear first; the call was not made."""

    error_id = "esl.sound_missing"
    sentence = "FreeSWITCH has no file {path}, which [policy] customer_notice names; put it there."


class EslTimeout(EslError):
    """FreeSWITCH did not answer in time."""

    error_id = "esl.timeout"
    sentence = "FreeSWITCH did not answer within {timeout_s} s while we waited for {awaited}."


class UnsafeMethod(EslError):
    """An inherited method of the event socket library that cannot be used safely."""

    error_id = "esl.unsafe_method"
    sentence = "The method {method} is not available on this session; use {instead}."


class UnsafeArgument(EslError):
    """A value that could change the meaning of a command was about to be sent to FreeSWITCH."""

    error_id = "esl.unsafe_argument"
    sentence = "The {what} holds control characters or is too long for FreeSWITCH; nothing was sent."
