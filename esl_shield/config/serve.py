"""The supervisor's file: which processes ``esl-shield serve`` keeps alive, as whom, with which configuration.

Invariants: it holds no secret and names none; each role's own file does, and only the role's own process reads that.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from esl_shield.config.reading import build
from esl_shield.config.values import Address, positive
from esl_shield.errors.config import ConfigError

MOST_PROCESSES = 256


@dataclass(frozen=True)
class ProcessConfig:
    """``count`` processes of one role with one configuration file, run as ``user`` (none: as the supervisor is)."""

    role: str
    config: str
    count: int = 1
    user: str | None = None

    def __post_init__(self) -> None:
        if not self.config.startswith("/"):
            message = f"[[serve.process]] config = {self.config!r} must be an absolute path"
            raise ValueError(message)
        if not 1 <= self.count <= MOST_PROCESSES:
            message = f"[[serve.process]] count must be 1 to {MOST_PROCESSES}"
            raise ValueError(message)


@dataclass(frozen=True)
class ServeConfig:
    """How children are watched; times are in seconds."""

    process: tuple[ProcessConfig, ...] = ()
    metrics: Address | None = None
    start_timeout_s: float = 30.0
    hang_timeout_s: float = 5.0
    most_backoff_s: float = 30.0

    def __post_init__(self) -> None:
        positive(self, "serve", "start_timeout_s", "hang_timeout_s", "most_backoff_s")
        if not self.process:
            message = "there is no [[serve.process]], so there is nothing to keep alive"
            raise ValueError(message)
        if self.metrics is not None and not self.metrics.is_loopback:
            message = "[serve] metrics must be a loopback address; put a proxy in front of it"
            raise ValueError(message)


@dataclass(frozen=True)
class ServeFile:
    """The whole file."""

    serve: ServeConfig = field(default_factory=ServeConfig)


def load(path: str) -> ServeConfig:
    """Read the supervisor's file; raises ConfigError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(source=path, problem=f"it cannot be read ({problem})") from None
    return loads(text, source=path)


def loads(text: str, *, source: str = "text") -> ServeConfig:
    """Read it from TOML text; ``source`` names it in errors. Raises ConfigError."""
    try:
        return build(ServeFile, tomllib.loads(text), where="").serve
    except (tomllib.TOMLDecodeError, ValueError, TypeError) as error:
        raise ConfigError(source=source, problem=str(error)) from None
