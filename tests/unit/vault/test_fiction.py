"""Numbers for canary calls: valid, different, and in the ranges kept for fiction."""

from __future__ import annotations

import re

import phonenumbers
import pytest

from esl_shield.errors.canary import NoFiction
from esl_shield.vault import fiction

# The ranges as their regulators publish them.
PUBLISHED = {
    "US": r"\+1\d{3}55501\d{2}", "CA": r"\+1\d{3}55501\d{2}",
    "GB": r"\+44(2079460\d{3}|1(13|14|17|21|31|41|51|61)4960\d{3})", "AU": r"\+61[2378](5550|7010)\d{4}",
    "FR": r"\+3319900\d{4}", "DE": r"\+493023125\d{3}", "SE": r"\+46313900?6\d{2}",
}  # fmt: skip


@pytest.mark.parametrize("region", fiction.RANGES)
def test_every_draw_is_a_number_for_fiction(region):
    """Each is in its region's published range and valid there, and none comes twice."""
    drawn = fiction.draw(region, 30)
    assert len(set(drawn)) == 30
    for number in drawn:
        assert re.fullmatch(PUBLISHED[region], number)
        phone = phonenumbers.parse(number, None)
        assert phonenumbers.is_valid_number(phone)
        assert phonenumbers.region_code_for_number(phone) == region


def test_a_region_without_such_numbers_gets_others_and_none_is_made_up():
    """China keeps none: the fallback's are drawn; more than there are is an error."""
    assert all(number.startswith("+44") for number in fiction.draw("CN", 3))
    with pytest.raises(NoFiction):
        fiction.draw("SE", 101)
