"""Moments and spans of time as options take them: one spelling for all commands."""

from __future__ import annotations

import datetime as dt
import re

from esl_shield.errors.process import TimeRejected
from esl_shield.errors.tokens import ExpiryRejected
from esl_shield.vault.rows import read_moment

SPAN_FORMS = "a whole number and m, h, d or w, such as 30m, 12h, 7d, 2w"
MOMENT_FORMS = "ISO 8601, UTC if it names no zone, such as 2030-01-31 or 2030-01-31T18:00:00Z"
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def from_now(option: str, text: str) -> dt.datetime:
    """Read a span of time such as 12h as the moment it ends; raises TimeRejected, which names the option."""
    span = _span(text)
    if span is None:
        raise TimeRejected(option=option, forms=SPAN_FORMS)
    return dt.datetime.now(dt.UTC) + span


def since(option: str, text: str) -> dt.datetime:
    """Read a moment, or a span of time such as 12h as that long ago; raises TimeRejected, which names the option."""
    span = _span(text)
    if span is not None:
        return dt.datetime.now(dt.UTC) - span
    return at(option, text, f"{SPAN_FORMS}, for that long ago; or a moment in {MOMENT_FORMS}")


def at(option: str, text: str, forms: str) -> dt.datetime:
    """Read an ISO 8601 moment as UTC; raises TimeRejected, which names the option and these forms."""
    try:
        return read_moment(text)
    except ExpiryRejected:
        raise TimeRejected(option=option, forms=forms) from None


def _span(text: str) -> dt.timedelta | None:
    match = _SPAN.fullmatch(text)
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
