"""``esl-shield doctor``: whether the deployment is as it must be, and what to change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from esl_shield.cli.careful import CarefulCommand
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_line, print_rows
from esl_shield.service.doctor.examine import AREAS, ROLES, Examination, exit_code, guess_role
from esl_shield.service.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esl_shield.config import Config

COLUMNS = ("check", "severity", "sentence", "change")
_ORDER = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN, Severity.INFO, Severity.OK)


@click.command(cls=CarefulCommand)
@click.option(
    "--only",
    multiple=True,
    metavar="AREA",
    type=click.Choice(list(AREAS)),
    help=f"Only this area; may be repeated. Areas: {', '.join(AREAS)}.",
)
@click.option("--role", type=click.Choice(ROLES), help="Whose configuration this is; guessed from what is in it.")
@click.option("--test-call", is_flag=True, help="Place a call, as the agent in [canary], and look for its number.")
@click.option("--own-number", is_flag=True, help="With --test-call: call the number on standard input.")
@click.option("--all", "every", is_flag=True, help="Print what is well, too.")
@format_option
@pass_config
def doctor(
    config: Config, *, only: tuple[str, ...], role: str | None, test_call: bool, own_number: bool, every: bool,
    format_: Format,
) -> int:  # fmt: skip
    """Check this deployment and say what to change. Nothing is changed, and no call is placed without --test-call.

    Run it once for each role's configuration, as that role's Unix user: each sees what the others must not. The
    administrator's sees most of the database; FreeSWITCH is asked where [freeswitch] is configured.

    \b
      esl-shield --config worker.toml doctor
      esl-shield --config admin.toml doctor --role admin --only database --format json
      esl-shield --config canary.toml doctor --role scanner --only call --test-call

    Exit code: 1 with a warning or a critical finding; 3 when nothing is wrong but something could not be asked; else 0.
    """  # noqa: D301 - click's \b
    chosen = role or guess_role(config)
    if own_number and not test_call:
        message = "--own-number is for --test-call"
        raise click.UsageError(message)
    own = [sys.stdin.readline()] if own_number else None
    findings = list(Examination(config, chosen, test_call=test_call, own=own).findings(only))
    shown = findings if every or format_ == "json" else [f for f in findings if f.severity is not Severity.OK]
    if format_ == "json":
        print_rows(_rows(shown), COLUMNS, format_)
    else:
        _print(shown)
        counts = ", ".join(f"{sum(f.severity is s for f in findings)} {s}" for s in _ORDER)
        click.echo(f"{chosen}: {counts}", err=True)
    return exit_code(findings)


def _print(findings: Iterable[Finding]) -> None:
    for finding in sorted(findings, key=lambda f: _ORDER.index(f.severity)):
        print_line(f"{finding.severity:<9} {finding.check}: {_printable(finding.sentence)}")
        if finding.change and finding.severity is not Severity.OK:
            print_line(f"{'':9} -> {_printable(finding.change)}")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _rows(findings: Iterable[Finding]) -> Iterator[dict[str, str]]:
    for finding in findings:
        yield {name: str(getattr(finding, name)) for name in COLUMNS}
