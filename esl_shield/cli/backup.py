"""``esl-shield backup``: whether the backups are there, and whether a restore gives back a vault."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esl_shield.cli import times
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.doctor import COLUMNS, print_findings
from esl_shield.cli.output import Format, format_option, moment, plain, print_json, print_record, print_rows
from esl_shield.errors.config import ConfigError
from esl_shield.service.backup import checks, facts
from esl_shield.service.backup.drill import Drill, Order
from esl_shield.service.doctor.examine import exit_code
from esl_shield.service.doctor.finding import Severity

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.backup import BackupConfig


@click.group(cls=CarefulGroup)
def backup() -> None:
    """Check the backups pgBackRest makes, and drill a restore.

    docs/backup.md says how three repositories are set up.
    """


@backup.command()
@click.option("--all", "every", is_flag=True, help="Print what is well, too.")
@format_option
@pass_config
def check(config: Config, *, every: bool, format_: Format) -> int:
    """Say whether every repository could give the vault back, and what to change. Nothing is changed.

    Asks pgBackRest and PostgreSQL, as root or as the server's Unix user:

    \b
      esl-shield --config admin.toml backup check

    Exit code: 1 with a finding; 3 when nothing is wrong but somebody could not be asked; else 0.
    """  # noqa: D301 - click's \b
    section = _section(config)
    gathered = facts.gather(config, section)
    found = list(checks.AREA.run(lambda: gathered, required=True))
    shown = found if every or format_ == "json" else [f for f in found if f.severity is not Severity.OK]
    if format_ == "json":
        print_rows([{name: str(getattr(f, name)) for name in COLUMNS} for f in shown], COLUMNS, format_)
    else:
        print_findings(shown)
    return exit_code(found)


@backup.command()
@click.option("--repo", "repository", type=click.IntRange(1, 4), required=True, help="The repository to restore from.")
@click.option(
    "--into", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="An empty folder, or a new one."
)
@click.option(
    "--time", "at", metavar="TIME", help="Restore this moment: ISO 8601, or 12h, 7d ago. Default: the newest."
)
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="The report; default FOLDER.json.")
@click.option(
    "--samples", type=click.IntRange(1, 1_000_000), default=100, show_default=True,
    help="How many tokens to decrypt for each version of each tenant's key.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the restored files; the server is stopped all the same.")
@click.option("--quiet", is_flag=True, help="Do not say what it is at.")
@format_option
@pass_config
def drill(
    config: Config, *, repository: int, into: Path, at: str | None, report: Path | None, samples: int, keep: bool,
    quiet: bool, format_: Format,
) -> int:  # fmt: skip
    """Restore a backup beside the live database, verify that it is a vault, and remove it again.

    A server of its own on a private socket replays the WAL. Then schema and functions, rows, sample decrypts and the
    audit trail are verified; the report says the minutes taken and the data lost. Run it as root or as the server's
    Unix user, with the administrator's configuration:

    \b
      esl-shield --config admin.toml backup drill --repo 2 --into /srv/drill
      esl-shield --config admin.toml backup drill --repo 3 --into /srv/drill --time 2030-01-31T18:00:00Z

    Exit code: 0 when all was verified; 1 when anything was not.
    """  # noqa: D301 - click's \b
    order = Order(repository, into.absolute(), times.since("--time", at) if at else None, samples, keep)
    path = report or order.into.with_name(f"{order.into.name}.json")
    if path.exists():
        message = f"{path} is there already; name another --report"
        raise click.UsageError(message)
    done = Drill(config, _section(config), order, _Steps(quiet=quiet).show).run()
    if format_ == "json":
        print_json(done.fields())
    else:
        print_findings(done.verified.findings)
        print_record({name: value for name, value in done.fields().items() if name != "findings"}, format_)
    with path.open("x", encoding="utf-8") as file:
        json.dump(done.fields(), file, indent=2, default=plain)
        file.write("\n")
    click.echo(f"{'verified' if done.well else 'NOT verified'}; the report is {path}", err=True)
    return 0 if done.well else 1


class _Steps:
    """Says on stderr what a drill is at, each step once."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last = ""

    def show(self, step: str) -> None:
        """Say it, unless it was said."""
        if step != self._last and not self._quiet:
            click.echo(f"{moment(dt.datetime.now(dt.UTC))} {step}", err=True)
        self._last = step


def _section(config: Config) -> BackupConfig:
    if config.backup is None:
        raise ConfigError(source="file", problem="it has no [backup], which says where pgBackRest is set up")
    return config.backup
