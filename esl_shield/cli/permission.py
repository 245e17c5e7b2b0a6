"""``esl-shield permission``: who may dial which token, where a tenant requires it."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import click

from esl_shield.cli import times, views
from esl_shield.cli.careful import CarefulGroup, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, moment, print_result, print_rows
from esl_shield.errors.dialling import PermissionRejected
from esl_shield.service.dialling import Dialling, Permission

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterator

    from esl_shield.config import Config

APPLICATION = "esl_shield permissions"
COLUMNS = (
    "id", "token", "agent", "valid_from", "valid_until", "calls", "used", "state", "campaign", "ref", "granted_by",
    "granted_at", "revoked_by", "revoked_at",
)  # fmt: skip
TABLE_COLUMNS = COLUMNS[:10]
STATES = ("valid", "early", "used_up", "expired", "revoked")
tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")


@click.group(cls=CarefulGroup)
def permission() -> None:
    """Grant, list and revoke dial permissions; they count where `tenant dialling` requires them."""


@permission.command()
@click.argument("token", required=False, callback=read_token)
@click.option("--alias", metavar="A", help="The token's alias, in place of the token.")
@tenant_option
@click.option("--agent", metavar="A", help="Who may dial.  [default: every agent]")
@click.option("--from", "from_", metavar="TIME", help="Not before: ISO 8601.  [default: now]")
@click.option("--until", metavar="TIME", help="Not from then on: ISO 8601.  [default: a day later]")
@click.option("--calls", default="1", show_default=True, metavar="N|any", help="How often in all.")
@click.option("--campaign", metavar="C", help="The campaign it is for.")
@click.option("--ref", metavar="ID", help="The business ID its calls carry: task, order.")
@click.option("--id", "id_", type=click.UUID, help="Its id, so that the same again changes nothing.  [default: drawn]")
@format_option
@pass_config
def grant(
    config: Config, *, token: str | None, alias: str | None, tenant: str, agent: str | None, from_: str | None,
    until: str | None, calls: str, campaign: str | None, ref: str | None, id_: uuid.UUID | None, format_: Format,
) -> None:  # fmt: skip
    r"""Let an agent dial a token. Takes a dialler's login.

    \b
    esl-shield permission grant 70123456789012 --tenant bank --agent 1001 --ref TASK-812
    esl-shield permission grant --alias C-20231 --tenant bank --calls any --until 2030-01-31T18:00:00+08:00
    """
    if calls != "any" and not re.fullmatch("[0-9]{1,5}", calls):
        raise PermissionRejected(problem="--calls is a whole number, or any")
    refuse_numbers(config, tenant, token=token, alias=alias)
    often = None if calls == "any" else int(calls)
    wanted = Permission(
        token, alias, agent, _moment("--from", from_), _moment("--until", until), often, campaign, ref,
        **({"id": id_} if id_ else {}),
    )  # fmt: skip
    with _dialling(config) as dialling:
        done = dialling.grant(tenant, wanted)
    outcome = "granted" if done.new else "unchanged"
    fields = {
        "id": done.id, "token": done.token, "valid_from": done.valid_from, "valid_until": done.valid_until,
        "outcome": outcome,
    }  # fmt: skip
    line = f"{outcome}: permission {done.id} for token {done.token}, until {moment(done.valid_until)}"
    print_result(fields, [line], format_)


@permission.command("list")
@tenant_option
@click.option("--token", callback=read_token, metavar="TOKEN", help="Only this token's.")
@click.option("--agent", metavar="A", help="Only those of this agent's own.")
@click.option("--ref", metavar="ID", help="Only those that carry this business ID.")
@click.option("--campaign", metavar="C", help="Only this campaign's.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many, the latest.")
@format_option
@pass_config
def list_(
    config: Config, *, tenant: str, token: str | None, agent: str | None, ref: str | None, campaign: str | None,
    state: str | None, limit: int, format_: Format,
) -> None:  # fmt: skip
    """List a tenant's dial permissions, the latest last; those that ended over 30 days ago are gone."""
    refuse_numbers(config, tenant, token=token)
    where = {
        "tenant = %s": tenant, "token = %s": token, "agent = %s": agent, "ref = %s": ref, "campaign = %s": campaign,
        "state = %s": state,
    }  # fmt: skip
    rows = views.read(
        config.database, "dial_permissions", COLUMNS, where=where, order="granted_at DESC, id DESC", limit=limit
    )
    print_rows(reversed(rows), COLUMNS if format_ == "json" else TABLE_COLUMNS, format_)


@permission.command()
@click.argument("permission_id", type=click.UUID, metavar="ID")
@tenant_option
@format_option
@pass_config
def revoke(config: Config, *, permission_id: uuid.UUID, tenant: str, format_: Format) -> None:
    r"""End a dial permission now; a call that was let through goes on. Takes a dialler's login.

    \b
    esl-shield permission revoke 9af2c40b-e973-40b7-8553-88e62ae2f641 --tenant bank
    """
    with _dialling(config) as dialling:
        outcome = "revoked" if dialling.revoke(tenant, permission_id) else "unchanged"
    print_result({"id": permission_id, "outcome": outcome}, [f"{outcome}: permission {permission_id}"], format_)


def _moment(option: str, text: str | None) -> dt.datetime | None:
    return times.at(option, text, times.MOMENT_FORMS) if text else None


@contextlib.contextmanager
def _dialling(config: Config) -> Iterator[Dialling]:
    from esl_shield.db.engine import Database  # noqa: PLC0415 - `--help` needs no database

    with contextlib.closing(Database(config.database, application_name=APPLICATION, needs="a dialler's")) as database:
        yield Dialling(database)
