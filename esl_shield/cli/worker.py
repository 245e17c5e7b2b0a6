"""``esl-shield worker``: the process FreeSWITCH parks calls into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config

if TYPE_CHECKING:
    from esl_shield.config import Config


@click.command()
@pass_config
def worker(config: Config) -> int:
    """Run the worker: listen where FreeSWITCH's dialplan connects ([esl] listen) until SIGTERM.

    It needs [database] with a worker's login and at least one [[gateways]]; it must not be able to read the KEK.
    On SIGTERM it takes no new calls, gives live ones [esl] drain_timeout_s to end and exits; calls still up go on.
    """
    from esl_shield.service.processes import run_worker  # noqa: PLC0415 - keeps gevent out of other commands

    return run_worker(config)
