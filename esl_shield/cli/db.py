"""``esl-shield db``: the database's roles, schema and logins; run by an administrator."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config
from esl_shield.cli.maintain import maintain
from esl_shield.cli.output import Format, format_option, print_result
from esl_shield.cli.prompts import confirm
from esl_shield.db.schema import LOGIN_ROLES

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.db.upgrade import UpgradeReport

DEFAULT_MINT_PER_S = 100
_RATED = ("worker", "masker")
# Also known to db/logins.py, which `--help` does not import.
REVEALER = "revealer"
REVEAL_RIGHTS = ("request", "approve")
DEFAULT_LOOKUPS_PER_S = 50


@click.group()
def db() -> None:
    """Create and upgrade the database, its roles and logins.

    A new site runs `db roles`, `db upgrade`, then `db login` for each process, with a superuser's or the database
    owner's login in [database] url.
    """


db.add_command(maintain)


@db.command()
@format_option
@pass_config
def roles(config: Config, format_: Format) -> None:
    """Create those of our roles this cluster lacks; needs CREATEROLE. Harmless when they are there."""
    from esl_shield.db.engine import sqlalchemy_engine  # noqa: PLC0415 - `--help` needs no SQLAlchemy
    from esl_shield.db.upgrade import make_roles  # noqa: PLC0415

    made = make_roles(sqlalchemy_engine(config.database))
    print_result({"created": made}, [f"created {', '.join(made)}" if made else "all roles are there"], format_)


@db.command()
@format_option
@pass_config
def upgrade(config: Config, format_: Format) -> None:
    """Bring tables, functions, views, policies and rights to this release; harmless when they are.

    Run it at any time, at least once a year: it also makes the partitions of the next twelve months.
    """
    from esl_shield.db.engine import sqlalchemy_engine  # noqa: PLC0415
    from esl_shield.db.upgrade import upgrade as apply  # noqa: PLC0415

    report = apply(sqlalchemy_engine(config.database))
    print_result(_fields(report), [_upgraded(report)], format_)


@db.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
@pass_config
def downgrade(config: Config, yes: bool, format_: Format) -> None:
    """Undo the newest revision AND DELETE the rows of its tables; functions and views go too.

    Afterwards run the older release's `db upgrade`, which puts its own functions back.
    """
    from esl_shield.db.engine import sqlalchemy_engine  # noqa: PLC0415
    from esl_shield.db.upgrade import downgrade as undo  # noqa: PLC0415

    if not yes:
        confirm("The rows of the newest revision's tables will be lost. Go on?")
    report = undo(sqlalchemy_engine(config.database))
    line = f"downgraded from {report.revision_before} to {report.revision_after or 'nothing'}"
    print_result(_fields(report), [line], format_)


@db.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(LOGIN_ROLES), help="What the login is for.")
@click.option("--tenant", "tenants", multiple=True, metavar="T", help="A tenant it may see; repeatable.")
@click.option("--all-tenants", is_flag=True, help="It may see every tenant, future ones too.")
@click.option(
    "--delivery",
    "deliveries",
    multiple=True,
    type=click.Choice(["edge", "direct"]),
    help="resolver: a delivery whose permits it may redeem; repeatable, default both.",
)
@click.option(
    "--mint-per-s",
    type=click.IntRange(min=0),
    help=f"worker, masker: most permits it may mint, or callers mask, in a second; default {DEFAULT_MINT_PER_S}.",
)
@click.option("--person", metavar="NAME", help="revealer: the name of the one person whose login it is.")
@click.option(
    "--may",
    "rights",
    multiple=True,
    type=click.Choice(REVEAL_RIGHTS),
    help="revealer: what this person may do; repeatable.",
)
@click.option(
    "--lookups-per-s",
    type=click.IntRange(min=0),
    help=f"scanner: most numbers it may look up in a second; default {DEFAULT_LOOKUPS_PER_S}.",
)
@format_option
@pass_config
def login(  # noqa: PLR0917 - click passes by name
    config: Config,
    name: str,
    role: str,
    tenants: tuple[str, ...],
    all_tenants: bool,
    deliveries: tuple[str, ...],
    mint_per_s: int | None,
    person: str | None,
    rights: tuple[str, ...],
    lookups_per_s: int | None,
    format_: Format,
) -> None:
    """Create the login NAME, or change it to what is given.

    Its password, 12 characters or more, comes on standard input. Run by a superuser it also keeps the login's
    statements out of the server's log; otherwise it says what a superuser must run.

    A revealer without --may keeps its login and may do nothing with it.
    """
    from esl_shield.db.engine import sqlalchemy_engine  # noqa: PLC0415
    from esl_shield.db.logins import make_login  # noqa: PLC0415

    if bool(tenants) == all_tenants:
        message = "give --tenant, once or more, or --all-tenants"
        raise click.UsageError(message)
    if deliveries and role != "resolver":
        message = "--delivery is for --role resolver"
        raise click.UsageError(message)
    if mint_per_s is not None and role not in _RATED:
        message = "--mint-per-s is for --role worker and --role masker"
        raise click.UsageError(message)
    if (person or rights) and role != REVEALER:
        message = "--person and --may are for --role revealer"
        raise click.UsageError(message)
    if lookups_per_s is not None and role != "scanner":
        message = "--lookups-per-s is for --role scanner"
        raise click.UsageError(message)
    if role in _RATED and mint_per_s is None:
        mint_per_s = DEFAULT_MINT_PER_S
    if role == "scanner" and lookups_per_s is None:
        lookups_per_s = DEFAULT_LOOKUPS_PER_S
    made = make_login(
        sqlalchemy_engine(config.database),
        name,
        _password(),
        role=role,
        tenants=None if all_tenants else tenants,
        deliveries=deliveries or None,
        mint_per_s=mint_per_s,
        person=person,
        rights=rights,
        lookups_per_s=lookups_per_s,
    )
    what = "created" if made.new else "updated"
    fields = {"login": name, "role": role, "outcome": what}
    print_result(fields, [f"{what} login {name} for role {role}"], format_)
    if made.missing:
        click.echo(f"the server's log may hold what {name} asks for; as a superuser run: {made.missing}", err=True)


@db.command("unlock")
@click.argument("name", metavar="LOGIN")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept for good.")
@format_option
@pass_config
def unlock(config: Config, name: str, reason: str, format_: Format) -> None:
    """Let a worker's login mint permits again that the reaper locked; the reason stands in the audit trail.

    Needs the administrator's login. Change its password first if it may have been stolen.

      esl-shield db unlock worker1 --reason "edge was moved, permits went to the old one"
    """
    from esl_shield.vault.policy import unlock_login  # noqa: PLC0415 - `--help` needs no database

    outcome = unlock_login(config.database, name, reason)
    print_result({"login": name, "outcome": outcome}, [f"{outcome}: login {name}"], format_)


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _fields(report: UpgradeReport) -> dict[str, object]:
    return {
        "changed": report.changed,
        "revision_before": report.revision_before,
        "revision_after": report.revision_after,
        "sql_applied": report.sql_applied,
        "months_made": report.months_made,
    }


def _upgraded(report: UpgradeReport) -> str:
    if not report.changed:
        return f"up to date at revision {report.revision_after}"
    parts = [f"at revision {report.revision_after} (was {report.revision_before or 'none'})"]
    if report.sql_applied:
        parts.append("functions, views and rights applied")
    if report.months_made:
        parts.append(f"{report.months_made} monthly partitions made")
    return ", ".join(parts)
