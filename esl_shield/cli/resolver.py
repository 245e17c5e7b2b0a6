"""``esl-shield resolver``: the process that exchanges permits for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config

if TYPE_CHECKING:
    from esl_shield.config import Config


@click.command()
@pass_config
def resolver(config: Config) -> int:
    """Run the resolver: answer POST /redeem and POST /reveal on [resolver] listen until SIGTERM.

    It needs [database] with a resolver's login, [keys] kek, [resolver] secrets and every gateway in [[gateways]].
    """
    from esl_shield.service.processes import run_resolver  # noqa: PLC0415 - keeps gevent out of other commands

    return run_resolver(config)
