"""``esl-shield db maintain``: months made ahead, old ones detached; once, or for as long as it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result

if TYPE_CHECKING:
    from esl_shield.config import Config

# Making a month with rows that strayed into the default partition takes longer than a call may wait.
PATIENCE_S = 60.0
LEAST_S = 60


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@click.option(
    "--every",
    "every_s",
    type=click.IntRange(min=LEAST_S),
    metavar="SECONDS",
    help="Stay, and do it again about so often, until SIGTERM.",
)
@format_option
@pass_config
def maintain(config: Config, *, dry_run: bool, every_s: int | None, format_: Format) -> None:
    """Make the coming months of calls and audit events; detach those past [retention].

    Needs a housekeeper's login (`db login NAME --role housekeeper --all-tenants`). Run again it finds nothing to do. A
    detached month keeps its rows in the table detached_...; only `[retention] drop = true` drops them. What is busy is
    left for the next run. From cron or a timer, once a day, or as a service:

      esl-shield --config housekeeper.toml db maintain --every 3600
    """
    from esl_shield.db.engine import Database  # noqa: PLC0415 - `--help` needs no database
    from esl_shield.service import log  # noqa: PLC0415
    from esl_shield.service.housekeeping import NEEDS, Housekeeper  # noqa: PLC0415

    if dry_run and every_s:
        message = "give --dry-run or --every, not both"
        raise click.UsageError(message)
    patient = dataclasses.replace(config.database, pool_size=1, statement_timeout_s=PATIENCE_S)
    with contextlib.closing(Database(patient, application_name="esl-shield housekeeping", needs=NEEDS)) as database:
        housekeeper = Housekeeper(database, config.retention)
        if every_s:
            log.set_up("housekeeper")
            housekeeper.run_until(stopped(), every_s)
            return
        steps = housekeeper.run(dry_run=dry_run)
    would = "would be " if dry_run else ""
    lines = [f"{step.name}: {would}{step.step}" if step.step != "busy" else f"{step.name}: busy" for step in steps]
    fields = {"dry_run": dry_run, "steps": [dataclasses.asdict(step) for step in steps]}
    print_result(fields, lines or ["nothing to do"], format_)


def stopped() -> threading.Event:
    """Return what SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
