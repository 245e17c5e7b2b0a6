"""The section of how long calls and audit events stay, and of the months made ahead."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_CALLS_MONTHS = 6
LEAST_AUDIT_MONTHS = 12
MOST_AHEAD = 36


@dataclass(frozen=True)
class RetentionConfig:
    """In whole months after a month's end; for the housekeeper alone.

    Six months are the least logs are kept by China's Cybersecurity Law (article 21); the database holds that line too.
    """

    calls_months: int = 24
    audit_months: int = 60
    months_ahead: int = 12
    legal_hold: bool = False
    drop: bool = False

    def __post_init__(self) -> None:
        if self.calls_months < LEAST_CALLS_MONTHS:
            message = f"[retention] calls_months must be {LEAST_CALLS_MONTHS} or more"
            raise ValueError(message)
        if self.audit_months < max(LEAST_AUDIT_MONTHS, self.calls_months):
            message = f"[retention] audit_months must be {LEAST_AUDIT_MONTHS} or more, and no less than calls_months"
            raise ValueError(message)
        if not 1 <= self.months_ahead <= MOST_AHEAD:
            message = f"[retention] months_ahead must be 1 to {MOST_AHEAD}"
            raise ValueError(message)
