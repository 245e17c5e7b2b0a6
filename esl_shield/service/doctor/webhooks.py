"""Area ``webhooks``: the addresses events are posted to, and whether they are taken; an auditor's login sees them.

Invariants: an address may hold a secret in its path or query, so a finding names the webhook, never its address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.failures import connection_failed
from esl_shield.errors.webhooks import WebhookRejected
from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, Severity
from esl_shield.service.webhooks.admin import check_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config

LATE_S = 900.0
_SEEING = ("auditor", "admin")
_STATEMENT = """
SELECT w.tenant, w.name, w.url, w.enabled, coalesce(extract(epoch FROM clock_timestamp() - w.oldest_at), 0)::float,
    w.dead, coalesce(w.last_problem, 'none') FROM dba.webhooks w ORDER BY w.tenant, w.name
"""


@dataclass(frozen=True)
class Webhook:
    """One webhook as dba.webhooks shows it; ``oldest_s`` is the age of the oldest event that waits, 0 for none."""

    tenant: str
    name: str
    url: str
    enabled: bool
    oldest_s: float
    dead: int
    last_problem: str

    @property
    def place(self) -> str:
        """What it is called in a finding."""
        return f"webhook {self.name} of {self.tenant}"


def ask_webhooks(config: Config, role: str) -> tuple[Webhook, ...]:
    """Read the webhooks; raises NotApplicableError, DatabaseAway, DatabaseRefused, ConfigError."""
    if role not in _SEEING:
        message = "this takes an auditor's or the administrator's configuration"
        raise NotApplicableError(message)
    try:
        with sqlalchemy_engine(config.database).connect() as connection:
            return tuple(Webhook(*row) for row in connection.exec_driver_sql(_STATEMENT))
    except DBAPIError as error:
        failure = connection_failed(error.orig or error)
    raise failure


def _addresses(webhooks: tuple[Webhook, ...]) -> Iterator[str]:
    for webhook in webhooks:
        try:
            check_url(webhook.url)
        except WebhookRejected as error:
            yield f"{webhook.place}: {error.fields['problem']}"


def _taken(webhooks: tuple[Webhook, ...]) -> Iterator[str]:
    for webhook in webhooks:
        if webhook.enabled and webhook.oldest_s > LATE_S:
            waited = f"an event has waited for {webhook.oldest_s:.0f} s"
            yield f"{webhook.place}: {waited} (last problem: {webhook.last_problem})"
        if webhook.dead:
            yield f"{webhook.place}: {webhook.dead} events were given up"


AREA = Area[tuple[Webhook, ...]](
    "webhooks",
    "`dba.webhooks`, with an auditor's or the administrator's login",
    (
        Check("webhooks.addresses", Severity.WARNING, "Events go out over https, or stay on the dispatcher's machine",
              "Somebody on the way would read who calls whom; the commands take no such address, the table does.",
              "Give it an https address with `esl-shield webhook add`.", _addresses),
        Check("webhooks.taken", Severity.WARNING, "Events are taken, and none were given up",
              "The CRM does not know of these calls.",
              "See EslShieldWebhooksBehind in docs/operations.md; `esl-shield webhook replay` posts again.", _taken),
    ),
)  # fmt: skip
