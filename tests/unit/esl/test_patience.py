"""Who is still taken after a wait: a pause is forgiven, calls that are too many are not."""

from __future__ import annotations

import pytest

from esl_shield.esl.patience import Patience

CASES = {
    "nobody waits": ([(0.0, 0.0), (1.0, 0.1)], [False, False]),
    "a pause": ([(0.0, 0.4), (0.03, 0.43), (0.06, 0.46), (0.09, 0.1)], [False] * 4),
    "a long pause": ([(0.0, 0.6), (0.05, 0.51), (0.06, 0.3), (0.07, 0.0)], [True, True, False, False]),
    "too many": ([(0.0, 0.3), (0.09, 0.3), (0.11, 0.3), (0.5, 0.26)], [False, False, True, True]),
    "too many, then few": ([(0.0, 0.3), (0.2, 0.3), (0.3, 0.2), (0.4, 0.3)], [False, True, False, False]),
}


@pytest.mark.parametrize(("calls", "refused"), CASES.values(), ids=CASES)
def test_who_is_refused(calls, refused):
    """A call is refused beyond the whole time, or beyond half of it when others were late for longer than a moment."""
    patience = Patience(0.5)
    assert [patience.is_over(waited_s, now_s) for now_s, waited_s in calls] == refused
