"""``esl-shield dispatcher``: posts events to tenants' webhooks."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result

if TYPE_CHECKING:
    from esl_shield.config import Config


@click.command()
@click.option("--once", is_flag=True, help="Post what is due, say what became of it, and end.")
@format_option
@pass_config
def dispatcher(config: Config, *, once: bool, format_: Format) -> int:
    """Run the dispatcher: posts what happens to calls to the tenants' webhooks, until SIGTERM.

    It needs [database] with a dispatcher's login (`db login NAME --role dispatcher --all-tenants`) and [webhooks]
    secret, which the webhooks' own secrets are derived from. Several may run. See docs/webhooks.md.

      esl-shield --config dispatcher.toml dispatcher --once
    """
    from esl_shield.cli.signals import Signals  # noqa: PLC0415 - `--help` needs none of them
    from esl_shield.db.engine import Database  # noqa: PLC0415
    from esl_shield.service import log  # noqa: PLC0415
    from esl_shield.service.hardening import harden  # noqa: PLC0415
    from esl_shield.service.notify import Notifier  # noqa: PLC0415
    from esl_shield.service.webhooks.dispatcher import Dispatcher  # noqa: PLC0415

    harden()
    with contextlib.closing(Database(config.database, application_name="esl-shield dispatcher")) as database:
        made = Dispatcher.from_config(config, database)
        with contextlib.closing(made):
            if once:
                sent = made.run_dry()
                print_result(dataclasses.asdict(sent), [f"{sent.taken} taken, {sent.failed} attempts failed"], format_)
                return 0
            log.set_up("dispatcher")
            notifier, stop = Notifier.from_environment(), threading.Event()
            signals = Signals(stop)
            print("dispatcher ready", file=sys.stderr, flush=True)
            notifier.ready("posting events")
            made.run_until(stop, notifier.alive)
            notifier.stopping("ending")
    return signals.exit_code
