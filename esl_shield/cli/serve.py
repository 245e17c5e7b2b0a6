"""``esl-shield serve``: the supervisor, which keeps all other processes alive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from esl_shield import config as configuration
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from esl_shield.cli.context import Context


@click.command()
@click.option(
    "--describe",
    "role",
    metavar="ROLE",
    help="Check a role's own --config as the role would, and print it as the supervisor sees it.",
)
@click.pass_obj
def serve(context: Context, role: str | None) -> int:
    """Run workers, resolvers, a sealer and a housekeeper, and keep them alive, until SIGTERM.

    Its --config says which; each role has a configuration and, if this is started as root, a Unix user of its own:

      [[serve.process]]
      role = "worker"
      count = 2
      config = "/etc/esl-shield/worker.toml"
      user = "esl-worker"

    SIGHUP checks every file, starts new processes and lets the old ones go when these are ready; no call is refused. On
    SIGTERM calls have [esl] drain_timeout_s to end; a second SIGTERM ends them at once with their records written.
    """
    if role is not None:
        _describe(context, role)
        return 0
    from esl_shield.service.supervisor import supervisor  # noqa: PLC0415 - `--help` needs none of it

    path = context.config_path or os.environ.get(configuration.CONFIG_VARIABLE)
    if not path:
        problem = f"none was named; give --config FILE or set {configuration.CONFIG_VARIABLE}"
        raise ConfigError(source="file", problem=problem)
    return supervisor.run(path)


def _describe(context: Context, role: str) -> None:
    from esl_shield.service.supervisor.kinds import KINDS  # noqa: PLC0415

    if role not in KINDS:
        message = f"--describe takes {', '.join(KINDS)}"
        raise click.UsageError(message)
    config = context.config
    try:
        click.echo(KINDS[role].describe(config).spelled)
    except ConfigError as error:
        raise error.in_file(config.source) from None
