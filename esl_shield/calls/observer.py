"""Whoever counts what happens to calls, as the rooms that tell it know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from esl_shield.calls.states import Cause


class Observer(Protocol):
    """Whoever counts what happens; it is given words from a fixed set, never data of a call."""

    def count(self, kind: str, reason: str, domain: str = "") -> None:
        """Count one occurrence; ``domain`` is the tenant's, where it is known."""

    def attempted(self, gateway: str, cause: Cause | None) -> None:
        """Take note of what an attempt through a gateway came to; None: it was answered."""

    def handed_off(self, duration_s: float) -> None:
        """Record the time from the accepted connection to the bridge command."""
