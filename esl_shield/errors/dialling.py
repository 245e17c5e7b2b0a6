"""Errors of dial permissions and of calls by click."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer


class PermissionRejected(InputRejected):
    """A dial permission cannot be granted with these values; nothing was granted."""

    error_id = "permission.rejected"
    sentence = "The permission was not granted: {problem}."


class PermissionUnknown(NegativeAnswer):
    """The tenant has no dial permission of that id."""

    error_id = "permission.unknown"
    sentence = "The tenant has no permission {permission}; see esl-shield permission list."


class BusinessIdRejected(InputRejected):
    """A business ID or campaign is not fit to travel with a call."""

    error_id = "ref.rejected"
    sentence = (
        "What was given as {option} was not taken: it is 1 to 64 of letters, digits, dot, dash and underscore, begins "
        "with a letter or digit, and is no telephone number."
    )


class ShownRejected(InputRejected):
    """What a tenant wants shown of its calls could be taken for a telephone number, or is no such word."""

    error_id = "tenant.bad_shows"
    sentence = (
        "What was given as --shows was not taken: it is token, alias, ref, or 2 to 6 digits that are neither a "
        "telephone number of the tenant's country nor an emergency number."
    )


class ClickRejected(InputRejected):
    """A call by click cannot be made with these values; no phone rings."""

    error_id = "click.rejected"
    sentence = "The call was not made: {problem}."


class ClickConflict(InputRejected):
    """An idempotency key stands for another click; no phone rings."""

    error_id = "click.key_taken"
    sentence = "The call was not made: its key was used for another agent, token or ref; draw a new key for a new call."


class ClickTooMany(NegativeAnswer):
    """An agent's clicks of the last minute are as many as the tenant allows."""

    error_id = "click.too_many"
    sentence = (
        "The call was not made: agent {agent} has had as many calls by click in the last minute as the tenant allows; "
        "see esl-shield tenant dialling --clicks-per-minute."
    )


class ClickUnknown(NegativeAnswer):
    """There is no such token, or nobody permitted this agent to dial it."""

    error_id = "click.not_found"
    sentence = "The call was not made: tenant {tenant} has no such token that this agent may dial."


class ClickBlocked(NegativeAnswer):
    """The token is on the tenant's blocklist."""

    error_id = "click.blocked"
    sentence = "The call was not made: the token is on the blocklist, so nobody may call it."


class AgentUnreachable(NegativeAnswer):
    """The agent's own phone was not answered; the customer was not called."""

    error_id = "click.agent_unreachable"
    sentence = "Agent {agent} did not take the call ({cause}); the customer was not called."
