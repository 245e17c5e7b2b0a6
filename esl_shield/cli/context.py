"""What every command shares: the configuration, read only when a command needs it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from esl_shield import config as configuration
from esl_shield.errors.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config import Config

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Context:
    """The root command's options; ``config`` reads the file on first use, so ``--help`` works without one."""

    def __init__(self, config_path: str | None) -> None:
        self.config_path = config_path

    @functools.cached_property
    def config(self) -> Config:
        """The configuration; raises ConfigError."""
        return configuration.load(self.config_path)


def pass_config(command: Callable[Concatenate[Config, _P], _R]) -> Callable[_P, _R]:
    """Give a command the configuration as its first argument, and its complaints about it the file's name."""

    @functools.wraps(command)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        context = click.get_current_context().find_object(Context)
        if context is None:
            message = "the root command was not run"
            raise RuntimeError(message)
        config = context.config
        try:
            return command(config, *args, **kwargs)
        except ConfigError as error:
            raise error.in_file(config.source) from None

    return wrapper
