"""``esl-shield leakscan``: search files and streams for any number of the vault; with ``--canary`` after calls."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esl_shield.audit.leakscan.scan import Scan, Totals
from esl_shield.audit.leakscan.tasks import STRETCH_BYTES
from esl_shield.audit.leakscan.walk import File, walk
from esl_shield.audit.leakscan.workers import Workers
from esl_shield.cli.careful import CarefulCommand, may_be_number
from esl_shield.cli.context import pass_config
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.output import Format, cell, format_option, print_json, print_line
from esl_shield.cli.progress import Bar
from esl_shield.errors.tokens import NumberInArgument
from esl_shield.vault.leaks import Leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esl_shield.audit.leakscan.scan import Finding
    from esl_shield.config import Config

CLEAN, FOUND, INCOMPLETE, INTERRUPTED = 0, 1, 2, 130
_OUTCOMES = {CLEAN: "clean", FOUND: "found", INCOMPLETE: "incomplete", INTERRUPTED: "interrupted"}
STDIN = "-"
REPORTS = ("keygen", "verify")
_STDIN_NAME = "standard input"
_MB = 1_000_000
_FINDING = "{where}  {spelling}  {tenant}  {token}"


class LeakscanCommand(CarefulCommand):
    """Takes paths, or one of two commands about reports; a file of such a name is ``./verify``."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments, as those of the command about reports that the first one names."""
        if args and args[0] in REPORTS:
            from esl_shield.cli import canary  # noqa: PLC0415 - a plain search needs none of it

            return canary.SUBCOMMANDS[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=LeakscanCommand)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--canary", "with_canary", is_flag=True, help="Place calls to canary numbers first; print a signed report."
)
@click.option("--calls", type=click.IntRange(1, 50), default=3, show_default=True, help="With --canary: how many.")
@click.option(
    "--own-numbers", "own", is_flag=True, help="With --canary: call the numbers on standard input, one a line."
)
@click.option(
    "--wire",
    "wire",
    multiple=True,
    metavar="PATH",
    help="With --canary: captures of the carrier's side, where the numbers must be; repeatable.",
)
@click.option("--tenant", "tenants", multiple=True, metavar="T", help="Only this tenant's numbers; repeatable.")
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="DIGITS",
    help="Digits your gateways are dialled by in front of a number, such as 9 or 99; repeatable.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Processes that search beside each other; without it as many as there are processors, fewer for little.",
)
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
@format_option
@pass_config
def leakscan(
    config: Config, *, paths: tuple[str, ...], with_canary: bool, calls: int, own: bool, wire: tuple[str, ...],
    tenants: tuple[str, ...], prefixes: tuple[str, ...], jobs: int | None, quiet: bool, format_: Format,
) -> int:  # fmt: skip
    r"""Search files, folders and streams (- for standard input) for any number of the vault.

    Looks into gzip, bzip2, xz, zip, tar, SQLite and captures of a network, for numbers plain, grouped, with +86, 0086
    or 0 in front, in URLs, base64, escapes, hex and UTF-16. Tells the place, the spelling, the tenant and the token;
    never the number. Takes the login of a scanner and the KEK.

    \b
      esl-shield --config scanner.toml leakscan /var/log /var/lib/freeswitch
      pg_dump crm | esl-shield --config scanner.toml leakscan --format json -

    With --canary it first calls, as the agent in [canary], numbers that are nobody's, and prints a signed report.

    \b
      esl-shield leakscan keygen /etc/esl-shield/report.key
      esl-shield --config canary.toml leakscan --canary /var/log /var/lib/freeswitch > report.json
      esl-shield leakscan verify report.json --key report.key.pub

    Ends with 1 when something was found, else with 2 when something could not be read, else with 0. With --canary
    with 3 when a call did not go through, and with 2 as well when no file mentions a call.
    """
    _check(paths, prefixes)
    if with_canary:
        from esl_shield.cli import canary  # noqa: PLC0415 - a plain search needs none of it

        _check(wire, ())
        if jobs is not None:
            message = "--jobs is for a search without --canary"
            raise click.UsageError(message)
        if STDIN in paths or STDIN in wire:
            message = "--canary searches files and folders; - is for --own-numbers"
            raise click.UsageError(message)
        return canary.run(config, paths, wire, tenants, prefixes, count=calls, own=own, quiet=quiet)
    if own or wire:
        message = "--own-numbers and --wire are for --canary"
        raise click.UsageError(message)
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(Workers(count)) if (count := _jobs(jobs, paths)) > 1 else None
        kek = configured_kek(config)
        leaks = stack.enter_context(contextlib.closing(Leaks(config.database, kek, tenants, prefixes)))
        started = time.monotonic()
        code, totals = _search(leaks, paths, quiet=quiet, tell=_teller(format_), workers=workers)
        leaks.finish(
            _OUTCOMES[code], files=totals.files, read_bytes=totals.bytes, unread=totals.unread, findings=totals.findings
        )
    if not quiet:
        _report(code, totals, leaks.asked, time.monotonic() - started)
    return code


