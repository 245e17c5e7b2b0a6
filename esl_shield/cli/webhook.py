"""``esl-shield webhook``: which addresses a tenant is told events at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.service.webhooks import admin

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = (
    "tenant", "name", "url", "events", "enabled", "waiting", "oldest_at", "dead", "failures", "paused_until",
    "last_problem", "delivered_at", "secret_version", "created_at",
)  # fmt: skip
EVENT_COLUMNS = ("id", "tenant", "webhook", "call", "kind", "at", "attempts", "next_at", "dead_at", "last_problem")

tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")


@click.group(cls=CarefulGroup)
def webhook() -> None:
    """Say which addresses a tenant is told events at, and see how that goes.

    Requests are signed as the Standard Webhooks specification says, arrive at least once, and a call's in their order.
    Changes need the administrator's login, lists an auditor's.
    """


@webhook.command()
@click.argument("name")
@tenant_option
@click.option("--url", required=True, metavar="URL", help="Where events are posted: https, or http on this machine.")
@click.option(
    "--event", "kinds", multiple=True, type=click.Choice(list(admin.KINDS)), metavar="KIND",
    help="A kind it is told; repeatable. Without it: all.",
)  # fmt: skip
@format_option
@pass_config
def add(config: Config, *, name: str, tenant: str, url: str, kinds: tuple[str, ...], format_: Format) -> None:
    r"""Add a webhook, or change where it posts and what; the same again changes nothing.

    \b
    esl-shield webhook add crm --tenant bank --url https://crm.example/hooks/calls --event call.ended
    esl-shield --config dispatcher.toml webhook secret crm --tenant bank    # what the receiver verifies with
    """
    outcome = admin.set_webhook(config.database, tenant, name, url, kinds or tuple(admin.KINDS))
    print_result({"tenant": tenant, "name": name, "outcome": outcome}, [f"{outcome}: webhook {name}"], format_)


@webhook.command("list")
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@format_option
@pass_config
def list_(config: Config, tenant: str | None, format_: Format) -> None:
    """List webhooks, what waits for each, and what is wrong."""
    rows = views.read(config.database, "webhooks", COLUMNS, where={"tenant = %s": tenant}, order="tenant, name")
    print_rows(rows, COLUMNS, format_)


def _change(what: str, help_: str) -> None:
    @webhook.command(what, help=help_)
    @click.argument("name")
    @tenant_option
    @format_option
    @pass_config
    def command(config: Config, name: str, tenant: str, format_: Format) -> None:
        outcome = admin.change_webhook(config.database, tenant, name, what)
        fields = {"tenant": tenant, "name": name, "what": what, "outcome": outcome}
        print_result(fields, [f"{what}: {outcome}"], format_)


_change("enable", "Note and post events again, those first that waited when it was disabled.")
_change("disable", "Note and post nothing more; what waits is kept.")
_change("rotate", "Sign with a new secret; for a day requests are signed with the old one as well.")
_change("remove", "Remove a webhook and all that waits for it.")
_change("test", "Post one event of the kind webhook.test.")


@webhook.command()
@click.argument("name")
@tenant_option
@pass_config
def secret(config: Config, name: str, tenant: str) -> None:
    """Print the secret a webhook's receiver verifies with, and nothing else.

    It needs the dispatcher's [webhooks] secret and an administrator's login in one file; it is stored nowhere.
    """
    from esl_shield.service.webhooks import dispatcher, signing  # noqa: PLC0415 - other commands post nothing

    master = dispatcher.read_master(dispatcher.section(config))
    version = admin.secret_version(config.database, tenant, name)
    click.echo(signing.spell(signing.derive(master, tenant, name, version)))


@webhook.command()
@click.argument("name", required=False)
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@click.option("--dead", is_flag=True, help="Only those that were given up.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@format_option
@pass_config
def events(config: Config, *, name: str | None, tenant: str | None, dead: bool, limit: int, format_: Format) -> None:
    """List events that wait or were given up, the oldest first. What arrived is not kept."""
    where = {"webhook = %s": name, "tenant = %s": tenant, "(dead_at IS NOT NULL) = %s": True if dead else None}
    rows = views.read(config.database, "webhook_events", EVENT_COLUMNS, where=where, order="id", limit=limit)
    print_rows(rows, EVENT_COLUMNS, format_)


@webhook.command()
@click.argument("name")
@tenant_option
@click.option("--id", "event", type=click.IntRange(1), metavar="ID", help="This event; without it all given up.")
@format_option
@pass_config
def replay(config: Config, name: str, tenant: str, event: int | None, format_: Format) -> None:
    """Post again what was given up."""
    count = admin.replay(config.database, tenant, name, event)
    print_result({"tenant": tenant, "name": name, "events": count}, [f"{count} events will be posted again"], format_)
