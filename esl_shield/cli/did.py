"""``esl-shield did``: the tenants' own numbers, which customers call."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.files import open_source
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.errors.tenants import DidUnknown
from esl_shield.vault import dids

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = ("did", "tenant", "destinations", "enabled", "masks_per_minute", "created_at")

tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")


@click.group(cls=CarefulGroup)
def did() -> None:
    """Say which called numbers are a tenant's own, and whom their callers reach."""


@did.command()
@click.argument("number", metavar="DID")
@tenant_option
@click.option(
    "--to", "destinations", multiple=True, required=True, metavar="AGENT|queue:NAME",
    help="Whom its callers reach; repeatable up to three times, the next when the one before does not take the call.",
)  # fmt: skip
@click.option("--disabled", is_flag=True, help="Keep it, and answer its callers 404.")
@click.option(
    "--masks-per-minute", default=str(dids.DEFAULT_MASKS_PER_MINUTE), show_default=True, metavar="N|none",
    help="Callers given their token in a minute; those beyond are anonymous.",
)  # fmt: skip
@format_option
@pass_config
def add(
    config: Config, *, number: str, tenant: str, destinations: tuple[str, ...], disabled: bool, masks_per_minute: str,
    format_: Format,
) -> None:  # fmt: skip
    """Give a tenant a called number, or change whom its callers reach; the same again changes nothing.

    Needs the administrator's login. The number is E.164, or a national one of the tenant's region, such as in
    `esl-shield did add +862160001111 --tenant acme --to 1001 --to queue:sales`. The agent who called a customer last is
    always rung first.
    """
    limit = dids.read_limit(masks_per_minute)
    wanted = dids.Did(number, destinations, not disabled, limit)
    ((made, outcome),) = dids.set_dids(config.database, tenant, [wanted])
    print_result({"did": made, "tenant": tenant, "outcome": outcome}, [f"{outcome}: DID {made} of {tenant}"], format_)


@did.command("list")
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@format_option
@pass_config
def list_(config: Config, tenant: str | None, format_: Format) -> None:
    """List the DIDs of the tenants this login may see."""
    rows = views.read(config.database, "dids", COLUMNS, where={"tenant = %s": tenant}, order="did")
    print_rows(rows, COLUMNS, format_)


@did.command()
@click.argument("number", metavar="DID")
@tenant_option
@format_option
@pass_config
def remove(config: Config, number: str, tenant: str, format_: Format) -> None:
    """Take a called number from a tenant; its callers are answered 404. Needs the administrator's login."""
    removed = dids.remove_did(config.database, tenant, number)
    if removed is None:
        raise DidUnknown(tenant=tenant)
    print_result({"did": removed, "tenant": tenant, "outcome": "removed"}, [f"removed: DID {removed}"], format_)


@did.command("import")
@click.argument("file", metavar="FILE.csv")
@tenant_option
@format_option
@pass_config
def import_(config: Config, file: str, tenant: str, format_: Format) -> None:
    """Set every DID in FILE.csv (- for standard input), all or none; those not named stay as they are.

    The first row names the columns: did and destinations (blanks between them) are required, enabled and
    masks_per_minute may be there. Needs the administrator's login. Again with the same file: nothing changes.
    """
    with open_source(file) as source:
        wanted = list(dids.read_csv(source))
    outcomes = Counter(outcome for _, outcome in dids.set_dids(config.database, tenant, wanted))
    fields = {name: outcomes[name] for name in ("created", "changed", "unchanged")}
    line = f"{len(wanted)} DIDs of {tenant}: " + ", ".join(f"{count} {name}" for name, count in fields.items())
    print_result({"tenant": tenant, **fields}, [line], format_)
