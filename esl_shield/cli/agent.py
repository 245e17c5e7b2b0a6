"""``esl-shield agent list|unlock``: agents who were locked for dialling tokens that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.holds import STEWARD
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.errors.life import CaseRejected
from esl_shield.errors.policy import AgentNotLocked
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.policy import PolicyDesk

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = ("tenant", "agent", "locked_at", "reason")


@click.group(cls=CarefulGroup)
def agent() -> None:
    """List agents who were locked for guessing tokens, and unlock them."""


@agent.command("list")
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@format_option
@pass_config
def list_(config: Config, tenant: str | None, format_: Format) -> None:
    """List locked agents, the latest first; a steward's or an auditor's login sees its tenants'."""
    rows = views.read(config.database, "agent_locks", COLUMNS, where={"tenant = %s": tenant}, order="locked_at DESC")
    print_rows(rows, COLUMNS, format_)


@agent.command()
@click.argument("name", metavar="AGENT")
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept for good.")
@format_option
@pass_config
def unlock(config: Config, name: str, tenant: str, reason: str, format_: Format) -> None:
    r"""Let a locked agent call again; the reason stands in the audit trail.

    Takes a steward's login. See first what happened: `esl-shield audit tail` shows how often, never the digits.

    \b
    esl-shield agent unlock 1001 --tenant bank --reason "old list on the desk, replaced"
    """
    with PolicyDesk(config.database, needs=STEWARD) as desk:
        verdict = desk.unlock(tenant, name, reason)
    if verdict == "UNKNOWN":
        raise TenantUnknown(tenant=tenant)
    if verdict == "REFUSED":
        raise CaseRejected(option="--reason", why="it must be 1 to 300 characters on one line")
    if verdict == "UNCHANGED":
        raise AgentNotLocked(agent=name, tenant=tenant)
    print_result({"agent": name, "tenant": tenant, "outcome": "unlocked"}, [f"unlocked agent {name}"], format_)
