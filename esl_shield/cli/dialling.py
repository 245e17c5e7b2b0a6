"""``esl-shield tenant dialling``: whether a token takes a permission, and what is shown of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulCommand
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_record
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.dialling import set_dialling

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = ("tenant", "requires_permission", "shows", "clicks_per_minute")


@click.command("dialling", cls=CarefulCommand)
@click.argument("name", metavar="TENANT")
@click.option(
    "--requires-permission/--no-requires-permission", default=None, help="Whether a token takes a dial permission."
)
@click.option("--shows", metavar="token|alias|ref|DIGITS", help="What phones and recordings show of a call.")
@click.option("--clicks-per-minute", type=click.IntRange(0, 1000), help="Calls by click of one agent in a minute.")
@format_option
@pass_config
def tenant_dialling(
    config: Config, *, name: str, requires_permission: bool | None, shows: str | None, clicks_per_minute: int | None,
    format_: Format,
) -> None:  # fmt: skip
    r"""Show how a tenant's tokens are dialled, or change what is given; the rest stays.

    To change takes the administrator's login; a dialler's or an auditor's shows. Where a permission is required an
    agent may dial an alias too, and without one a token is answered like an unknown one. Of a call the token is shown,
    its alias, its business ID (ref), or 2 to 6 digits that are the same for all; without alias or ref, the token.

    \b
    esl-shield tenant dialling bank --requires-permission --shows ref
    esl-shield tenant dialling bank --shows 123456
    """
    if not (requires_permission is None and shows is None and clicks_per_minute is None):
        set_dialling(
            config.database, name, requires_permission=requires_permission, shows=shows,
            clicks_per_minute=clicks_per_minute,
        )  # fmt: skip
    rows = views.read(config.database, "dialling", COLUMNS, where={"tenant = %s": name})
    if not rows:
        raise TenantUnknown(tenant=name)
    print_record(rows[0], format_)
