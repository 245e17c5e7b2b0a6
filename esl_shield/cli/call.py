"""``esl-shield call``: call records (CDRs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import times, views
from esl_shield.cli.careful import CarefulGroup, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_rows

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = (
    "id", "tenant", "direction", "did", "agent", "token", "alias", "state", "hangup_cause", "sip_code", "attempts",
    "gateway", "delivery", "dialled_class", "dialled_length", "channel", "started_at", "ringing_at", "answered_at",
    "ended_at", "talk_s", "login",
)  # fmt: skip
TABLE_COLUMNS = (
    "started_at", "id", "direction", "agent", "token", "alias", "state", "hangup_cause", "sip_code", "gateway",
    "talk_s",
)  # fmt: skip
STATES = (
    "AUTHORIZED", "ANSWERED", "REFUSED", "COMPLETED", "BUSY", "NO_ANSWER", "CANCELLED", "REJECTED", "UNREACHABLE",
    "FAILED", "LOST",
)  # fmt: skip


@click.group(cls=CarefulGroup)
def call() -> None:
    """List call records."""


@call.command("list")
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--agent", metavar="A", help="Only this agent's calls.")
@click.option("--token", callback=read_token, metavar="TOKEN", help="Only calls to this token.")
@click.option("--alias", metavar="A", help="Only calls to the token with this alias.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only calls in this state.")
@click.option("--since", metavar="TIME", help="Only calls from this moment on: ISO 8601, or 30m, 12h, 7d, 2w ago.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many, the latest.")
@format_option
@pass_config
def list_(
    config: Config, *, tenant: str, agent: str | None, token: str | None, alias: str | None, state: str | None,
    since: str | None, limit: int, format_: Format,
) -> None:  # fmt: skip
    """List a tenant's calls, the latest last: tokens, aliases, agents, times, causes; no numbers are kept.

    `audit tail --call ID` shows what happened to one of them.
    """
    refuse_numbers(config, tenant, token=token, alias=alias)
    where = {
        "tenant = %s": tenant,
        "agent = %s": agent,
        "token = %s": token,
        "alias = %s": alias,
        "state = %s": state,
        "started_at >= %s": times.since("--since", since) if since else None,
    }
    rows = views.read(config.database, "calls", COLUMNS, where=where, order="started_at DESC, id DESC", limit=limit)
    print_rows(reversed(rows), COLUMNS if format_ == "json" else TABLE_COLUMNS, format_)
