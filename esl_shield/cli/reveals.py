"""``esl-shield reveal``: one look-up for one case, by two people.

Invariants: a number comes by standard input and goes to the resolver alone; the answer goes to a terminal or into a new
file only its owner can read, once, and names both people in every line of it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulCommand, CarefulGroup, read_token, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, cell, format_option, moment, print_result, print_rows
from esl_shield.cli.prompts import confirm, read_number
from esl_shield.cli.watermark import sink, spell
from esl_shield.errors import ShieldError
from esl_shield.errors.reveals import RevealLost, RevealRefused, TextRejected
from esl_shield.errors.tokens import NumberInArgument
from esl_shield.resolver.desk import desk
from esl_shield.service.hardening import harden
from esl_shield.vault import lookalikes, numbers

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator

    from esl_shield.config import Config
    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.numbers import SubscriberNumber

COLUMNS = (
    "id", "tenant", "kind", "token", "case_id", "reason", "state", "requester", "requester_person", "approver",
    "approver_person", "denied_by", "requested_at", "approved_at", "opened_at", "disclosed_at", "expires_at",
)  # fmt: skip
TABLE_COLUMNS = (
    "requested_at", "id", "tenant", "kind", "token", "case_id", "state", "requester_person", "approver_person",
    "minutes_left",
)  # fmt: skip
CALLS = "calls"
LIVE = ("DRAFT", "REQUESTED", "APPROVED")
MAX_LENGTHS = {"--case": 64, "--reason": 300}

id_argument = click.argument("reveal_id", type=click.UUID, metavar="ID")


@click.command(cls=CarefulCommand)
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@click.option("--case", required=True, metavar="C", help="The case's id, such as the complaint's; kept for good.")
@click.option("--reason", required=True, metavar="TEXT", help="Why this case needs it; kept for good.")
@click.option("--token", callback=read_token, metavar="TOKEN", help="Ask for the number behind this token.")
@click.option("--calls", is_flag=True, help="Ask for the calls of a number, which comes on standard input.")
@format_option
@pass_config
def request(
    config: Config, *, tenant: str, case: str, reason: str, token: str | None, calls: bool, format_: Format
) -> None:
    """Ask for one look-up: the number behind a token, or the calls of a number.

    Another person approves it, then you open it, all within 15 minutes. An example:

    \b
    esl-shield reveal request --tenant bank --case K-2031 --reason "complaint of 3 March" --token 70123456789012
    esl-shield reveal request --tenant bank --case K-2031 --reason "who called me?" --calls
    """  # noqa: D301 - click reads the backspace
    if (token is None) != calls:
        message = "give --token TOKEN or --calls"
        raise click.UsageError(message)
    refuse_numbers(config, tenant, token=token)
    region = views.tenant(config.database, tenant)["region"]
    for option, text in (("--case", case), ("--reason", reason)):
        _check_text(option, text, region)
    with desk(config) as office:
        if token is not None:
            asked = office.request_number(tenant, token, case, reason)
        else:
            number = numbers.parse(read_number(), region)
            if lookalikes.holds_number(f"{case} {reason}", number):
                raise NumberInArgument(argument="What was given as --case or --reason")
            asked = office.request_calls(tenant, number, case, reason)
    line = f"requested {asked.id}: another person approves it and you open it before {moment(asked.expires_at)}"
    print_result({"id": asked.id, "expires_at": asked.expires_at}, [line], format_)


@click.command("list", cls=CarefulCommand)
@click.option("--tenant", metavar="T", help="Only this tenant's.")
@click.option("--case", metavar="C", help="Only this case's.")
@click.option("--live", is_flag=True, help="Only what can still be approved or opened.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many, the latest.")
@format_option
@pass_config
def list_(config: Config, *, tenant: str | None, case: str | None, live: bool, limit: int, format_: Format) -> None:
    """List who asked what for which case, the latest last; a revealer's or an auditor's login sees its tenants'."""
    where = {"tenant = %s": tenant, "case_id = %s": case, "state = ANY (%s)": list(LIVE) if live else None}
    rows = views.read(config.database, "reveals", COLUMNS, where=where, order="requested_at DESC, id", limit=limit)
    for row in rows:
        row["minutes_left"] = _minutes_left(row)
    print_rows(reversed(rows), (*COLUMNS, "minutes_left") if format_ == "json" else TABLE_COLUMNS, format_)


