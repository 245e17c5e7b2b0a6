"""``esl-shield token``: numbers in, tokens out; numbers come by file or standard input, never as arguments."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esl_shield.cli import times, views
from esl_shield.cli.caps import token_caps
from esl_shield.cli.careful import CarefulGroup, hide_numbers, read_token, refuse_numbers
from esl_shield.cli.computing import compute
from esl_shield.cli.context import pass_config
from esl_shield.cli.erase import certificate, erase
from esl_shield.cli.files import open_source
from esl_shield.cli.holds import hold, holds, release, restore
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.output import Format, format_option, moment, print_record, print_result
from esl_shield.cli.progress import Bar
from esl_shield.cli.prompts import read_number
from esl_shield.errors.tokens import TokenUnknown
from esl_shield.vault.batches import survey
from esl_shield.vault.csvfile import rejected_path
from esl_shield.vault.export import export_csv
from esl_shield.vault.masking import show_labels
from esl_shield.vault.replacing import COLUMNS, Replaced, Replacer, replace_csv
from esl_shield.vault.rows import check_label_name
from esl_shield.vault.seeder import Seeder
from esl_shield.vault.seeding import LANES, Summary, import_csv
from esl_shield.vault.store import Store, TokenInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.config import Config

FINDING = 1

tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
alias_option = click.option(
    "--alias", metavar="A", help="The tenant's own handle: letters, digits, dots, dashes, underscores."
)
token_argument = click.argument("token", callback=read_token)


@click.group(cls=CarefulGroup)
def token() -> None:
    """Import, export, add, show, revoke, expire, hold and erase tokens. No command shows a number."""


@token.command("import")
@click.argument("file", metavar="FILE.csv")
@tenant_option
@click.option(
    "--output",
    required=True,
    metavar="OUT.csv",
    type=click.Path(path_type=Path),
    help="Where alias, token and labels go.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="NAME", help="Keep this column beside the token; may be repeated."
)
@click.option(
    "--expires-in", metavar="TIME", help="Let new tokens without expires_at end after this, such as 30m, 12h, 30d, 8w."
)
@click.option(
    "--replace", is_flag=True, help="Give tokens there are, named by token or alias, the number of their row."
)
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
@pass_config
def import_(
    config: Config,
    *,
    file: str,
    tenant: str,
    output: Path,
    labels: tuple[str, ...],
    expires_in: str | None,
    replace: bool,
    quiet: bool,
) -> int:
    r"""Give every number in FILE.csv (- for standard input) a token.

    The first row names the columns: number is required, alias and expires_at (ISO 8601, UTC if it names no zone) are
    known, others are dropped unless named by --label. A number that has a token keeps it, revoked or not.
    OUT.csv (mode 0600) appears when every row is in: alias, token and labels, in the file's order. Refused rows go to
    OUT.rejected.csv with the number masked, and the command ends with 1. A label that a spreadsheet would take for a
    formula (it begins with =, +, - or @) has an apostrophe before it in OUT.csv.

    An import that was stopped, in whatever way, is run again: nothing is doubled or lost.

    With --replace customers have changed numbers and keep their tokens: each row names its token in the column token or
    alias and gives the new number; what was kept of the old one is gone, calls that were about to ring it are refused.
    A number that another token has, and a token under a legal hold, is rejected. Labels named by --label are set anew.

    \b
      alias,number
      C-1042,13800138042
      esl-shield token import changed.csv --tenant bank --output out.csv --replace
    """
    if replace and expires_in:
        message = "--expires-in is for new tokens, not for --replace"
        raise click.UsageError(message)
    for name in labels:
        check_label_name(name)
    expiry = times.from_now("--expires-in", expires_in) if expires_in else None
    if replace:
        return _replace(config, file, tenant, output, labels, quiet=quiet)
    with open_source(file) as source, _seeder(config, tenant, lambda: survey(source, labels)) as seeder:
        started = time.monotonic()
        with Bar(source.size, quiet=quiet) as bar:
            summary = import_csv(seeder, source, output, labels, default_expiry=expiry, progress=bar.show)
        if not quiet:
            _report(summary, output, time.monotonic() - started)
    return FINDING if summary.rejected else 0


@token.command()
@tenant_option
@click.option(
    "--output", required=True, metavar="OUT.csv", type=click.Path(path_type=Path), help="Where alias and token go."
)
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
@pass_config
def export(config: Config, *, tenant: str, output: Path, quiet: bool) -> None:
    """Write alias,token of all of a tenant's tokens into OUT.csv (mode 0600), which appears when it is whole.

    A token without an alias has a row too, one with several aliases a row for each. No number is in it, and memory
    does not grow with the tokens. Takes the login of an auditor or a seeder:

      esl-shield token export --tenant bank --output tokens.csv
    """
    with Bar(None, quiet=quiet) as bar:
        rows = export_csv(config.database, tenant, output, progress=bar.show)
    if not quiet:
        click.echo(f"{rows} rows", err=True)


@token.command()
@tenant_option
@alias_option
@click.option("--expires-at", metavar="TIME", help="ISO 8601, UTC if it names no zone.")
@format_option
@pass_config
def add(config: Config, tenant: str, alias: str | None, expires_at: str | None, format_: Format) -> None:
    """Give one number a token and print it; the number is read from standard input, hidden if that is a terminal."""
    with _seeder(config, tenant) as seeder:
        made, created = seeder.add(read_number(), alias, expires_at)
    if format_ == "json":
        print_record({"token": made, "created": created}, format_)
    else:
        click.echo(made)


@token.command()
@click.argument("token", required=False, callback=read_token)
@alias_option
@tenant_option
@format_option
@pass_config
def show(config: Config, token: str | None, alias: str | None, tenant: str, format_: Format) -> None:
    """Show what is kept beside a token, found by itself or by its alias; never the number.

    Labels are masked as `tenant mask` says; one it does not speak of is hidden.
    """
    if (token is None) == (alias is None):
        message = "give a TOKEN or --alias"
        raise click.UsageError(message)
    refuse_numbers(config, tenant, token=token, alias=alias)
    with _store(config) as store:
        found = asdict(_found(store, tenant, token, alias))
    found["labels"] = show_labels(found["labels"], views.label_patterns(config.database, tenant))
    print_record(found, format_)


@token.command()
@token_argument
@tenant_option
@format_option
@pass_config
def revoke(config: Config, token: str, tenant: str, format_: Format) -> None:
    """Refuse every further call to a token, at once; only a steward's `token restore` undoes it."""
    refuse_numbers(config, tenant, token=token)
    with _store(config) as store:
        revoked = store.revoke(tenant, token)
    if revoked is None:
        raise TokenUnknown(tenant=tenant)
    outcome = "revoked" if revoked else "unchanged"
    line = f"revoked token {token}" if revoked else f"token {token} was revoked before"
    print_result({"token": token, "outcome": outcome}, [line], format_)


