"""``esl-shield audit``: who did what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from esl_shield.cli import evidence, times, views
from esl_shield.cli.careful import CarefulGroup, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_rows, print_stream

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping

    from esl_shield.config import Config
    from esl_shield.config.database import DatabaseConfig

# What is followed comes one by one, so its columns have these widths from the start.
WIDTHS = {
    "id": 10, "at": 20, "tenant": 12, "kind": 22, "login": 16, "agent": 12, "token": 14, "call": 36, "detail": 0,
}  # fmt: skip
COLUMNS = tuple(WIDTHS)
POLL_S = 1.0
# Transactions commit out of the order of their ids: each look goes back this far and leaves out what was shown.
OVERLAP = 1000


@click.group(cls=CarefulGroup)
def audit() -> None:
    """Read the audit trail, and prove that it is as it was written."""


audit.add_command(evidence.verify)
audit.add_command(evidence.export)
audit.add_command(evidence.init_key)


@audit.command()
@click.option(
    "-n", "count", type=click.IntRange(0), default=20, show_default=True, help="How many of the latest events."
)
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@click.option("--since", metavar="TIME", help="Only events from this moment on: ISO 8601, or 30m, 12h, 7d, 2w ago.")
@click.option("--kind", metavar="KIND", help="Only events of this kind, such as call.refused.")
@click.option("--call", type=click.UUID, metavar="ID", help="Only events of this call, by its id in `call list`.")
@click.option("--token", callback=read_token, metavar="TOKEN", help="Only events of this token; needs --tenant.")
@click.option("--follow", is_flag=True, help="Go on with new events as they come, until interrupted.")
@format_option
@pass_config
def tail(
    config: Config, *, count: int, tenant: str | None, since: str | None, kind: str | None, call: uuid.UUID | None,
    token: str | None, follow: bool, format_: Format,
) -> None:  # fmt: skip
    """Print the latest audit events, the latest last."""
    where = {
        "tenant = %s": tenant,
        "at >= %s": times.since("--since", since) if since else None,
        "kind = %s": kind,
        "call = %s::uuid": str(call) if call else None,
        "token = %s": token,
    }
    if tenant is not None:
        refuse_numbers(config, tenant, token=token)
    elif token is not None:
        message = "--token needs --tenant"
        raise click.UsageError(message)
    if follow:
        print_stream(_follow(config.database, count, where), WIDTHS, format_)
    else:
        print_rows(_read(config.database, count, where), COLUMNS, format_)


def _follow(database: DatabaseConfig, count: int, where: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    known = _read(database, max(count, OVERLAP), where)
    yield from known[len(known) - min(count, len(known)) :]
    seen = {event["id"] for event in known}
    newest = max(seen, default=0)
    while True:
        time.sleep(POLL_S)
        recent = _read(database, None, {**where, "id > %s": newest - OVERLAP})
        fresh = [event for event in recent if event["id"] not in seen]
        yield from fresh
        seen.update(event["id"] for event in fresh)
        newest = max(seen, default=0)
        seen = {number for number in seen if number > newest - OVERLAP}


def _read(database: DatabaseConfig, limit: int | None, where: Mapping[str, object]) -> list[dict[str, Any]]:
    rows = views.read(database, "audit_events", COLUMNS, where=where, order="id DESC", limit=limit)
    return rows[::-1]
