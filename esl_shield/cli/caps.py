"""``esl-shield token caps`` and ``tenant caps``: how many calls are allowed, and how many were made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulCommand, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.holds import STEWARD
from esl_shield.cli.output import Format, format_option, print_record
from esl_shield.errors.life import CapRejected
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.tokens import TokenUnknown
from esl_shield.vault.life import NO_CAP, TokenLife
from esl_shield.vault.provisioning import Caps, change_caps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esl_shield.config import Config

TENANT_COLUMNS = ("tenant", "token_per_day", "agent_per_hour", "tenant_per_day", "calls_today")
TOKEN_COLUMNS = ("tenant", "token", "per_day", "own_per_day", "tenant_per_day", "used", "since")


@click.command("caps", cls=CarefulCommand)
@click.argument("token", callback=read_token)
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--per-day", metavar="N|none|tenant", help="Give it a cap of its own, or its tenant's again.")
@format_option
@pass_config
def token_caps(config: Config, *, token: str, tenant: str, per_day: str | None, format_: Format) -> None:
    r"""Show how many calls a token may get in 24 hours and has got, or give it a cap of its own.

    Takes a steward's login; an auditor's shows. The 24 hours begin with the first call. A call over the cap is refused
    with 403, its audit event says `token_cap` and the cap.

    \b
    esl-shield token caps 70123456789012 --tenant bank
    esl-shield token caps 70123456789012 --tenant bank --per-day 30
    """
    own = None if per_day in (None, "tenant") else _cap("--per-day", str(per_day), "none or tenant", NO_CAP)
    refuse_numbers(config, tenant, token=token)
    if per_day is not None:
        with TokenLife(config.database, needs=STEWARD) as life:
            if life.cap(tenant, token, own) == "UNKNOWN":
                raise TokenUnknown(tenant=tenant)
    rows = views.read(config.database, "token_caps", TOKEN_COLUMNS, where={"tenant = %s": tenant, "token = %s": token})
    if not rows:
        raise TokenUnknown(tenant=tenant)
    _print(rows[0], ("per_day", "tenant_per_day"), {"own_per_day": NO_CAP}, format_)


@click.command("caps", cls=CarefulCommand)
@click.argument("name", metavar="TENANT")
@click.option("--token-per-day", metavar="N|none", help="Calls to one token in 24 hours.")
@click.option("--agent-per-hour", metavar="N|none", help="Calls of one agent in an hour.")
@click.option("--tenant-per-day", metavar="N|none", help="Calls of the tenant in a UTC day.")
@format_option
@pass_config
def tenant_caps(
    config: Config, *, name: str, token_per_day: str | None, agent_per_hour: str | None, tenant_per_day: str | None,
    format_: Format,
) -> None:  # fmt: skip
    r"""Show a tenant's caps and its calls of today, or change those given; the others stay.

    To change takes the administrator's login; an auditor's or a steward's shows. Token and agent caps hold exactly, the
    tenant's lets at most 15 calls more through, made at the same moment. Calls are counted while the tenant has a cap.

    \b
    esl-shield tenant caps bank
    esl-shield tenant caps bank --agent-per-hour 120 --tenant-per-day none
    """
    given = {"token_per_day": token_per_day, "agent_per_hour": agent_per_hour, "tenant_per_day": tenant_per_day}
    wanted = {
        key: _cap(f"--{key.replace('_', '-')}", text, "none", None) for key, text in given.items() if text is not None
    }
    if wanted:
        change_caps(config.database, name, lambda stand: Caps(**{**vars(stand), **wanted}))
    rows = views.read(config.database, "tenant_caps", TENANT_COLUMNS, where={"tenant = %s": name})
    if not rows:
        raise TenantUnknown(tenant=name)
    _print(rows[0], TENANT_COLUMNS[1:4], {}, format_)


def _cap(option: str, text: str, words: str, none: int | None) -> int | None:
    if text == "none":
        return none
    if not re.fullmatch("[0-9]{1,9}", text):
        raise CapRejected(option=option, words=words)
    return int(text)


def _print(row: dict[str, Any], none_is: tuple[str, ...], unlimited: Mapping[str, int], format_: Format) -> None:
    """Print caps; in a table no cap is the word that sets it."""
    shown = {name: "none" if value == unlimited.get(name, -1) else value for name, value in row.items()}
    if format_ == "table":
        shown |= {name: "none" for name in none_is if row[name] is None}
    print_record(shown, format_)
