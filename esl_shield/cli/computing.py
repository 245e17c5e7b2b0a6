"""``esl-shield token compute``: tokens of an ff1 prefix from numbers, without storing either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from esl_shield.cli.careful import CarefulCommand, hide_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.files import open_source
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.progress import Bar
from esl_shield.vault.batches import survey
from esl_shield.vault.computing import compute_csv, open_computer
from esl_shield.vault.csvfile import rejected_path

if TYPE_CHECKING:
    from esl_shield.config import Config

FINDING = 1


@click.command(cls=CarefulCommand)
@click.argument("file", metavar="FILE.csv")
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--prefix", required=True, metavar="P", help="A prefix of the tenant's with method ff1.")
@click.option(
    "--output", required=True, metavar="OUT.csv", type=click.Path(path_type=Path), help="Where alias and token go."
)
@click.option("--label", "labels", multiple=True, metavar="NAME", help="Copy this column too; may be repeated.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
@pass_config
def compute(
    config: Config, *, file: str, tenant: str, prefix: str, output: Path, labels: tuple[str, ...], quiet: bool
) -> int:
    r"""Compute the ff1 token of every number in FILE.csv (- for standard input); nothing is stored.

    The file is one `token import` takes, and so is what comes out: alias, token and labels in the file's order, refused
    rows in OUT.rejected.csv. The alias is copied: only the CRM knows it. Takes a seeder's login and the KEK.

    \b
      alias,number
      C-1042,13800138042
      esl-shield token compute customers.csv --tenant bank --prefix 71 --output tokens.csv
    """
    with open_source(file) as source:
        survey(source, labels)
        computer = open_computer(config.database, configured_kek(config), tenant, prefix)
        with Bar(source.size, quiet=quiet) as bar:
            tally = compute_csv(computer, source, output, labels, progress=bar.show)
    if not quiet:
        click.echo(f"{tally.rows} rows: {tally.rejected} rejected", err=True)
        if tally.rejected:
            click.echo(f"rejected rows: {hide_numbers(str(rejected_path(output)))}", err=True)
    return FINDING if tally.rejected else 0
