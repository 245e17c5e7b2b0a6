"""Errors of the resolver and its callers; to a caller the answer is always the same, the reason is counted."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, ShieldError


class CallerError(ShieldError):
    """A request to the resolver is refused before the database is asked; ``reason`` is one of a fixed few."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class RequestRejected(CallerError):
    """The request is not one the resolver takes."""

    error_id = "resolver.bad_request"
    sentence = "A request to the resolver was refused: {reason}."


class CallerRejected(CallerError):
    """The caller did not prove who it is."""

    error_id = "resolver.bad_caller"
    sentence = "A caller of the resolver did not prove who it is: {reason}."


class ResolverAway(DependencyAway):
    """The resolver refused the connection, did not answer in time or said that it cannot work now."""

    error_id = "resolver.away"
    sentence = "The resolver at {address} did not answer: {problem}; check [reveals] resolver and that it is well."
