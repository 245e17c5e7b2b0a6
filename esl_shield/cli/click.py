"""``esl-shield click``: rings an agent's phone and then calls a token."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click as command_line

from esl_shield.cli.careful import CarefulCommand, refuse_numbers
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result
from esl_shield.vault import tokens

if TYPE_CHECKING:
    from esl_shield.config import Config

APPLICATION = "esl_shield clicks"


@command_line.command(cls=CarefulCommand)
@command_line.argument("agent")
@command_line.argument("name", metavar="TOKEN|ALIAS")
@command_line.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@command_line.option("--ref", metavar="ID", help="The business ID the call carries: task, order.")
@command_line.option("--key", metavar="K", help="Idempotency key: the same again is the same call, for 7 days.")
@command_line.option("--no-wait", is_flag=True, help="Do not wait until the agent has answered.")
@format_option
@pass_config
def click(
    config: Config, *, agent: str, name: str, tenant: str, ref: str | None, key: str | None, no_wait: bool,
    format_: Format,
) -> None:  # fmt: skip
    r"""Ring an agent's phone; once it is answered, call the token's customer.

    Takes a dialler's login and [clicks] with FreeSWITCH's event socket; the customer is called through gateways of edge
    delivery. Exit code 1: the agent did not answer, has had too many clicks, or may not dial the token; 3: FreeSWITCH
    or the database is away, and no phone rings.

    \b
    esl-shield click 1001 70123456789012 --tenant bank --ref TASK-812 --key 5f2d
    esl-shield click 1001 C-20231 --tenant bank
    """
    from esl_shield.db.engine import Database  # noqa: PLC0415 - `--help` needs no database
    from esl_shield.service.clicks import SETTLE_S, Click, Clicks  # noqa: PLC0415

    token, alias = (name, None) if tokens.is_valid(name) else (None, name)
    refuse_numbers(config, tenant, token=token, alias=alias)
    with contextlib.closing(Database(config.database, application_name=APPLICATION, needs="a dialler's")) as database:
        clicks = Clicks.from_config(config, database)
        wait_s = SETTLE_S if no_wait else clicks.whole_s
        done = clicks.click(tenant, Click(agent, token, alias, ref, key), wait_s=wait_s)
    line = f"{done.outcome}: agent {agent} for token {done.token}, click {done.channel}"
    print_result(done._asdict(), [line], format_)
