"""What is left of a call when PostgreSQL has no room, no time or no connection for it."""

from __future__ import annotations

import contextlib

import gevent
import pytest
from disk import faulty_disk
from fix_site import BANK, DEADLINE_S, EXTRA, GATEWAYS, eventually, open_centre

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.binaries import BINARIES_VARIABLE
from esl_shield.db.embedded import ADMIN
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.errors.database import EmbeddedUnavailable
from esl_shield.esl import double
from esl_shield.tryout.site import Site

pytestmark = pytest.mark.slow  # a cluster of its own is made


class Faulty:
    """A site whose PostgreSQL can be brought into trouble."""

    def __init__(self, site, disk, centre):
        self.site, self.disk, self.centre = site, disk, centre

    def call(self, position, **changes):
        return self.centre.call(BANK, position, **changes)

    def states(self, call):
        """The states of the records of calls to the same token."""
        return [row["state"] for row in self.centre.query("SELECT state FROM dba.calls WHERE token = %s", call.dialled)]

    def admin(self, statement):
        with sqlalchemy_engine(DatabaseConfig(self.site.postgres.url(ADMIN))).connect() as connection:
            connection.exec_driver_sql(statement)
            connection.commit()

    @contextlib.contextmanager
    def no_connections(self):
        """The worker's login may have no connection."""
        self.admin("ALTER ROLE site_worker CONNECTION LIMIT 0")
        self.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'site_worker'")
        try:
            yield
        finally:
            self.admin("ALTER ROLE site_worker CONNECTION LIMIT -1")

    @contextlib.contextmanager
    def full_disk(self):
        """The WAL's disk is full; afterwards the server is started again if that ended it, as its unit would."""
        with self.disk.full():
            yield
        postgres = self.site.postgres
        with contextlib.suppress(EmbeddedUnavailable):
            postgres.halt("immediate")
        postgres.start()

    def slow_disk(self):
        """Each fsync takes longer than the worker waits for an answer."""
        return self.disk.slower_by(2.0)


@pytest.fixture(scope="module")
def faulty(cluster, tmp_path_factory):
    """A site of this module's own, on a disk that obeys."""
    folder = tmp_path_factory.mktemp("faulty")
    with faulty_disk() as disk, pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv(BINARIES_VARIABLE, str(disk.binaries))
        site = stack.enter_context(Site(folder, [BANK], GATEWAYS, EXTRA))
        yield Faulty(site, disk, open_centre(site, folder, [BANK]))


TROUBLES = ["no_connections", "full_disk", "slow_disk"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_database_in_trouble_lets_no_call_through_and_loses_none(faulty, trouble):
    """New calls hear 503 in time and reach no carrier; one that was up keeps its record; then all is well again."""
    centre, at = faulty.centre, 10 * TROUBLES.index(trouble)
    talks = faulty.call(at, hangs_up_after_s=2.0)
    playing = gevent.spawn(centre.place, talks)
    eventually(lambda: centre.query("SELECT FROM dba.calls WHERE state = 'ANSWERED' AND token = %s", talks.dialled))
    with getattr(faulty, trouble)():
        refused = centre.place(faulty.call(at + 1))
        talked = playing.get(timeout=DEADLINE_S)
    assert refused.status == 503
    assert refused.timings_s["ended"] < 2.5
    assert not refused.wire
    assert talked.status == 200
    answered = eventually(lambda: (r := centre.place(faulty.call(at + 2))).bridged and r)
    assert answered.status == 200
    assert eventually(lambda: faulty.states(talks) == ["COMPLETED"])
    # A commit that came too late for its agent is a call that never went on, and its record says so.
    assert eventually(lambda: faulty.states(faulty.call(at + 1)) in ([], ["FAILED"]))


def test_a_disk_that_is_a_little_slow_delays_calls_and_refuses_none(faulty):
    """With fsync at 150 ms every call is let through, that much later."""
    with faulty.disk.slower_by(0.15):
        results = [faulty.centre.place(faulty.call(40 + n)) for n in range(3)]
    assert [result.status for result in results] == [200, 200, 200]
    assert all(result.timings_s["decided"] >= 0.15 for result in results)


def test_more_calls_than_the_database_has_time_for_are_refused_at_once(faulty):
    """Of a burst over one slow connection some go through, each with its record; the rest hear 503 without waiting."""
    site, centre = faulty.site, faulty.centre
    config = site.folder / "narrow.toml"
    config.write_text(site.config("worker").read_text().replace("[database]\n", "[database]\npool_size = 1\n"))
    config.chmod(0o600)
    address = site.start("worker", config=config, name="narrow").address
    try:
        with faulty.disk.slower_by(0.1):
            calls = [faulty.call(at % 60) for at in range(60)]
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
