"""``esl-shield call``: call records (CDRs), and who talked in each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import times, views
from esl_shield.cli.careful import CarefulGroup, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_json, print_line, print_record, print_rows
from esl_shield.errors.calls import CallUnknown

if TYPE_CHECKING:
    import uuid

    from esl_shield.config import Config

COLUMNS = (
    "id", "tenant", "direction", "did", "agent", "token", "alias", "state", "hangup_cause", "sip_code", "attempts",
    "gateway", "delivery", "dialled_class", "dialled_length", "channel", "started_at", "ringing_at", "answered_at",
    "ended_at", "ended_before", "talk_s", "ended_by", "cdr", "login", "agents", "referred_by",
    "ref", "permission",
)  # fmt: skip
TABLE_COLUMNS = (
    "started_at", "id", "direction", "agent", "token", "alias", "state", "hangup_cause", "sip_code", "gateway",
    "talk_s", "ended_by", "ref",
)  # fmt: skip
TALK_COLUMNS = ("agent", "from_at", "until_at", "talk_s")
STATES = (
    "AUTHORIZED", "ANSWERED", "REFUSED", "COMPLETED", "BUSY", "NO_ANSWER", "CANCELLED", "REJECTED", "UNREACHABLE",
    "FAILED", "LOST",
)  # fmt: skip


@click.group(cls=CarefulGroup)
def call() -> None:
    """Read call records."""


@call.command("list")
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--agent", metavar="A", help="Only this agent's calls.")
@click.option("--token", callback=read_token, metavar="TOKEN", help="Only calls to this token.")
@click.option("--alias", metavar="A", help="Only calls to the token with this alias.")
@click.option("--ref", metavar="ID", help="Only calls that carry this business ID: task, order.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only calls in this state.")
@click.option("--since", metavar="TIME", help="Only calls from this moment on: ISO 8601, or 30m, 12h, 7d, 2w ago.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many, the latest.")
@format_option
@pass_config
def list_(
    config: Config, *, tenant: str, agent: str | None, token: str | None, alias: str | None, ref: str | None,
    state: str | None, since: str | None, limit: int, format_: Format,
) -> None:  # fmt: skip
    """List a tenant's calls, the latest last: tokens, aliases, agents, times, causes; no numbers are kept.

    `call show ID` tells who talked in one of them, `audit tail --call ID` what happened to it.
    """
    refuse_numbers(config, tenant, token=token, alias=alias)
    where = {
        "tenant = %s": tenant,
        "agent = %s": agent,
        "token = %s": token,
        "alias = %s": alias,
        "ref = %s": ref,
        "state = %s": state,
        "started_at >= %s": times.since("--since", since) if since else None,
    }
    rows = views.read(config.database, "calls", COLUMNS, where=where, order="started_at DESC, id DESC", limit=limit)
    print_rows(reversed(rows), COLUMNS if format_ == "json" else TABLE_COLUMNS, format_)


@call.command()
@click.argument("call_id", type=click.UUID, metavar="ID")
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@format_option
@pass_config
def show(config: Config, *, call_id: uuid.UUID, tenant: str, format_: Format) -> None:
    r"""Show one call and every agent who talked in it, from when until when.

    \b
    esl-shield call show 9af2c40b-e973-40b7-8553-88e62ae2f641 --tenant acme

    A call that was transferred ends with its customer. One between two customers lists no agent: `agent` is whose right
    it was, `referred_by` the call the first customer came from.
    """
    where: dict[str, object | None] = {"tenant = %s": tenant, "id = %s::uuid": str(call_id)}
    rows = views.read(config.database, "calls", COLUMNS, where=where, limit=1)
    if not rows:
        raise CallUnknown(call=call_id)
    talked = {"tenant = %s": tenant, "call = %s::uuid": str(call_id)}
    agents = views.read(config.database, "call_agents", TALK_COLUMNS, where=talked, order="position")
    if format_ == "json":
        print_json(rows[0] | {"agents": agents})
        return
    print_record({name: value for name, value in rows[0].items() if name != "agents"}, format_)
    print_line("")
    print_rows(agents, TALK_COLUMNS, format_)
