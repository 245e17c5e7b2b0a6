"""The section of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field

from esl_shield.config.values import positive
from esl_shield.errors.config import ConfigError

_SCHEME = "postgresql+psycopg2://"


@dataclass(frozen=True)
class DatabaseConfig:
    """Where PostgreSQL is and how long we wait for it; its password is in ``url`` or in the file ``password`` names."""

    url: str = field(repr=False)
    pool_size: int = 16
    connect_timeout_s: float = 1.0
    statement_timeout_s: float = 1.2
    password: str | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(_SCHEME):
            message = f"[database] url must start with {_SCHEME}"
            raise ValueError(message)
        holds_password = self.holds_password
        if self.password is not None and not self.password.startswith("file:"):
            message = "[database] password must be file:PATH"
            raise ValueError(message)
        if self.password is not None and holds_password:
            message = "[database] has a password in url and another in password; keep one"
            raise ValueError(message)
        positive(self, "database", "pool_size", "connect_timeout_s", "statement_timeout_s")

    @property
    def holds_password(self) -> bool:
        """Whether ``url`` has a password in it; raises ConfigError when it cannot be read."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415 - `--help` needs no SQLAlchemy
        from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

        try:
            url = make_url(self.url)
        except (ArgumentError, ValueError):
            url = None
        if url is None or "@" in (url.host or ""):  # outside of the handler: the error quotes the URL and its password
            problem = f"it is not {_SCHEME}USER@HOST:PORT/NAME (a password in it has its :/@%? written as %XX)"
            raise ConfigError(source="[database] url", problem=problem)
        return bool(url.password) or "password" in url.query
