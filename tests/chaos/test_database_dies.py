"""PostgreSQL is killed, stopped or restarted at each moment of a call: what is heard, what the record says."""

from __future__ import annotations

import pytest
from freezing import frozen
from moments import NEVER_STARTED, PARKED, REDEEMING, REFUSED, RINGING, TALKING, WELL, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made

# An authorisation that was under way may have been granted, unheard: its record is then closed as one that failed.
TRUE_ENDS = {PARKED: NEVER_STARTED, REDEEMING: {REFUSED, WELL}, RINGING: {WELL}, TALKING: {WELL}}
HALTS = ["kill", "immediate", "fast"]


@pytest.mark.parametrize("halt", HALTS)
def test_the_database_ends_under_calls_and_is_started_again(scene, halt):
    """However it ends, no call goes through unauthorised, each accepted one has its one true record, and all is well."""
    at = 5 * HALTS.index(halt)
    with scene.held(at) as held:
        scene.end_database(halt)
        held.go_on()
        refused = scene.place(at + 4)
        scene.start_database()
        answered = scene.answers_again(at + 4)
        ends = held.ends()
    assert (refused.status, refused.wire) == (503, [])
    assert refused.timings_s["ended"] < 2.5
    assert answered.status == 200
    assert all(ends[moment] in TRUE_ENDS[moment] for moment in ends), ends
    assert held.results[PARKED].wire == []


def test_the_database_is_stopped_under_calls(scene):
    """While it gets no turn nothing new goes through; what is up goes on, and is written down when it goes on."""
    at = 5 * len(HALTS)
    with scene.held(at) as held:
        with frozen(scene.site.postgres):
            held.go_on()
            refused = scene.place(at + 4)
            eventually(lambda: held.is_over(PARKED, REDEEMING, TALKING))
        ends = held.ends()
    assert (refused.status, refused.wire) == (503, [])
    assert refused.timings_s["ended"] < 2.5
    assert scene.answers_again(at + 4).status == 200
    assert all(ends[moment] in TRUE_ENDS[moment] for moment in ends), ends
