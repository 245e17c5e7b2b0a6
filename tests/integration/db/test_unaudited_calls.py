"""No audit event, no call: a disk that is full refuses calls, a sealer that is stopped does not."""

from __future__ import annotations

import pytest
from psycopg2 import errors as sqlstate
from sealing_site import SealingSite
from shield_calls import Attempt, redeem_batch

from esl_shield.errors.database import DatabaseAway

FULL = """
CREATE FUNCTION public.disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;
CREATE TRIGGER disk_full BEFORE INSERT ON shield.audit_events FOR EACH ROW EXECUTE FUNCTION public.disk_full()
"""


@pytest.fixture
def site(database, tenants, tmp_path):
    """Acme, whose events are sealed."""
    return SealingSite(database, tmp_path)


def test_a_call_whose_event_cannot_be_written_is_refused(site, worker):
    """With a full disk, or anything else that keeps the event from being written, no call and no permit exists."""
    assert Attempt().authorize(worker) == ("ALLOWED",)
    before = _counts(site)
    site.sql(FULL)
    with pytest.raises(DatabaseAway, match="53100"):
        Attempt().authorize(worker)
    assert _counts(site) == before
    with pytest.raises(sqlstate.DiskFull):
        site.sql("INSERT INTO shield.audit_events (kind) VALUES ('a.b')")


@pytest.mark.parametrize("wait", [True, False], ids=["alone", "in_a_batch"])
def test_a_redemption_whose_event_cannot_be_written_gives_nothing(site, worker, resolver, wait):
    """No ciphertext leaves without its event, and the permit is still there for when the event can be written."""
    attempts = [Attempt(), Attempt()]
    assert [attempt.authorize(worker) for attempt in attempts] == [("ALLOWED",)] * 2
    asked, before = [attempt.asked() for attempt in attempts], _counts(site)
    site.sql(FULL)
    with pytest.raises(DatabaseAway, match="53100"):
        redeem_batch(resolver, asked, wait=wait)
    assert _counts(site) == before
    site.sql("DROP TRIGGER disk_full ON shield.audit_events")
    assert [row[1] for row in redeem_batch(resolver, asked, wait=wait)] == [attempt.call for attempt in attempts]


def test_calls_go_on_while_nobody_seals(site, worker):
    """A sealer that is stopped stops no call: events wait, and the view says how many and how old."""
    site.seal()
    assert [Attempt().authorize(worker) for _ in range(3)] == [("ALLOWED",)] * 3
    waiting, lag = site.sql("SELECT waiting, lag_s FROM dba.sealing")[0]
    assert waiting == 3
    assert lag > 0
    assert site.sql("SELECT shield.is_sealed(now())") == [(False,)]
    site.seal()
    assert site.sql("SELECT shield.is_sealed(now() + interval '1 day')") == [(True,)]


def _counts(site):
    return site.sql("SELECT (SELECT count(*) FROM shield.audit_events), (SELECT count(*) FROM shield.calls),"
                    " (SELECT count(*) FROM shield.permits)")  # fmt: skip
