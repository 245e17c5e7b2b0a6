"""``esl-shield intake``: FreeSWITCH's call records complete the calls whose worker died."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result
from esl_shield.errors.endings import SpoolLeft

if TYPE_CHECKING:
    from esl_shield.config import Config


@click.command()
@click.option(
    "--spool", "folder", metavar="DIR",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Take the records FreeSWITCH wrote to this folder while nobody answered, and end.",
)  # fmt: skip
@format_option
@pass_config
def intake(config: Config, *, folder: str | None, format_: Format) -> int:
    """Run the intake: FreeSWITCH's mod_json_cdr posts to http://[intake] listen/cdr, until SIGTERM.

    It needs [database] with an intake's login (`db login NAME --role intake --all-tenants`) and [intake] secret, the
    password of the `cred` in json_cdr.conf. It also takes up what FreeSWITCH wrote to the folders of [intake] spool
    while it was away; by hand, once, for example:

      esl-shield --config intake.toml intake --spool /var/spool/freeswitch/json_cdr
    """
    if folder is None:
        from esl_shield.service.processes import run_intake  # noqa: PLC0415 - keeps gevent out of other commands

        return run_intake(config)
    from esl_shield.db.engine import Database  # noqa: PLC0415 - `--help` needs no database
    from esl_shield.service.intake import Records  # noqa: PLC0415
    from esl_shield.service.metrics import IntakeMetrics  # noqa: PLC0415
    from esl_shield.service.spool import Spool, Swept  # noqa: PLC0415

    total, spool = Swept(), Spool(folder)
    with contextlib.closing(Database(config.database, application_name="esl-shield intake")) as database:
        records = Records(database, IntakeMetrics())
        while (swept := spool.sweep(records.take)).taken + swept.rejected:
            total.taken += swept.taken
            total.rejected += swept.rejected
        records.settle()
    total.left = swept.left
    lines = [f"{total.taken} records taken, {total.rejected} set aside, {total.left} left"]
    print_result(dataclasses.asdict(total), lines, format_)
    if total.rejected or total.left:
        raise SpoolLeft(count=total.rejected + total.left, rejected=total.rejected, left=total.left)
    return 0