@click.command(cls=CarefulCommand)
@id_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
@pass_config
def approve(config: Config, *, reveal_id: uuid.UUID, yes: bool, format_: Format) -> None:
    """Approve another person's request, after seeing it.

    For the calls of a number give the number yourself, from the case's own papers, on standard input: only the same
    number approves. With a pipe for standard input this takes --yes.
    """
    row = _find(config.database, reveal_id)
    number = None
    if row is not None:
        for name, value in _shown(row).items():
            click.echo(f"{name.ljust(12)}  {cell(value)}", err=True)
        if row["kind"] == CALLS and not yes and not sys.stdin.isatty():
            message = "the number comes by a pipe, so nobody can be asked; give --yes"
            raise click.UsageError(message)
        if not yes:
            confirm("Approve it?")
        if row["kind"] == CALLS and row["state"] == "REQUESTED":
            number = _read_number(config, row["tenant"])
    with desk(config) as office:
        office.approve(reveal_id, number)
    print_result({"id": reveal_id, "outcome": "approved"}, [f"approved {reveal_id}"], format_)


@click.command(cls=CarefulCommand)
@id_argument
@format_option
@pass_config
def deny(config: Config, *, reveal_id: uuid.UUID, format_: Format) -> None:
    """Deny another person's request, or withdraw your own, approved or not."""
    with desk(config) as office:
        office.deny(reveal_id)
    print_result({"id": reveal_id, "outcome": "denied"}, [f"denied {reveal_id}"], format_)


@click.command("open", cls=CarefulCommand)
@id_argument
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A new file (mode 0600), in place of the terminal.",
)
@format_option
@pass_config
def open_(config: Config, *, reveal_id: uuid.UUID, output: Path | None, format_: Format) -> None:
    """Print the answer of your approved request, once.

    Once it is opened it is used, whether the printing works or not. Each line names both people, the case and the time.
    """
    harden()
    row = _find(config.database, reveal_id)
    with sink(output) as write, desk(config) as office:
        opened = office.open(reveal_id)
        if row is None:
            raise RevealRefused
        with _used(reveal_id):
            write(spell(row, opened.opened_at, office.answer(opened), format_))


@click.group(cls=CarefulGroup, commands=[request, list_, approve, deny, open_])
def reveal() -> None:
    """Look up the number behind a token, or a number's calls, for one case by two people within 15 minutes.

    One person requests, another approves, each with a login of their own; the first opens it, once. Every step is in
    the audit trail.
    """


@contextlib.contextmanager
def _used(reveal_id: uuid.UUID) -> Iterator[None]:
    """Whatever goes wrong in the block, say that the reveal is used up; raises RevealLost."""
    try:
        yield
    except (ShieldError, OSError) as error:
        problem = error.error_id if isinstance(error, ShieldError) else error.strerror
    except BaseException:
        click.echo(f"the reveal {reveal_id} is used up", err=True)
        raise
    else:
        return
    raise RevealLost(id=reveal_id, problem=problem)


def _check_text(option: str, text: str, region: str | None) -> None:
    longest = MAX_LENGTHS[option]
    if not text.strip() or len(text.strip()) > longest or not text.isprintable():
        raise TextRejected(option=option, why=f"it must be 1 to {longest} characters on one line")
    if lookalikes.looks_like_number(text, region) or lookalikes.looks_like_id_card(text):
        raise NumberInArgument(argument=f"What was given as {option}")


def _find(database: DatabaseConfig, reveal_id: uuid.UUID) -> dict[str, Any] | None:
    rows = views.read(database, "reveals", COLUMNS, where={"id = %s::uuid": str(reveal_id)})
    return rows[0] if rows else None


def _read_number(config: Config, tenant: str) -> SubscriberNumber:
    return numbers.parse(read_number(), views.tenant(config.database, tenant)["region"])


def _minutes_left(row: dict[str, Any]) -> int | None:
    if row["state"] not in LIVE:
        return None
    return max(0, int((row["expires_at"] - dt.datetime.now(dt.UTC)).total_seconds() // 60))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    what = {"calls of": "a number you give next"} if row["kind"] == CALLS else {"number of": row["token"]}
    return {
        "case": row["case_id"], "reason": row["reason"], "tenant": row["tenant"], **what,
        "requester": f"{row['requester_person']} ({row['requester']})", "state": row["state"],
        "minutes left": _minutes_left(row),
    }  # fmt: skip
