"""How rules of a policy are spelled."""

from __future__ import annotations

import pytest

from esl_shield.errors.policy import RuleRejected
from esl_shield.vault.policy import RULES, read_hours, read_rules, read_seconds, show_hours, show_seconds

WINDOWS = {
    "one-day": (["mon 09:00-20:00"], "{[540,1200)}", ["mon 09:00-20:00"]),
    "week": (["mon-sun 00:00-24:00"], None, ["mon-sun 00:00-24:00"]),
    "two-windows": (["tue 09:00-12:00", "tue 13:00-18:30"], None, ["tue 09:00-12:00", "tue 13:00-18:30"]),
    "past-midnight": (["fri 20:00-02:00"], "{[6960,7320)}", ["fri 20:00-24:00", "sat 00:00-02:00"]),
    "sunday-night": (["sun 23:00-01:00"], "{[10020,10080),[0,60)}", ["mon 00:00-01:00", "sun 23:00-24:00"]),
    "round-the-weekend": (["sat-mon 10:00-11:00"], None, ["mon 10:00-11:00", "sat-sun 10:00-11:00"]),
    "some-days": (["mon,wed-thu 10:00-11:00"], None, ["mon 10:00-11:00", "wed-thu 10:00-11:00"]),
    "whole-day-from-noon": (["wed 12:00-11:59"], None, ["wed 12:00-24:00", "thu 00:00-11:59"]),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_read_and_shown(name):
    """A window becomes minutes of a week and comes back day by day."""
    texts, multirange, shown = WINDOWS[name]
    read = read_hours(texts)
    assert multirange in (None, read)
    assert show_hours(read) == shown


BAD = {
    "hours": ["", "always", "mon", "monday 09:00-20:00", "mon 9:00-20:00", "mon 09:00-24:01", "mon 24:00-09:00",
              "mon 09:60-10:00", "mon 09:00-09:00", "xyz 09:00-10:00", "mon-xyz 09:00-10:00", "mon 09:00-10:00;"],
    "time_zone": ["", "Shanghai", "XYZ3", "Asia/Shanghai'", "+08:00"],
    "closed_days": ["", "tomorrow", "2027-02-30", "01.01.2027"],
    "gap_s": ["", "0s", "60", "1w", "366d", "-1h", "1.5h"],
    "agent_per_day": ["", "-1", "1e3", "1000000", "many"],
    "wrong_dials": ["", "0", "1", "two"],
    "wrong_dials_s": ["", "0m", "soon"],
}  # fmt: skip


@pytest.mark.parametrize("key", BAD)
def test_what_is_no_rule_is_one_clear_error(key):
    """Every other text names the option and what it takes."""
    rule = next(rule for rule in RULES if rule.key == key)
    for text in BAD[key]:
        with pytest.raises(RuleRejected) as caught:
            read_rules({key: [text]})
        assert rule.option in str(caught.value), text
        assert not text or f"'{text}'" not in str(caught.value)


def test_none_takes_a_rule_away_and_what_is_not_given_stays():
    """Only what was given is changed."""
    assert read_rules({"gap_s": ["none"], "hours": [], "agent_per_day": ["5"]}) == {"gap_s": None, "agent_per_day": 5}
    with pytest.raises(RuleRejected):
        read_rules({"gap_s": ["1h", "2h"]})


@pytest.mark.parametrize("text", ["90s", "15m", "2h", "1d"])
def test_a_span_comes_back_as_it_was_given(text):
    """Spans are shown in the largest unit without a rest."""
    assert show_seconds(read_seconds([text])) == text
