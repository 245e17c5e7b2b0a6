"""What a call does when a part it needs is dead, frozen, full or drained."""

from __future__ import annotations

import signal

import gevent
import pytest
from fix_site import BANK, DEADLINE_S, NUMBERS, eventually
from freezing import frozen

from esl_shield.esl import double
from esl_shield.esl.double import Carrier, Fault, Gateway


@pytest.fixture
def second_worker(call_centre, request):
    """Start a worker of this test's own; its ``[esl]`` lines come from the marker's argument."""
    lines = getattr(request, "param", "")
    config = call_centre.site.folder / "second.toml"
    text = call_centre.site.config("worker").read_text()
    config.write_text(text.replace("[esl]\n", f"[esl]\n{lines}"))
    config.chmod(0o600)
    process = call_centre.site.start("worker", config=config, name="second")
    yield process
    process.popen.send_signal(signal.SIGCONT)
    process.popen.kill()
    call_centre.site.stop("second")


def test_a_database_away_is_a_503_within_two_seconds_and_recovers(call_centre):
    """Without a database the phone hears 503 and there is no CDR; when it is back, calls go on by themselves."""
    postgres = call_centre.site.postgres
    postgres.halt("immediate")
    try:
        refused = call_centre.place(call_centre.call(BANK, 20))
    finally:
        postgres.start()
    assert refused.status == 503
    assert refused.timings_s["ended"] < 2.0
    assert not refused.wire
    assert call_centre.record(BANK, refused) is None
    answered = eventually(lambda: (r := call_centre.place(call_centre.call(BANK, 20))).bridged and r)
    assert call_centre.record(BANK, answered)["state"] == "COMPLETED"


def test_a_frozen_database_is_a_503_within_two_seconds(call_centre):
    """A stopped postmaster and its backends hold no agent in silence."""
    postgres = call_centre.site.postgres
    with frozen(postgres):
        refused = call_centre.place(call_centre.call(BANK, 21))
    assert refused.status == 503
    assert refused.timings_s["ended"] < 2.5
    answered = eventually(lambda: (r := call_centre.place(call_centre.call(BANK, 21))).bridged and r)
    assert call_centre.record(BANK, answered)["state"] == "COMPLETED"


def test_an_agent_who_gives_up_before_the_bridge_has_a_cancelled_record(call_centre):
    """The agent cancels while the database is still thinking: no carrier is asked, the CDR says CANCELLED."""
    call = call_centre.call(BANK, 19, cancels_after_s=0.1, cancels_when="parked", sched_hangup_s=None)
    assert call_centre.place(call_centre.call(BANK, 19)).bridged  # so that the worker has its connection
    with frozen(call_centre.site.postgres):
        playing = gevent.spawn(call_centre.place, call)
        gevent.sleep(0.4)  # the delay is what is tested: the answer comes after the cancel
    result = playing.get(timeout=DEADLINE_S)
    assert result.status == 487
    assert not result.wire
    assert eventually(lambda: call_centre.record(BANK, result))["state"] == "CANCELLED"


def test_a_call_record_waits_for_the_database(call_centre):
    """A call that ends while the database is away has its CDR written when the database is back."""
    postgres = call_centre.site.postgres
    call = call_centre.call(BANK, 22, hangs_up_after_s=1.0)
    playing = gevent.spawn(call_centre.place, call)
    eventually(lambda: live(call_centre, call))
    postgres.halt("immediate")
    try:
        result = playing.get(timeout=DEADLINE_S)
    finally:
        postgres.start()
    record = eventually(lambda: (r := call_centre.record(BANK, result)) and r["state"] == "COMPLETED" and r)
    assert record["talk_s"] is not None


def live(call_centre, call):
    """Return the records of a call that is up now."""
    return call_centre.query("SELECT * FROM dba.calls WHERE state = 'ANSWERED' AND token = %s", call.dialled)


def redeemed(call_centre, call):
    """How many permits of a call's token were redeemed so far."""
    statement = "SELECT count(*) FROM dba.audit_events WHERE kind = 'permit.redeemed' AND token = %s"
    return call_centre.query(statement, call.dialled)[0]["count"]


def test_killing_the_worker_leaves_the_call_up(call_centre, second_worker):
    """A worker killed while two people talk takes nothing down: the call ends naturally, its record stays open."""
    address = (second_worker.address.host, second_worker.address.port)
    call = call_centre.call(BANK, 23, hangs_up_after_s=1.0)
    playing = gevent.spawn(double.play, call, address, redeem=call_centre.redeem)
    before = eventually(lambda: live(call_centre, call))
    second_worker.popen.kill()
    result = playing.get(timeout=DEADLINE_S)
    assert result.status == 200
    assert result.hangup_cause == "NORMAL_CLEARING"
    after = call_centre.query("SELECT * FROM dba.calls WHERE id = %s", before[0]["id"])
    assert after[0]["state"] == "ANSWERED"


