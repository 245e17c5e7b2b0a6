"""The section of the dispatcher, which posts events to tenants' webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from esl_shield.config.values import positive

MOST_AT_ONCE = 256


@dataclass(frozen=True)
class WebhooksConfig:
    """The master secret webhooks' secrets are derived from, and how long receivers are waited for and tried again."""

    secret: str
    ca_file: str | None = None
    timeout_s: float = 10.0
    at_once: int = 64
    at_once_each: int = 16
    give_up_h: float = 72.0
    keep_dead_days: float = 30.0

    def __post_init__(self) -> None:
        positive(self, "webhooks", "timeout_s", "at_once", "at_once_each", "give_up_h", "keep_dead_days")
        if not self.secret.startswith("file:"):
            message = "[webhooks] secret must be file:PATH"
            raise ValueError(message)
        if self.at_once > MOST_AT_ONCE or self.at_once_each > self.at_once:
            message = f"[webhooks] at_once is {MOST_AT_ONCE} at most, and at_once_each no more than at_once"
            raise ValueError(message)
