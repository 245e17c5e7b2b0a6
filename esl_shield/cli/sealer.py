"""``esl-shield sealer``: the process that seals audit events into signed blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli.careful import CarefulCommand, may_be_number
from esl_shield.cli.context import pass_config
from esl_shield.errors.tokens import NumberInArgument

if TYPE_CHECKING:
    from esl_shield.config import Config


@click.command(cls=CarefulCommand)
@click.option(
    "--accept-restore", "reason", metavar="REASON", default="",
    help="Go on behind a chain that ends before the head exported last; the next block says so, and why.",
)  # fmt: skip
@pass_config
def sealer(config: Config, reason: str) -> int:
    """Run the sealer: every second, seal new audit events into a signed block, until SIGTERM.

    It needs [database] with a sealer's login and [sealing] with a key from `esl-shield audit init-key`. Of several, one
    seals and the others stand by. After a restore of an old backup it refuses to go on, and says so, until it was
    started once with, for example, --accept-restore "restored last night's backup, ticket OPS-17".
    """
    if may_be_number(reason):
        raise NumberInArgument(argument="What was given as --accept-restore")
    from esl_shield.service.processes import run_sealer  # noqa: PLC0415 - keeps gevent out of other commands

    return run_sealer(config, restore_reason=reason)
