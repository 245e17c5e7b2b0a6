"""Drawing figures: lines of plain text, and a terminal that shows them, wherever it is and however large.

Invariants: nothing is wider or longer than the terminal; text from a page shows control characters as escapes; the
terminal is given back as it was, however the block ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esl_shield.service.top.figures import Figures

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
MOST_LISTED = 12


def lines(figures: Figures) -> list[str]:
    """Return the figures as lines of text."""
    targets = ", ".join(f"{count} {role or 'unknown'}" for role, count in sorted(figures.targets.items())) or "nobody"
    of = figures
    shown = [
        f"esl-shield   {targets} answering" + (f"   over {of.seconds:.1f} s" if of.seconds else ""),
        *(f"AWAY         {away.target}: {_clean(away.problem)}" for away in of.away),
        "",
        f"handoffs     {_rate(of.handoffs_per_s)}   p50 {_ms(of.handoff_p50_ms)}   p99 {_ms(of.handoff_p99_ms)}",
        f"redemptions  {_rate(of.redemptions_per_s)}   p50 {_ms(of.redeem_p50_ms)}   p99 {_ms(of.redeem_p99_ms)}",
        "calls        "
        + _joined(f"{_whole(of.open_calls)} open of {_whole(of.call_slots)}", "overflow", of.overflow_calls)
        + f"   records untold {_whole(of.untold_records)}",
        "database     "
        + _joined(f"{_whole(of.connections_in_use)} of {_whole(of.connections)} in use", "waiting", of.waiting_calls)
        + f"   away {_rate(of.database_away_per_s)}",
        f"sealing lag  {'-' if of.sealing_lag_s is None else f'{of.sealing_lag_s:.1f} s'}",
        *([f"DOWN         gateway {_clean(', '.join(of.gateways_down))}"] if of.gateways_down else []),
    ]
    for title, rates in (
        ("outcome", of.outcomes_per_s), ("refused", of.refusals_per_s), ("tenant", of.tenants_per_s)
    ):  # fmt: skip
        shown += _listed(title, rates)
    return shown


def fit(text: Sequence[str], columns: int, rows: int) -> list[str]:
    """Cut lines to a terminal's size; what is left out below is said."""
    kept = list(text[:rows])
    if len(text) > rows > 0:
        kept[-1] = f"... {len(text) - rows + 1} lines more"
    return [line[:columns] for line in kept]


class Terminal:
    """A screen of its own on a terminal; keys are read without Enter."""

    def draw(self, text: Sequence[str]) -> None:
        """Show these lines, cut to the size the terminal has now."""
        size = os.get_terminal_size(sys.stdout.fileno())
        body = "\n".join(line + _CLEAR_LINE for line in fit(text, size.columns, size.lines - 1))
        sys.stdout.write(_HOME + body + _CLEAR_BELOW)
        sys.stdout.flush()

    def wait(self, seconds: float) -> str:
        """Return the key pressed within so many seconds, else nothing."""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return os.read(sys.stdin.fileno(), 1).decode("latin-1") if ready else ""


@contextlib.contextmanager
def terminal() -> Iterator[Terminal]:
    """Take the terminal's other screen and single keys until the block ends."""
    descriptor = sys.stdin.fileno()
    kept = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        sys.stdout.write(_ENTER)
        yield Terminal()
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, kept)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _listed(title: str, rates: Mapping[str, float]) -> list[str]:
    if not rates:
        return []
    shown = [f"  {_clean(name):<40} {rate:8.1f}/s" for name, rate in list(rates.items())[:MOST_LISTED]]
    left = len(rates) - MOST_LISTED
    return ["", title, *shown, *([f"  {left} more"] if left > 0 else [])]


def _joined(first: str, name: str, value: float | None) -> str:
    return f"{first}   {name} {_whole(value)}"


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}/s"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
