"""What was noted by a clock that was later set back: it grants nothing, blocks nothing and hides no call."""

from __future__ import annotations

import pytest
from shield_calls import Attempt, reasons

AHEAD = ["1 hour", "1 day"]


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_permit_does_not_live_for_as_long_as_the_clock_was_ahead(database, worker, resolver, ahead):
    """One that would be good for longer than any is refused, and gone."""
    attempt = Attempt()
    attempt.authorize(worker)
    database.query("UPDATE shield.permits SET expires_at = expires_at + %s::interval", ahead)
    assert attempt.redeem(resolver) == []
    assert reasons(database, "permit.refused") == ["permit_expired"]
    assert database.query("SELECT FROM shield.permits") == []


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_call_that_began_ahead_is_answered_ended_and_looked_after(database, worker, ahead):
    """Its record is found by whoever writes its end."""
    attempt = Attempt()
    attempt.authorize(worker)
    database.query("UPDATE shield.calls SET started_at = started_at + %s::interval", ahead)
    assert worker.call("call_answered", attempt.call, "carrier") == [(True,)]
    ended = worker.call("finish_call", attempt.call, "COMPLETED", "NORMAL_CLEARING", 200, None, 1, None, None, None)
    assert ended == [(True,)]
    assert database.query("SELECT state FROM shield.calls") == [("COMPLETED",)]


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_call_that_began_ahead_is_named_to_the_reaper(database, worker, tenants, ahead):
    """Once its worker is dead; the sign of life of one that died before the clock was set back is none."""
    attempt = Attempt()
    attempt.authorize(worker)
    worker.call("worker_beat")
    reaper = database.open(database.login("reaper", ["acme"]))
    assert reaper.call("open_calls", False) == []
    database.query("UPDATE shield.calls SET started_at = started_at + %s::interval", ahead)
    database.query("UPDATE shield.worker_beats SET at = at + %s::interval", ahead)
    ((call, _legs, _age_s),) = reaper.call("open_calls", False)
    assert call == attempt.call
    assert reaper.call("call_gone", call, 31.0, None, 30.0, False) == [("LOST",)]


@pytest.mark.parametrize("ahead", AHEAD)
def test_rates_and_caps_do_not_wait_for_the_clock_to_come_again(database, worker, ahead):
    """A login mints by the seconds of now; a window that began ahead is counted on, from now."""
    database.query("UPDATE shield.logins SET mint_per_s = 1")
    database.query("SELECT shield_api.set_caps('acme', 2, 2, NULL)")
    assert Attempt().authorize(worker) == ("ALLOWED",)
    database.query("UPDATE shield.mint_buckets SET second = second + extract(epoch FROM %s::interval)::bigint", ahead)
    for table in ("token_usage", "agent_usage"):
        database.query(f"UPDATE shield.{table} SET since = since + %s::interval", ahead)
    assert Attempt().authorize(worker) == ("ALLOWED",)
    for table in ("token_usage", "agent_usage"):
        assert database.query(f"SELECT used, since <= clock_timestamp() FROM shield.{table}") == [(2, True)]


@pytest.mark.parametrize("ahead", AHEAD)
def test_look_ups_do_not_wait_for_the_clock_to_come_again(database, ahead):
    """What is saved up is at most used up: the wait is that of one look-up."""
    database.query(
        "INSERT INTO shield.logins (login, role, scope, lookups_per_s) VALUES (session_user, 'scanner', '{(,)}', 10)"
        " ON CONFLICT (login) DO UPDATE SET lookups_per_s = 10"
    )
    (counter,) = database.query("SELECT shield.lookup_counter(session_user::text)")[0]
    database.query(f"CREATE SEQUENCE IF NOT EXISTS shield.{counter}")
    used = "SELECT setval(%s, (extract(epoch FROM clock_timestamp() + %s::interval) * 1000000)::bigint)"
    database.query(used, f"shield.{counter}", ahead)
    assert 0 < database.query("SELECT shield.take_lookups(1)")[0][0] <= 100
