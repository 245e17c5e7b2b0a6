"""``esl-shield policy set|show|explain``: when and how often a tenant's customers may be called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import times, views
from esl_shield.cli.careful import CarefulGroup, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.holds import STEWARD
from esl_shield.cli.output import Format, format_option, print_record, print_result, print_rows
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.policy import RULES, PolicyDesk, read_rules, set_policy, show_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config import Config

COLUMNS = ("rule", "state", "reason", "detail")
tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")


@click.group(cls=CarefulGroup)
def policy() -> None:
    """Say when and how often a tenant's customers may be called, and why a call is refused."""


def _rule_options(command: Callable[..., object]) -> Callable[..., object]:
    for rule in reversed(RULES):
        command = click.option(rule.option, rule.key, multiple=True, metavar="RULE", help=f"{rule.forms}.")(command)
    return command


@policy.command("set")
@tenant_option
@_rule_options
@format_option
@pass_config
def set_(config: Config, /, *, tenant: str, format_: Format, **given: tuple[str, ...]) -> None:
    r"""Change rules of a tenant's policy; those not given stay, `none` takes one away.

    Needs the administrator's login. A call a rule forbids is answered 403, its audit event names rule and value. Hours
    and closed days are those of the customer's own clock; --time-zone is for customers whose clock is not known, who
    without it are not called. A window that ends before it begins ends the next day.

    \b
    esl-shield policy set --tenant bank --hours "mon-fri 09:00-20:00" --hours "sat 10:00-14:00" \
        --time-zone Asia/Shanghai --gap 2h --agent-per-day 200 --closed 2027-01-01
    """
    changes = read_rules(given)
    if not changes:
        message = "give a rule to change; see --help"
        raise click.UsageError(message)
    outcome = set_policy(config.database, tenant, changes)
    print_result({"tenant": tenant, "outcome": outcome}, [f"{outcome}: policy of {tenant}"], format_)


@policy.command()
@tenant_option
@format_option
@pass_config
def show(config: Config, tenant: str, format_: Format) -> None:
    """Show a tenant's policy, each rule as it would be set; an auditor's or a steward's login."""
    columns = ("tenant", *(rule.key for rule in RULES), "changed_at", "changed_by")
    rows = views.read(config.database, "policies", columns, where={"tenant = %s": tenant})
    if not rows:
        raise TenantUnknown(tenant=tenant)
    (row,) = rows
    print_record({**row, **show_rules(row)}, format_)


@policy.command()
@tenant_option
@click.option("--agent", required=True, metavar="A", help="Who would call.")
@click.option("--token", required=True, metavar="TOKEN", callback=read_token, help="Whom.")
@click.option("--at", metavar="TIME", help=f"When, in place of now: {times.MOMENT_FORMS}.")
@format_option
@pass_config
def explain(config: Config, *, tenant: str, agent: str, token: str, at: str | None, format_: Format) -> int:
    r"""Say what would become of a call, and why: every rule with its state, in the order calls meet them.

    Takes a steward's login. No call is placed, nothing is counted or minted; the question itself is an audit event.
    Exit code 1 if the call would be refused. `off`: there is no such rule; `later`: asked when the number is known.

    \b
    esl-shield policy explain --tenant bank --agent 1001 --token 70123456789012 --at 2027-01-01T08:00:00+08:00
    """
    refuse_numbers(config, tenant, token=token)
    moment = times.at("--at", at, times.MOMENT_FORMS) if at else None
    with PolicyDesk(config.database, needs=STEWARD) as desk:
        rules = desk.explain(tenant, agent, token, moment)
    refusing = next((rule for rule in rules if rule.state == "refuses"), None)
    rows = [{**vars(rule), "reason": rule.reason if rule.state == "refuses" else None} for rule in rules]
    if format_ == "json":
        fields = {"verdict": refusing.verdict if refusing else "ALLOWED", "reason": refusing and refusing.reason}
        print_record({**fields, "rules": rows}, format_)
    else:
        told = {"NOT_FOUND": "404", "FORBIDDEN": "403"}
        line = f"refused with {told[refusing.verdict]}: {refusing.reason}" if refusing else "allowed"
        print_rows(rows, COLUMNS, format_)
        click.echo(line)
    return 1 if refusing else 0
