"""The database's machine dies under calls, and its synchronous stand-by takes over."""

from __future__ import annotations

import itertools
import time

import gevent
import pytest
from aside import aside
from fix_site import BANK, DEADLINE_S, EXTRA, GATEWAYS, eventually, open_centre
from standby import Standby

from esl_shield.esl.double import Carrier
from esl_shield.tryout.site import Site

pytestmark = pytest.mark.slow  # two clusters are made

BACK_WITHIN_S = 20.0  # about one on a machine that has nothing else to do


class Pair:
    """A site whose processes know both servers."""

    def __init__(self, site, standby, centre):
        self.site, self.standby, self.centre = site, standby, centre

    def call(self, position, **changes):
        return self.centre.call(BANK, position, **changes)

    def calls(self, call):
        """The states of a token's call records, as the stand-by has them."""
        return [s for (s,) in self.standby.query("SELECT state FROM shield.calls WHERE token = %s", call.dialled)]


@pytest.fixture
def pair(cluster, tmp_path):
    """A site of the test's own with a synchronous stand-by."""
    extra = EXTRA | {"worker": ""}  # so that a call may ring for longer than it takes to fail over
    with Site(tmp_path, [BANK], GATEWAYS, extra) as site, Standby(site.postgres) as standby:
        for role in ("worker", "resolver"):
            config = site.config(role)
            config.write_text(config.read_text().replace(site.url(role), standby.added_to(site.url(role))))
        yield Pair(site, standby, open_centre(site, tmp_path, [BANK]))
        for role in ("worker", "resolver"):  # while there is still somebody to write their last records to
            site.stop(role)


def test_without_its_stand_by_no_call_is_let_through(pair):
    """A commit that no stand-by confirms allows no call: 503 in time, nothing on the wire, and back by itself."""
    centre, standby = pair.centre, pair.standby
    assert centre.place(pair.call(0)).bridged
    standby.halt()
    refused = centre.place(pair.call(5))
    assert refused.status == 503
    assert refused.timings_s["ended"] < 2.5
    assert not refused.wire
    standby.start()
    eventually(standby.is_synchronous)
    customers = itertools.count(40)
    answered = eventually(lambda: (r := centre.place(pair.call(next(customers)))).bridged and r)
    assert answered.status == 200
    # The row is committed on the primary alone, and reaches the stand-by with what came after it; its end is written.
    assert eventually(lambda: pair.calls(pair.call(5)) == ["FAILED"])


def test_a_failover_loses_no_call_and_needs_no_hand(pair):
    """Calls that ring and talk while the primary dies keep one true record each; new ones go on at the stand-by."""
    centre, standby = pair.centre, pair.standby
    assert centre.place(pair.call(0)).bridged
    talks = pair.call(1, hangs_up_after_s=8.0)
    rings = pair.call(2, carrier=Carrier(after_s=6.0), hangs_up_after_s=2.0)
    playing = [gevent.spawn(centre.place, call) for call in (talks, rings)]
    eventually(lambda: centre.query("SELECT FROM dba.calls WHERE state = 'ANSWERED' AND token = %s", talks.dialled))
    eventually(
        lambda: centre.query(
            "SELECT FROM dba.audit_events WHERE kind = 'permit.redeemed' AND token = %s", rings.dialled
        )
    )
    assert [pair.calls(call) for call in (talks, rings)] == [["ANSWERED"], ["AUTHORIZED"]]
    aside(pair.site.postgres.halt, "immediate")
    refused = centre.place(pair.call(3))
    assert refused.status == 503
    assert refused.timings_s["ended"] < 2.5
    assert not refused.wire
    aside(standby.promote)
    promoted = time.monotonic()
    customers = itertools.count(4)  # another each time: one may be called so often a day
    answered = eventually(lambda: (r := centre.place(pair.call(next(customers)))).bridged and r)
    assert answered.status == 200
    assert time.monotonic() - promoted < BACK_WITHIN_S
    results = [greenlet.get(timeout=DEADLINE_S) for greenlet in playing]
    assert [result.status for result in results] == [200, 200]
    for call in (talks, rings):
        assert eventually(lambda call=call: pair.calls(call) == ["COMPLETED"])
