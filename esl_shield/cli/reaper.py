"""``esl-shield reaper``: ends the records of calls that nobody else ends."""

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
@click.option("--once", is_flag=True, help="Look once, say what was found, and end.")
@format_option
@pass_config
def reaper(config: Config, *, once: bool, format_: Format) -> int:
    """Run the reaper: every second, ask FreeSWITCH about open calls whose worker died, until SIGTERM.

    It needs [database] with a reaper's login (`db login NAME --role reaper --all-tenants`) and in [reaper] every
    FreeSWITCH calls may be on. A call whose leg is up is left alone. One whose legs are gone is ended by FreeSWITCH's
    record (see `intake`), or, without one after [reaper] record_wait_s, as LOST.

      esl-shield --config reaper.toml reaper --once
    """
    from esl_shield.cli.signals import Signals  # noqa: PLC0415 - `--help` needs none of them
    from esl_shield.db.engine import Database  # noqa: PLC0415
    from esl_shield.service import log  # noqa: PLC0415
    from esl_shield.service.hardening import harden  # noqa: PLC0415
    from esl_shield.service.notify import Notifier  # noqa: PLC0415
    from esl_shield.service.reaper import Reaper  # noqa: PLC0415

    harden()
    with contextlib.closing(Database(config.database, application_name="esl-shield reaper")) as database:
        made = Reaper.from_config(config, database)
        with contextlib.closing(made):
            if once:
                looked = made.look()
                words = [f"{count} {verdict.lower()}" for verdict, count in sorted(looked.verdicts.items())]
                lines = [f"{looked.open} to look at: {', '.join([f'{looked.up} up', *words])}"]
                print_result(dataclasses.asdict(looked), lines, format_)
                return 0
            log.set_up("reaper")
            notifier, stop = Notifier.from_environment(), threading.Event()
            signals = Signals(stop)
            print(f"reaper ready, asking {len(made.switches)} FreeSWITCH", file=sys.stderr, flush=True)
            notifier.ready(f"asking {len(made.switches)} FreeSWITCH")
            made.run_until(stop, notifier.alive, alive_every_s=notifier.ping_every_s)
            notifier.stopping("ending")
    return signals.exit_code