@token.command()
@token_argument
@tenant_option
@click.option("--at", required=True, metavar="TIME", help="ISO 8601, UTC if it names no zone; or now, or never.")
@format_option
@pass_config
def expire(config: Config, token: str, tenant: str, at: str, format_: Format) -> None:
    """Let a token end at a moment."""
    end = _end(at)
    refuse_numbers(config, tenant, token=token)
    with _store(config) as store:
        if not store.expire(tenant, token, end):
            raise TokenUnknown(tenant=tenant)
    line = f"token {token} ends {moment(end) if end else 'never'}"
    print_result({"token": token, "outcome": "expiry set", "expires_at": end}, [line], format_)


for _command in (compute, holds, hold, release, restore, token_caps, erase, certificate):
    token.add_command(_command)


def _replace(config: Config, file: str, tenant: str, output: Path, labels: tuple[str, ...], *, quiet: bool) -> int:
    started = time.monotonic()
    kek = configured_kek(config)
    with open_source(file) as source, _store(config) as store, Bar(source.size, quiet=quiet) as bar:
        survey(source, labels, COLUMNS)
        summary = replace_csv(Replacer(store, kek, tenant), source, output, labels, progress=bar.show)
    if not quiet:
        _report(summary, output, time.monotonic() - started)
    return FINDING if summary.rejected else 0


@contextlib.contextmanager
def _store(config: Config, connections: int = 1) -> Iterator[Store]:
    with contextlib.closing(Store(config.database, pool_size=connections)) as store:
        yield store


@contextlib.contextmanager
def _seeder(config: Config, tenant: str, before: Callable[[], None] = lambda: None) -> Iterator[Seeder]:
    """Open keys and tenant after ``before``, which may find that the input is of no use."""
    before()
    kek = configured_kek(config)
    with _store(config, LANES) as store:
        yield Seeder(store, kek, tenant)


def _found(store: Store, tenant: str, token: str | None, alias: str | None) -> TokenInfo:
    info = store.info(tenant, token, alias)
    if info is None:
        raise TokenUnknown(tenant=tenant)
    return info


def _end(text: str) -> dt.datetime | None:
    if text == "now":
        return dt.datetime.now(dt.UTC)
    return None if text == "never" else times.at("--at", text, f"now, never, or a moment in {times.MOMENT_FORMS}")


def _report(summary: Summary | Replaced, output: Path, elapsed_s: float) -> None:
    rate = summary.rows / max(elapsed_s, 1e-3)
    if isinstance(summary, Summary):
        did = f"{summary.created} new tokens, {summary.existing} known"
    else:
        did = f"{summary.replaced} replaced, {summary.unchanged} unchanged"
    line = f"{summary.rows} rows: {did}, {summary.rejected} rejected"
    click.echo(f"{line}; {elapsed_s:.1f} s, {rate:.0f} rows/s", err=True)
    if summary.rejected:
        click.echo(f"rejected rows: {hide_numbers(str(rejected_path(output)))}", err=True)
