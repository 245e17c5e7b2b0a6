"""The wall clock of one machine is set under calls, an hour or a day forward or back, and later set right."""

from __future__ import annotations

import itertools
from uuid import uuid4

import gevent
import pytest
from clock import DAY_S, HOUR_S
from fix_site import BANK, SHOP
from moments import MOMENTS, NEVER_STARTED, PARKED, REDEEMING, REFUSED, RINGING, TALKING, WELL, eventually, settled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made

JUMPS = {"an hour forward": HOUR_S, "an hour back": -HOUR_S, "a day forward": DAY_S, "a day back": -DAY_S}
ANYHOW = {moment: {WELL} for moment in MOMENTS}
# A permit's life is counted by the database's clock: one from another time is good no longer.
BY_THE_DATABASE = {PARKED: NEVER_STARTED | {WELL}, REDEEMING: {REFUSED}, RINGING: {WELL}, TALKING: {WELL}}
_customers = itertools.count()


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("part", ["worker", "resolver", "database"])
def test_a_clock_is_set_under_calls(scene, part, jump):
    """Calls at each moment end as they truly did, each with one record, and new ones go on by the other clock."""
    at = next(_customers) * 5 % 60
    tenant = SHOP if part == "resolver" else BANK
    with scene.held(at, tenant) as held:
        with scene.clocks[part].set_by(JUMPS[jump]):
            held.go_on()
            meanwhile = scene.place(at + 4, talks_s=0.05, tenant=tenant)
            ends = held.ends()
            assert [row["state"] for row in settled(scene.centre, meanwhile.uuid)] == ["COMPLETED"]
        after = scene.place(at + 4, talks_s=0.05, tenant=tenant)
    assert (meanwhile.status, after.status) == (200, 200)
    truly = BY_THE_DATABASE if part == "database" else ANYHOW
    assert all(ends[moment] in truly[moment] for moment in ends), ends
    assert [row["state"] for row in settled(scene.centre, after.uuid)] == ["COMPLETED"]


@pytest.mark.parametrize("jump", JUMPS)
def test_a_call_that_began_by_another_clock_is_ended(scene, jump):
    """A call authorised while the database's clock was wrong has its record closed when the clock is right again."""
    channel = str(uuid4())
    with scene.clocks["database"].set_by(JUMPS[jump]):
        playing = gevent.spawn(scene.place, next(_customers) * 5 % 60, uuid=channel)
        answered = "SELECT FROM dba.calls WHERE state = 'ANSWERED' AND channel = %s"
        eventually(lambda: scene.centre.query(answered, channel))
    assert playing.get(timeout=60).status == 200
    assert [row["state"] for row in settled(scene.centre, channel)] == ["COMPLETED"]


def test_a_script_whose_clock_is_not_the_resolvers_learns_no_number(scene):
    """A signed request is good for as long as the two clocks agree: no number, no carrier, and well when they do."""
    with scene.clocks["resolver"].set_by(HOUR_S):
        refused = scene.place(0)
    assert (refused.status, refused.wire) == (503, [])
    assert scene.answers_again(0).status == 200


@pytest.mark.parametrize("jump", [-HOUR_S, -DAY_S], ids=["an hour", "a day"])
def test_a_login_mints_on_after_the_clock_went_back(scene, jump):
    """What was minted in seconds that come again does not use up the rate of those before them."""
    scene.admin("UPDATE shield.logins SET mint_per_s = 2 WHERE login = 'site_worker'")
    try:
        before = [scene.place(at, talks_s=0.05).status for at in (10, 11, 12)]
        with scene.clocks["database"].set_by(jump):
            eventually(lambda: scene.place(13, talks_s=0.05).status == 200, within_s=5.0)
    finally:
        scene.admin("UPDATE shield.logins SET mint_per_s = 2000 WHERE login = 'site_worker'")
    assert before[0] == 200
