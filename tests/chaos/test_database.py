"""What is left of a call when PostgreSQL ends, or has no room, no time or no connection for it."""

from __future__ import annotations

import contextlib

import gevent
import pytest
from fix_site import BANK, DEADLINE_S
from freezing import frozen
from moments import NEVER_STARTED, PARKED, REDEEMING, REFUSED, RINGING, TALKING, WELL, eventually, settled

from esl_shield.esl import double

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a cluster of its own is made


class Troubles:
    """What the scene's PostgreSQL can be brought into."""

    def __init__(self, scene):
        self._scene = scene

    @contextlib.contextmanager
    def no_connections(self):
        """The worker's login may have no connection."""
        self._scene.admin("ALTER ROLE site_worker CONNECTION LIMIT 0")
        self._scene.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'site_worker'")
        try:
            yield
        finally:
            self._scene.admin("ALTER ROLE site_worker CONNECTION LIMIT -1")

    @contextlib.contextmanager
    def full_disk(self):
        """The WAL's disk is full; afterwards the server is started again if that ended it, as its unit would."""
        with self._scene.disk.full():
            yield
        self._scene.start_database()

    def slow_disk(self):
        """Each fsync takes longer than the worker waits for an answer."""
        return self._scene.disk.slower_by(2.0)


# An authorisation that was under way may have been granted, unheard: its record is then closed as one that failed.
TRUE_ENDS = {PARKED: NEVER_STARTED, REDEEMING: {REFUSED, WELL}, RINGING: {WELL}, TALKING: {WELL}}
TROUBLES = ["no_connections", "full_disk", "slow_disk"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_database_in_trouble_lets_no_call_through_and_loses_none(scene, trouble):
    """New calls hear 503 in time and reach no carrier; those under way end truly; then all is well again."""
    at = 25 + 5 * TROUBLES.index(trouble)
    with scene.held(at) as held:
        with getattr(Troubles(scene), trouble)():
            held.go_on()
            refused = scene.place(at + 4)
            eventually(lambda: held.is_over(PARKED, REDEEMING, TALKING))
        answered = scene.answers_again(at + 4)
        ends = held.ends()
    assert (refused.status, refused.wire) == (503, [])
    assert refused.timings_s["ended"] < 2.5
    assert answered.status == 200
    assert all(ends[moment] in TRUE_ENDS[moment] for moment in ends), ends
    # A commit that came too late for its agent is a call that never went on, and its record says so.
    assert [row["state"] for row in settled(scene.centre, refused.uuid)] in ([], ["FAILED"])


def test_a_disk_that_is_a_little_slow_delays_calls_and_refuses_none(scene):
    """With fsync at 150 ms every call is let through, that much later."""
    with scene.disk.slower_by(0.15):
        results = [scene.place(40 + n, talks_s=0.05) for n in range(3)]
    assert [result.status for result in results] == [200, 200, 200]
    assert all(result.timings_s["decided"] >= 0.15 for result in results)


def test_more_calls_than_the_database_has_time_for_are_refused_at_once(scene):
    """Of a burst over one slow connection some go through, each with its record; the rest hear 503 without waiting."""
    site, centre = scene.site, scene.centre
    config = site.folder / "narrow.toml"
    text = site.config("worker").read_text().partition("[metrics]")[0]
    config.write_text(text.replace("[database]\n", "[database]\npool_size = 1\n"))
    config.chmod(0o600)
    address = site.start("worker", config=config, name="narrow").address
    try:
        with scene.disk.slower_by(0.1):
            calls = [centre.call(BANK, at) for at in range(60)]
            playing = [
                gevent.spawn(double.play, call, (address.host, address.port), redeem=centre.redeem) for call in calls
            ]
            results = [greenlet.get(timeout=DEADLINE_S) for greenlet in playing]
    finally:
        site.stop("narrow")
    through = [result for result in results if result.bridged]
    shed = [result for result in results if result.status == 503]
    assert len(through) + len(shed) == len(results)
    assert through
    assert len(shed) > len(results) / 2
    assert sorted(result.timings_s["ended"] for result in shed)[len(shed) // 2] < 0.5
    for result in through:
        assert centre.record(BANK, result)["state"] == "COMPLETED"


HALTS = ["kill", "immediate", "fast"]


@pytest.mark.parametrize("halt", HALTS)
def test_the_database_ends_under_calls_and_is_started_again(scene, halt):
    """However it ends, no call goes through unauthorised, each accepted one has one true record; then all is well."""
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
