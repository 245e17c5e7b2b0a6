"""``esl-shield demo``: the whole shield on this machine, without FreeSWITCH."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click


@click.command()
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Write into this empty folder and keep it."
)
def demo(keep: Path | None) -> int:
    """Shield 200 calls on this machine and search for leaks.

    Starts a private PostgreSQL, a worker and a resolver with separate logins, imports invented customers, has agents
    call them through a stand-in for FreeSWITCH and shows, side by side, what the agent dialled, what FreeSWITCH was
    told, what the carrier's wire got and what the CDR keeps. Then it searches everything written for the numbers.
    Nothing is left running and, without --keep, nothing is left behind. Exit code 1 if anything was found.
    """
    from esl_shield.tryout.demo import run  # noqa: PLC0415 - keeps gevent out of other commands

    def say(line: str) -> None:
        click.echo(line)

    if keep:
        _require_empty(keep)
        outcome = run(keep, say)
    else:
        with tempfile.TemporaryDirectory(prefix="esl-shield-demo-") as folder:
            outcome = run(Path(folder), say)
    for finding in outcome.findings:
        click.echo(finding, err=True)
    click.echo(
        f"demo: {outcome.calls} calls, {outcome.bridged} bridged, {outcome.refused} refused, {outcome.leaks} leaks"
    )
    return 1 if outcome.findings else 0


def _require_empty(folder: Path) -> None:
    """Make the folder if there is none; raises BadParameter, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        message = f"{folder} is not empty; name a new folder or an empty one."
        raise click.BadParameter(message, param_hint="'--keep'")
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"{folder} cannot be written."
        raise click.BadParameter(message, param_hint="'--keep'")
