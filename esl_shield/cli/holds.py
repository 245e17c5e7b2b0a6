"""``esl-shield token hold|release|restore|holds``: what a steward says about tokens of a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulCommand, read_case, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.errors.life import CaseRejected, HoldUnknown
from esl_shield.errors.tokens import TokenUnknown
from esl_shield.vault.life import Case, Name, TokenLife

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config import Config

STEWARD = "a steward"
COLUMNS = (
    "tenant", "token", "case_id", "reason", "login", "held_at", "released_by", "released_at", "release_reason",
)  # fmt: skip
TABLE_COLUMNS = ("held_at", "token", "case_id", "login", "released_at", "reason")
_C = TypeVar("_C", bound="Callable[..., Any]")


def named_by(command: _C) -> _C:
    """Give a command the argument TOKEN and the options --alias and --tenant."""
    command = click.argument("token", required=False, callback=read_token)(command)
    command = click.option("--alias", metavar="A", help="The token's alias, in place of the token.")(command)
    return click.option("--tenant", required=True, metavar="T", help="The tenant's name.")(command)


def for_case(command: _C) -> _C:
    """Give a command the options --case and --reason."""
    command = click.option("--reason", required=True, metavar="TEXT", help="Why; kept for good.")(command)
    return click.option("--case", required=True, metavar="C", help="The case's id; kept for good.")(command)


@click.command(cls=CarefulCommand)
@named_by
@for_case
@format_option
@pass_config
def hold(
    config: Config, *, token: str | None, alias: str | None, tenant: str, case: str, reason: str, format_: Format
) -> None:
    r"""Place a legal hold: while it stands the token is neither erased nor given another number.

    Takes a steward's login. A token may be held for several cases; each is released for itself.

    \b
    esl-shield token hold 70123456789012 --tenant bank --case LIT-7 --reason "preservation order of 3 March"
    """
    name, why = checked(config, Name(token, alias), tenant, case, reason)
    with TokenLife(config.database, needs=STEWARD) as life:
        found = answered(*life.hold(tenant, name, why), tenant)
    line = f"held token {found[1]} for case {why.id}" if found[0] else f"case {why.id} holds token {found[1]} already"
    print_result({"token": found[1], "case": why.id, "outcome": "held" if found[0] else "unchanged"}, [line], format_)


@click.command(cls=CarefulCommand)
@named_by
@for_case
@format_option
@pass_config
def release(
    config: Config, *, token: str | None, alias: str | None, tenant: str, case: str, reason: str, format_: Format
) -> None:
    r"""End one case's hold on a token; holds of other cases stay.

    Takes a steward's login, which erases nothing itself.

    \b
    esl-shield token release 70123456789012 --tenant bank --case LIT-7 --reason "settled"
    """
    name, why = checked(config, Name(token, alias), tenant, case, reason)
    with TokenLife(config.database, needs=STEWARD) as life:
        verdict, found, standing = life.release(tenant, name, why)
    done, held = answered(verdict, found, tenant)
    if not done:
        raise HoldUnknown(case=why.id, token=held)
    line = f"released token {held} for case {why.id}; {standing or 'no'} other hold{'s' * (standing != 1)} on it"
    print_result({"token": held, "case": why.id, "outcome": "released", "holds": standing}, [line], format_)


@click.command(cls=CarefulCommand)
@named_by
@for_case
@format_option
@pass_config
def restore(
    config: Config, *, token: str | None, alias: str | None, tenant: str, case: str, reason: str, format_: Format
) -> None:
    r"""Let a revoked token be called again.

    Takes a steward's login: whoever revokes cannot take it back alone. An end that was set stays.

    \b
    esl-shield token restore 70123456789012 --tenant bank --case T-9 --reason "revoked by mistake"
    """
    name, why = checked(config, Name(token, alias), tenant, case, reason)
    with TokenLife(config.database, needs=STEWARD) as life:
        done, found = answered(*life.restore(tenant, name, why), tenant)
    line = f"restored token {found}" if done else f"token {found} is not revoked"
    print_result({"token": found, "outcome": "restored" if done else "unchanged"}, [line], format_)


@click.command(cls=CarefulCommand)
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--case", metavar="C", help="Only this case's.")
@click.option("--token", callback=read_token, metavar="TOKEN", help="Only this token's.")
@click.option("--all", "every", is_flag=True, help="Released ones too.")
@format_option
@pass_config
def holds(config: Config, *, tenant: str, case: str | None, token: str | None, every: bool, format_: Format) -> None:
    """List legal holds, the oldest first; a steward's, an eraser's or an auditor's login sees its tenants'."""
    refuse_numbers(config, tenant, token=token)
    where = {"tenant = %s": tenant, "case_id = %s": case, "token = %s": token}
    where["(released_at IS NULL) = %s"] = None if every else True  # type: ignore[assignment]
    rows = views.read(config.database, "holds", COLUMNS, where=where, order="held_at, token")
    print_rows(rows, COLUMNS if format_ == "json" else TABLE_COLUMNS, format_)


def checked(config: Config, name: Name, tenant: str, case: str, reason: str) -> tuple[Name, Case]:
    """Check what names a token, a case and a reason; raises UsageError, NumberInArgument, CaseRejected and others."""
    if (name.token is None) == (name.alias is None):
        message = "give a TOKEN or --alias"
        raise click.UsageError(message)
    refuse_numbers(config, tenant, token=name.token, alias=name.alias)
    return name, Case(*read_case(config, tenant, case, reason))


def answered(verdict: str, token: str | None, tenant: str) -> tuple[bool, str]:
    """Say whether a verdict means that something was done; raises TokenUnknown, CaseRejected."""
    if verdict == "UNKNOWN" or token is None:
        raise TokenUnknown(tenant=tenant)
    if verdict == "REFUSED":
        raise CaseRejected(option="--case or --reason", why="the database does not take it")
    return verdict != "UNCHANGED", token
