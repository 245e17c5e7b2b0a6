"""``esl-shield api`` and ``esl-shield tokeniser``: the HTTP API of tenants' systems, and the part of it with keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli.context import pass_config

if TYPE_CHECKING:
    from esl_shield.config import Config


@click.command()
@pass_config
def api(config: Config) -> int:
    """Run the HTTP API: answer /v1 on [api] listen until SIGTERM.

    It needs [database] with an API's login (`db login NAME --role api --tenant T`) and no [keys]; requests with numbers
    go on to the tokeniser at [api] tokeniser. Make a tenant's key with `esl-shield apikey add`, then, for example:

      curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8092/v1/tokens/by-alias/C-1042
    """
    from esl_shield.service.processes import run_api  # noqa: PLC0415 - keeps gevent out of other commands

    return run_api(config)


@click.command()
@pass_config
def tokeniser(config: Config) -> int:
    """Run the tokeniser: take numbers at POST /v1/tokens and /v1/tokens:batch on [tokeniser] listen until SIGTERM.

    It needs [database] with a seeder's login and [keys] kek. It answers tokens, never numbers, to whoever has a key of
    `esl-shield apikey add` with the scope tokens:write: the API, or a tenant's system itself.
    """
    from esl_shield.service.processes import run_tokeniser  # noqa: PLC0415 - keeps gevent out of other commands

    return run_tokeniser(config)
