"""What an administrator does with webhooks; events' kinds.

Invariants: an address is https, or http on this machine; it holds no user name, no password and no fragment.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.webhooks import WebhookEventUnknown, WebhookRejected, WebhookUnknown
from esl_shield.vault.provisioning import administering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.config.database import DatabaseConfig

KINDS = {
    "call.started": "a call was authorised, or a customer's call was taken",
    "call.refused": "a call was refused; why stands in the audit trail alone",
    "call.answered": "the other side answered",
    "call.ended": "the call is over: its record. If more becomes known later it comes again; the last one stands",
    "agent.locked": "an agent dialled so many wrong tokens that every call of theirs is refused from now on",
    "agent.unlocked": "a steward let a locked agent call again",
}
MOST_URL = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def set_webhook(database: DatabaseConfig, tenant: str, name: str, url: str, kinds: Sequence[str]) -> str:
    """Add or change a webhook; returns created, changed or unchanged.

    Raises WebhookRejected, TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    if not _NAME.fullmatch(name):
        raise WebhookRejected(problem="a name is 1 to 32 of small letters, digits, dash, underscore")
    check_url(url)
    if not kinds or set(kinds) - KINDS.keys():
        raise WebhookRejected(problem=f"events are {', '.join(KINDS)}")
    with administering(database, tenant) as connection:
        statement = "SELECT shield_api.set_webhook(%s, %s, %s, %s)"
        outcome = str(connection.exec_driver_sql(statement, (tenant, name, url, list(kinds))).scalar())
    if outcome == "UNKNOWN":
        raise TenantUnknown(tenant=tenant)
    return outcome.lower()


def change_webhook(database: DatabaseConfig, tenant: str, name: str, what: str) -> str:
    """Enable, disable, rotate, remove or test a webhook; returns done or unchanged.

    Raises WebhookUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant) as connection:
        statement = "SELECT shield_api.change_webhook(%s, %s, %s)"
        outcome = str(connection.exec_driver_sql(statement, (tenant, name, what)).scalar())
    if outcome == "UNKNOWN":
        raise WebhookUnknown(tenant=tenant)
    return outcome.lower()


def replay(database: DatabaseConfig, tenant: str, name: str, event: int | None) -> int:
    """Have given-up events posted again, one or (None) all; returns how many.

    Raises WebhookUnknown, WebhookEventUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant) as connection:
        statement = "SELECT shield_api.replay_webhook(%s, %s, %s)"
        count = connection.exec_driver_sql(statement, (tenant, name, event)).scalar()
    if count is None:
        raise WebhookUnknown(tenant=tenant)
    if event is not None and count == 0:
        raise WebhookEventUnknown
    return int(count)


def secret_version(database: DatabaseConfig, tenant: str, name: str) -> int:
    """Return which version of a webhook's secret signs; raises WebhookUnknown, DatabaseAway, DatabaseRefused."""
    with administering(database, tenant) as connection:
        statement = "SELECT secret_version FROM dba.webhooks WHERE tenant = %s AND name = %s"
        version = connection.exec_driver_sql(statement, (tenant, name)).scalar()
    if version is None:
        raise WebhookUnknown(tenant=tenant)
    return int(version)


def check_url(url: str) -> None:
    """Raise WebhookRejected unless events may be posted there."""
    problem = ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise WebhookRejected(problem="its address is no URL") from None
    if len(url) > MOST_URL or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url) or not host:
        problem = f"its address is a URL of up to {MOST_URL} visible ASCII characters"
    elif parts.username is not None or parts.password is not None or parts.fragment:
        problem = "its address holds no user name, password or fragment; requests are signed"
    elif parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        problem = "its address begins with https://, or with http:// and is a loopback address"
    if problem:
        raise WebhookRejected(problem=problem)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
