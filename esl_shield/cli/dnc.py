"""``esl-shield dnc``: the numbers nobody may call."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.files import open_source
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.cli.prompts import read_number
from esl_shield.errors.policy import NotListed
from esl_shield.vault.donotcall import ListKeeper, share_list
from esl_shield.vault.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config

COLUMNS = ("tenant", "entry", "added_at", "login", "list_for_all")
MOST_SHOWN = 20
tenant_option = click.option("--tenant", required=True, metavar="T", help="Whose list.")


@click.group(cls=CarefulGroup)
def dnc() -> None:
    """Keep do-not-call lists: a listed number is never given out, whatever token stands for it."""


@contextlib.contextmanager
def _keeper(config: Config, tenant: str) -> Iterator[ListKeeper]:
    kek = configured_kek(config)
    with contextlib.closing(Store(config.database)) as store:
        yield ListKeeper(store, kek, tenant)


@dnc.command("import")
@click.argument("file", metavar="FILE.csv")
@tenant_option
@format_option
@pass_config
def import_(config: Config, file: str, tenant: str, format_: Format) -> int:
    r"""List every number of the column `number` of a CSV (- for standard input); the same again adds nothing.

    Takes a seeder's login and the KEK. Lines that hold no number are told by their place and the others are listed;
    exit code 1 then. The list holds for calls within seconds.

    \b
    esl-shield dnc import blocked.csv --tenant bank
    """
    with open_source(file) as source, _keeper(config, tenant) as keeper:
        done = keeper.import_csv(source)
    for line, reason in done.rejected[:MOST_SHOWN]:
        click.echo(f"line {line}: not listed ({reason})", err=True)
    if len(done.rejected) > MOST_SHOWN:
        click.echo(f"and {len(done.rejected) - MOST_SHOWN} lines more", err=True)
    fields = {"tenant": tenant, "numbers": done.numbers, "added": done.added, "rejected": len(done.rejected)}
    told = f"{done.numbers} numbers, {done.added} new on the list of {tenant}, {len(done.rejected)} lines rejected"
    print_result(fields, [told], format_)
    return 1 if done.rejected else 0


@dnc.command()
@tenant_option
@format_option
@pass_config
def add(config: Config, tenant: str, format_: Format) -> None:
    r"""List one number, read from standard input, hidden if that is a terminal. Takes a seeder's login and the KEK.

    \b
    esl-shield dnc add --tenant bank < number.txt
    """
    with _keeper(config, tenant) as keeper:
        outcome = "added" if keeper.add([keeper.read(read_number())]) else "unchanged"
    print_result({"tenant": tenant, "outcome": outcome}, [f"{outcome}: list of {tenant}"], format_)


@dnc.command()
@tenant_option
@format_option
@pass_config
def remove(config: Config, tenant: str, format_: Format) -> None:
    """Take one number, read from standard input, off the list. Takes a seeder's login and the KEK."""
    with _keeper(config, tenant) as keeper:
        removed = keeper.remove(keeper.read(read_number()))
    if not removed:
        raise NotListed(tenant=tenant)
    print_result({"tenant": tenant, "outcome": "removed"}, [f"removed: list of {tenant}"], format_)


@dnc.command("list")
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, the latest.")
@format_option
@pass_config
def list_(config: Config, tenant: str | None, limit: int, format_: Format) -> None:
    """List entries, the latest first: when and by whom, never which number. A seeder's or an auditor's login."""
    where = {"tenant = %s": tenant}
    rows = views.read(config.database, "do_not_call", COLUMNS, where=where, order="added_at DESC, entry", limit=limit)
    print_rows(rows, COLUMNS, format_)


@dnc.command()
@tenant_option
@click.option("--for-all/--own", required=True, help="Whether it holds for every tenant's calls or for its own.")
@format_option
@pass_config
def share(config: Config, *, tenant: str, for_all: bool, format_: Format) -> None:
    r"""Let a tenant's list hold for every tenant: the list of the whole site. Needs the administrator's login.

    Resolvers' logins must see that tenant.

    \b
    esl-shield dnc share --tenant site --for-all
    """
    outcome = share_list(config.database, tenant, for_all=for_all)
    holds = "every tenant's calls" if for_all else "its own calls"
    line = f"{outcome}: the list of {tenant} holds for {holds}"
    print_result({"tenant": tenant, "for_all": for_all, "outcome": outcome}, [line], format_)
