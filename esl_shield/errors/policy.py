"""Errors of calling policy, locked agents and do-not-call lists."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer


class RuleRejected(InputRejected):
    """A rule of a policy is not of its form; nothing was changed."""

    error_id = "policy.bad_rule"
    sentence = "What was given as {option} was not taken: it is {forms}; nothing was changed."


class AgentNotLocked(NegativeAnswer):
    """No such agent is locked."""

    error_id = "agent.not_locked"
    sentence = "Agent {agent} of {tenant} is not locked; see esl-shield agent list."


class NotListed(NegativeAnswer):
    """The number is not on the list."""

    error_id = "dnc.not_listed"
    sentence = "The number is not on the do-not-call list of {tenant}; nothing was changed."