def _search(
    leaks: Leaks, paths: Sequence[str], *, quiet: bool, tell: Callable[[Finding], None], workers: Workers | None = None
) -> tuple[int, Totals]:
    """Search everything; an interruption ends the search and not the report."""
    with Bar(_size(paths), quiet=quiet, unit="MB") as bar:
        scan = Scan(
            leaks, tell, lambda name, why: click.echo(f"esl-shield: {cell(name)} was not searched: {why}", err=True),
            lambda totals: bar.show(totals.position, totals.bytes // _MB), workers,
        )  # fmt: skip
        try:
            for path in paths:
                if path == STDIN:
                    scan.stream(sys.stdin.buffer, _STDIN_NAME)
                else:
                    scan.path(Path(path))
        except KeyboardInterrupt:
            return INTERRUPTED, scan.totals
    totals = scan.totals
    return FOUND if totals.findings else INCOMPLETE if totals.unread else CLEAN, totals


def _check(paths: Sequence[str], prefixes: Sequence[str]) -> None:
    for path in paths:
        if may_be_number(path) and not Path(path).exists():
            raise NumberInArgument(argument="A PATH that does not exist")
    for prefix in prefixes:
        if not prefix.isdigit() or not prefix.isascii() or may_be_number(prefix):
            message = "--prefix takes up to 4 digits"
            raise click.UsageError(message)
    if list(paths).count(STDIN) > 1:
        message = "- can be given once"
        raise click.UsageError(message)


def _size(paths: Sequence[str]) -> int | None:
    """Return the size of all there is to search, None if a pipe is among it."""
    return None if STDIN in paths else _listed(paths)


def _listed(paths: Sequence[str]) -> int:
    return sum(entry.size for path in paths if path != STDIN for entry in walk(Path(path)) if isinstance(entry, File))


def _jobs(asked: int | None, paths: Sequence[str]) -> int:
    """Return how many processes are worth their start."""
    return asked or min(len(os.sched_getaffinity(0)), 1 + _listed(paths) // STRETCH_BYTES)


def _teller(format_: Format) -> Callable[[Finding], None]:
    def as_json(finding: Finding) -> None:
        print_json(finding._asdict())

    def as_line(finding: Finding) -> None:
        place = finding.line if finding.line is not None else finding.place or f"byte {finding.offset}"
        where = f"{finding.file}:{place}"
        print_line(
            _FINDING.format(where=cell(where), spelling=finding.spelling, tenant=finding.tenant, token=finding.token)
        )

    return as_json if format_ == "json" else as_line


def _report(code: int, totals: Totals, asked: int, elapsed_s: float) -> None:
    rate = totals.bytes / max(elapsed_s, 1e-3) / _MB
    click.echo(
        f"{totals.findings} findings in {totals.files} files, {totals.bytes / _MB:.1f} MB; {totals.unread} not"
        f" searched, {totals.left_out} are no files; {asked} look-ups; {elapsed_s:.1f} s, {rate:.0f} MB/s",
        err=True,
    )
    if code == INTERRUPTED:
        click.echo("interrupted: what was not searched may hold more", err=True)