def test_a_frozen_worker_is_ended_by_the_dialplan(call_centre, second_worker):
    """A worker that accepts and never answers holds nobody: the dialplan's own alarm ends the call."""
    address = (second_worker.address.host, second_worker.address.port)
    second_worker.popen.send_signal(signal.SIGSTOP)
    result = double.play(call_centre.call(BANK, 24), address, redeem=call_centre.redeem)
    assert result.status == 503
    assert result.timings_s["ended"] < 3.0


@pytest.mark.slow
def test_a_worker_frozen_while_it_rings_holds_nobody(call_centre, second_worker):
    """The carrier refuses under a frozen worker: FreeSWITCH's own alarm answers the agent."""
    address = (second_worker.address.host, second_worker.address.port)
    gateways = {"carrier-a": Gateway(Carrier(486, "Busy Here", after_s=1.0))}
    call = call_centre.call(BANK, 18, gateways=gateways, max_s=16.0)
    before = redeemed(call_centre, call)
    playing = gevent.spawn(double.play, call, address, redeem=call_centre.redeem)
    eventually(lambda: redeemed(call_centre, call) > before)
    second_worker.popen.send_signal(signal.SIGSTOP)
    result = playing.get(timeout=DEADLINE_S)
    assert result.status == 503
    assert result.statuses[0] == 180
    assert result.timings_s["ended"] < 14.0


@pytest.mark.slow
def test_an_answer_under_a_frozen_worker_is_not_cut(call_centre, second_worker):
    """The customer answers after the worker froze: FreeSWITCH disarms the alarm by itself."""
    address = (second_worker.address.host, second_worker.address.port)
    gateways = {"carrier-a": Gateway(Carrier(after_s=1.0))}
    call = call_centre.call(BANK, 17, gateways=gateways, hangs_up_after_s=13.0, max_s=16.0)
    before = redeemed(call_centre, call)
    playing = gevent.spawn(double.play, call, address, redeem=call_centre.redeem)
    eventually(lambda: redeemed(call_centre, call) > before)
    second_worker.popen.send_signal(signal.SIGSTOP)
    result = playing.get(timeout=DEADLINE_S)
    assert result.status == 200
    assert result.timings_s["ended"] > 13.0


@pytest.mark.parametrize("second_worker", ["max_calls = 1\n"], indirect=True)
def test_a_full_worker_says_503_at_once(call_centre, second_worker):
    """The call beyond the limit is answered, not dropped, and the one before it goes on."""
    address = (second_worker.address.host, second_worker.address.port)
    call = call_centre.call(BANK, 25, hangs_up_after_s=1.0)
    first = gevent.spawn(double.play, call, address, redeem=call_centre.redeem)
    eventually(lambda: live(call_centre, call))
    refused = double.play(call_centre.call(BANK, 26), address, redeem=call_centre.redeem)
    assert refused.status == 503
    assert refused.timings_s["ended"] < 1.0
    assert first.get(timeout=DEADLINE_S).status == 200


def test_draining_sends_new_calls_to_the_stand_by_and_finishes_live_ones(call_centre, second_worker):
    """After SIGTERM the listener is closed, so FreeSWITCH takes the next worker; the live call keeps its record."""
    address = (second_worker.address.host, second_worker.address.port)
    call = call_centre.call(BANK, 27, hangs_up_after_s=1.5)
    playing = gevent.spawn(double.play, call, address, redeem=call_centre.redeem)
    eventually(lambda: live(call_centre, call))
    second_worker.popen.send_signal(signal.SIGTERM)
    moved = eventually(
        lambda: (
            r := double.play(call_centre.call(BANK, 28), address, call_centre.worker, redeem=call_centre.redeem)
        ).connected_to == 1 and r
    )  # fmt: skip
    assert moved.status == 200
    result = playing.get(timeout=DEADLINE_S)
    assert second_worker.popen.wait(DEADLINE_S) == 0
    assert call_centre.record(BANK, result)["state"] == "COMPLETED"


@pytest.mark.parametrize("kind", ["close", "reset", "truncate", "malformed", "oversized"])
@pytest.mark.parametrize("at", ["accept", "command:connect", "command:sendmsg", "event:CHANNEL_CALLSTATE"])
def test_a_broken_socket_ends_one_call_only(call_centre, kind, at):
    """Whatever FreeSWITCH's side does, the call is closed as refused, cancelled or lost, and the next one works."""
    broken = call_centre.place(call_centre.call(BANK, 29 + len(at) % 10, fault=Fault(kind, at), max_s=2.5))
    record = call_centre.record(BANK, broken)
    assert record is None or record["state"] in ("LOST", "CANCELLED", "FAILED")
    healthy = call_centre.place(call_centre.call(BANK, len(NUMBERS) - 1 - len(kind)))
    assert healthy.bridged
