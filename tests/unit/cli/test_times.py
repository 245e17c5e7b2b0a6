"""Moments and spans as options take them."""

from __future__ import annotations

import datetime as dt

import pytest

from esl_shield.cli import times
from esl_shield.errors.process import TimeRejected

SPANS = {"30m": 1800, "12h": 43200, "7d": 604800, "2w": 1209600}


@pytest.mark.parametrize("span", SPANS)
def test_spans_are_the_same_ahead_and_ago(span):
    """Every unit is taken by options that look ahead and by those that look back."""
    now = dt.datetime.now(dt.UTC)
    assert abs((times.from_now("--expires-in", span) - now).total_seconds() - SPANS[span]) < 5
    assert abs((now - times.since("--since", span)).total_seconds() - SPANS[span]) < 5


def test_a_moment_is_taken_as_it_is():
    """An ISO 8601 moment is UTC unless it names a zone."""
    assert times.since("--since", "2030-01-31") == dt.datetime(2030, 1, 31, tzinfo=dt.UTC)
    assert times.since("--since", "2030-01-31T08:00+08:00") == dt.datetime(2030, 1, 31, tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["yesterday", "0d", "2 w", "2y", "-1d", "1.5h", "", "999999d", "13800138000"])
def test_what_is_neither_is_refused_with_the_forms(text):
    """The error names the option and what it takes, and does not repeat what was given."""
    for read, option in ((times.since, "--since"), (times.from_now, "--expires-in")):
        with pytest.raises(TimeRejected, match=f"{option} takes a whole number and m, h, d or w") as caught:
            read(option, text)
        assert not text or f"'{text}'" not in str(caught.value)


def test_the_largest_spans_are_moments_too():
    """No span that is taken leaves the calendar."""
    assert times.since("--since", "99999w").year > 0
    assert times.from_now("--expires-in", "99999w").year < 9999
