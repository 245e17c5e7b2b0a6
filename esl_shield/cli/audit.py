"""``esl-shield audit``: who did what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, cell, format_option, print_json, print_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config, DatabaseConfig

COLUMNS = ("id", "at", "tenant", "kind", "login", "agent", "token", "call", "detail")
POLL_S = 1.0
# Transactions commit out of the order of their ids: each look goes back this far and leaves out what was shown.
OVERLAP = 1000


@click.group(cls=CarefulGroup)
def audit() -> None:
    """Read the audit trail."""


@audit.command()
@click.option(
    "-n", "count", type=click.IntRange(0), default=20, show_default=True, help="How many of the latest events."
)
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@click.option("--follow", is_flag=True, help="Go on with new events as they come, until interrupted.")
@format_option
@pass_config
def tail(config: Config, count: int, tenant: str | None, follow: bool, format_: Format) -> None:
    """Print the latest audit events, the latest last."""
    for event in _events(config.database, count, tenant, follow=follow):
        if format_ == "json":
            print_json(event)
        else:
            print_line("  ".join(cell(event[column]) for column in COLUMNS))


def _events(database: DatabaseConfig, count: int, tenant: str | None, *, follow: bool) -> Iterator[dict[str, Any]]:
    known = _read(database, max(count, OVERLAP) if follow else count, tenant=tenant)
    yield from known[len(known) - min(count, len(known)) :]
    seen = {event["id"] for event in known}
    newest = max(seen, default=0)
    while follow:
        time.sleep(POLL_S)
        fresh = [e for e in _read(database, None, tenant=tenant, after=newest - OVERLAP) if e["id"] not in seen]
        yield from fresh
        seen.update(event["id"] for event in fresh)
        newest = max(seen, default=0)
        seen = {number for number in seen if number > newest - OVERLAP}


def _read(
    database: DatabaseConfig, limit: int | None, *, tenant: str | None, after: int | None = None
) -> list[dict[str, Any]]:
    where = {"tenant = %s": tenant, "id > %s": after}
    rows = views.read(database, "audit_events", COLUMNS, where=where, order="id DESC", limit=limit)
    return rows[::-1]
