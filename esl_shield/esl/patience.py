"""Whether a call that had to wait for its turn is still taken.

Invariants: who waited longer than ``timeout_s`` is not taken; who waited less than half of it is. In between lies a
pause (of this process, of the machine), after which all are taken, or more calls than can be: then only those are
late for longer than a moment, one after another, and taking them would make every later one late too.
"""

from __future__ import annotations

_MOMENT_S = 0.1


class Patience:
    """Judges the calls of one listener in the order in which their turn comes."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._late_since: float | None = None

    def is_over(self, waited_s: float, now_s: float) -> bool:
        """Whether the call that waited so long, and whose turn it is at ``now_s`` (monotonic), shall be refused."""
        # The other half is for FreeSWITCH's answer, after which the call is looked at once more.
        if waited_s <= self._timeout_s / 2:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since = now_s
        return waited_s > self._timeout_s or now_s - self._late_since > _MOMENT_S
