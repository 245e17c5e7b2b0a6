"""``esl-shield top``: what the processes do now, live or once for a script."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import Context
from esl_shield.cli.output import Format, format_option, print_json, print_line
from esl_shield.config import CONFIG_VARIABLE
from esl_shield.config.values import MAX_PORT, Address

if TYPE_CHECKING:
    from esl_shield.service.top.figures import Figures, Moment

LEAST_S, MOST_S = 0.2, 60.0
AWAY = 3


def _addresses(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Address, ...]:
    """Read HOST:PORT; anything else is refused and not repeated."""
    found = []
    for value in values:
        match = re.fullmatch(r"(\[[0-9A-Fa-f:]{2,39}\]|[A-Za-z0-9.\-]{1,253}):([0-9]{1,5})", value)
        if not match or not 0 < int(match[2]) <= MAX_PORT:
            message = "each must be HOST:PORT, such as 127.0.0.1:9101"
            raise click.BadParameter(message)
        found.append(Address(match[1].strip("[]"), int(match[2])))
    return tuple(found)


@click.command()
@click.argument("targets", nargs=-1, metavar="[HOST:PORT]...", callback=_addresses)
@click.option(
    "--every", "every_s", type=click.FloatRange(LEAST_S, MOST_S), default=2.0, show_default=True, metavar="SECONDS",
    help="How often to look; rates and quantiles are of this time.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Look twice, print what happened in between, and end.")
@format_option
@click.pass_context
def top(ctx: click.Context, *, targets: tuple[Address, ...], every_s: float, once: bool, format_: Format) -> int:
    """Show calls, times, slots, pools and lag of running processes, out of their metrics pages.

    HOST:PORT are the pages' addresses, of workers, resolvers and sealers; without any, [metrics] listen of the
    configuration. It needs no login and no right. q ends it. With --once it prints one look, and the exit code is 3
    when a target is away:

      esl-shield top 127.0.0.1:9101 127.0.0.1:9102 127.0.0.1:9120

      esl-shield top --once --format json 127.0.0.1:9101
    """
    chosen = targets or _configured(ctx)
    if format_ == "json" and not once:
        message = "--format json goes with --once"
        raise click.UsageError(message)
    if once:
        return _once(chosen, every_s, format_)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        message = "this is no terminal; give --once"
        raise click.UsageError(message)
    _live(chosen, every_s)
    return 0


def _configured(ctx: click.Context) -> tuple[Address, ...]:
    context = ctx.find_object(Context)
    named = context is not None and (context.config_path or os.environ.get(CONFIG_VARIABLE))
    listen = context.config.metrics.listen if context and named else None
    if listen is None:
        message = "name the processes' metrics addresses, such as 127.0.0.1:9101"
        raise click.UsageError(message)
    return (listen,)


def _look(targets: tuple[Address, ...]) -> Moment:
    from esl_shield.service.top.figures import Moment  # noqa: PLC0415 - `--help` needs no parser
    from esl_shield.service.top.pages import fetch_all  # noqa: PLC0415

    return Moment(fetch_all(targets))


def _compare(before: Moment, after: Moment) -> Figures:
    from esl_shield.service.top.figures import compare  # noqa: PLC0415

    return compare(before, after)


def _once(targets: tuple[Address, ...], every_s: float, format_: Format) -> int:
    from esl_shield.service.top.screen import lines  # noqa: PLC0415

    before = _look(targets)
    time.sleep(every_s)
    figures = _compare(before, _look(targets))
    if format_ == "json":
        print_json(figures.plain())
    else:
        for line in lines(figures):
            print_line(line)
    return AWAY if figures.away else 0


def _live(targets: tuple[Address, ...], every_s: float) -> None:
    """Draw until q is pressed; Ctrl-C comes as KeyboardInterrupt, after the terminal was given back."""
    from esl_shield.service.top.figures import Moment  # noqa: PLC0415
    from esl_shield.service.top.screen import lines, terminal  # noqa: PLC0415

    before = Moment([])  # of nothing, so the first screen has no rates
    with terminal() as screen:
        while True:
            after = _look(targets)
            screen.draw([*lines(_compare(before, after)), "", "q ends"])
            if screen.wait(every_s) in ("q", "Q"):
                return
            before = after
