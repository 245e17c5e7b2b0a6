"""Errors of webhooks."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer


class WebhookRejected(InputRejected):
    """What was given for a webhook cannot be taken."""

    error_id = "webhook.rejected"
    sentence = "The webhook was not taken: {problem}."


class WebhookUnknown(NegativeAnswer):
    """A tenant has no webhook of this name."""

    error_id = "webhook.unknown"
    sentence = "Tenant {tenant} has no webhook of this name; see esl-shield webhook list."


class WebhookEventUnknown(NegativeAnswer):
    """No event of this id was given up."""

    error_id = "webhook.event_unknown"
    sentence = "No event of this id was given up for the webhook; see esl-shield webhook events --dead."
