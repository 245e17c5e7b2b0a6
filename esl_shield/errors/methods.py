"""Errors of token prefixes and of the methods that decrypt their tokens."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, InputRejected, NegativeAnswer, ShieldError


class PrefixRejected(InputRejected):
    """A token prefix cannot be added with these values."""

    error_id = "prefix.rejected"
    sentence = "The token prefix was not added: {problem}."


class PrefixTaken(InputRejected):
    """A token prefix is in use, or was."""

    error_id = "prefix.taken"
    sentence = "The token prefix {prefix} was not added to tenant {tenant}: {clash}; see esl-shield tenant prefix list."


class PrefixUnknown(NegativeAnswer):
    """The tenant has no such prefix, or none of that method."""

    error_id = "prefix.unknown"
    sentence = "Tenant {tenant} has no token prefix {prefix}{kind}; see esl-shield tenant prefix list."


class PermissionsNotRequired(InputRejected):
    """Tokens without a row need dial permissions, and the tenant does not require any."""

    error_id = "prefix.needs_permissions"
    sentence = (
        "The token prefix was not added: every guess at a token of method {method} may reach somebody, so tenant "
        "{tenant} must require dial permissions first."
    )


class MethodRefused(ShieldError):
    """A token stands for nobody who may be called; ``reason`` is one of a fixed few."""

    error_id = "method.refused"
    sentence = "Method {method} refused a token: {reason}."

    def __init__(self, *, method: str, reason: str) -> None:
        super().__init__(method=method, reason=reason)
        self.reason = reason


class MethodAway(DependencyAway):
    """What a method needs did not answer as it must; ``reason`` is one of a fixed few. No other method is tried."""

    error_id = "method.away"
    sentence = "Method {method} could not decrypt a token: {reason}; no other method was tried."

    def __init__(self, *, method: str, reason: str) -> None:
        super().__init__(method=method, reason=reason)
        self.reason = reason
