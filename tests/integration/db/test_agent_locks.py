"""Agents who dial tokens that are none are locked; what they dialled is kept nowhere."""

from __future__ import annotations

import json
import threading
import time

import pytest
from shield_calls import TOKEN, Attempt, reasons

from esl_shield.vault.tokens import damm_digit


def _wrong(number):
    """A well-formed token that is none: its last three digits come from ``number``, with those before it."""
    body = f"91{number:011d}"
    return body + damm_digit(body)


FAR = [_wrong(number * 7_654_321) for number in range(1, 40)]
NEAR = [_wrong(55_000_000_000 + number) for number in range(40)]


def _dial(worker, tokens, agent="1001", **more):
    return [Attempt(token=token, agent=agent, **more).authorize(worker)[0] for token in tokens]


def _locks(database):
    return database.query("SELECT agent, reason FROM shield.agent_locks ORDER BY agent")


@pytest.fixture
def steward(database, tenants):
    return database.open(database.login("steward", ["acme"]))


def test_ten_wrong_tokens_in_five_minutes_lock_an_agent(database, worker):
    """The tenth locks; from then on all the agent dials is answered 403, tokens and guesses alike, others go on."""
    assert _dial(worker, FAR[:9]) == ["NOT_FOUND"] * 9
    assert _dial(worker, [TOKEN]) == ["ALLOWED"]
    assert _locks(database) == []
    assert _dial(worker, FAR[9:10]) == ["NOT_FOUND"]
    assert _locks(database) == [("1001", "wrong_tokens")]
    assert _dial(worker, [TOKEN, FAR[10], None]) == ["FORBIDDEN"] * 3
    assert set(reasons(database, "call.refused")[-3:]) == {"agent_locked"}
    assert _dial(worker, [TOKEN], agent="1002") == ["ALLOWED"]
    (event,) = database.query("SELECT agent, detail FROM shield.audit_events WHERE kind = 'agent.locked'")
    assert (event[0], event[1]["reason"], event[1]["wrong"]) == ("1001", "wrong_tokens", 10)


def test_an_agent_is_one_in_any_case(database, worker):
    """FreeSWITCH finds a user by a name in any case, so a lock and counts are of all its spellings."""
    assert _dial(worker, FAR[:5], agent="alice") + _dial(worker, FAR[5:10], agent="Alice") == ["NOT_FOUND"] * 10
    assert _locks(database) == [("alice", "wrong_tokens")]
    assert _dial(worker, [TOKEN], agent="ALICE") == ["FORBIDDEN"]


def test_a_lock_does_not_tell_tokens_from_guesses(database, worker):
    """Where permissions are required, tokens of others are answered and lock as guesses do."""
    database.query("UPDATE shield.tenants SET requires_permission = true WHERE name = 'acme'")
    assert _dial(worker, [TOKEN] * 10) == _dial(worker, [FAR[0]] * 10, agent="1002")
    assert _locks(database) == [("1001", "sequential_tokens"), ("1002", "sequential_tokens")]


def test_neighbours_lock_an_agent_sooner(database, worker):
    """Half as many lock when each has all but its last three digits from the one before."""
    _dial(worker, NEAR[:5])
    assert _locks(database) == []
    _dial(worker, NEAR[5:6])
    assert _locks(database) == [("1001", "sequential_tokens")]


def test_wrong_tokens_that_are_no_neighbours_do_not_count_as_such(database, worker):
    """A real token or another beginning in between breaks the row."""
    for near, far in zip(NEAR[:4], FAR[:4], strict=True):
        _dial(worker, [near, far])
    assert _locks(database) == []


def test_digits_that_are_no_token_count_too(database, worker):
    """What fails the grammar is counted, whatever it was."""
    _dial(worker, [None] * 10, dialled_class="digits", dialled_length=11)
    assert _locks(database) == [("1001", "wrong_tokens")]


def test_old_wrong_tokens_are_forgotten(database, worker):
    """Nine, five minutes, nine more: nobody is locked, and the row of another who stopped is gone."""
    _dial(worker, FAR[:9])
    _dial(worker, FAR[:1], agent="1002")
    database.query("UPDATE shield.wrong_dials SET since = since - interval '5 minutes'")
    _dial(worker, FAR[9:18])
    assert _locks(database) == []
    assert database.query("SELECT agent, wrong FROM shield.wrong_dials") == [("1001", 9)]


def test_a_tenant_sets_its_own_limit_or_none(database, worker):
    """Two a minute, or never."""
    set_policy = "SELECT shield_api.set_policy('acme', %s)"
    database.query(set_policy, json.dumps({"wrong_dials": None}))
    _dial(worker, FAR[:20])
    assert _locks(database) == []
    database.query(set_policy, json.dumps({"wrong_dials": 2, "wrong_dials_s": 60}))
    _dial(worker, FAR[:2])
    assert _locks(database) == [("1001", "wrong_tokens")]


def test_an_expired_token_is_no_wrong_one(database, worker):
    """Whoever works through an old list guesses nothing."""
    database.query("UPDATE shield.tokens SET expires_at = now() - interval '1 day'")
    _dial(worker, [TOKEN] * 12)
    assert _locks(database) == []


def test_unlocking_is_the_stewards_and_an_event(database, worker, steward):
    """The agent calls again, the flag that made calls ask more is off, the reason stands in the trail."""
    _dial(worker, FAR[:10])
    guarded = "SELECT guarded FROM shield.tenants WHERE name = 'acme'"
    assert database.query(guarded) == [(True,)]
    for arguments, verdict in (
        (("acme", "1001", "  "), "REFUSED"),
        (("acme", "1001", "a\nb"), "REFUSED"),
        (("nobody", "1001", "why"), "UNKNOWN"),
        (("acme", "1002", "why"), "UNCHANGED"),
        (("acme", "1001", "old list"), "UNLOCKED"),
    ):
        assert steward.call("unlock_agent", *arguments) == [(verdict,)], arguments
    assert database.query(guarded) == [(False,)]
    assert _dial(worker, [TOKEN]) == ["ALLOWED"]
    (event,) = database.query("SELECT agent, detail ->> 'why' FROM shield.audit_events WHERE kind = 'agent.unlocked'")
    assert event == ("1001", "old list")


@pytest.mark.parametrize(
    "ending",
    [
        "SELECT shield_api.unlock_agent('acme', '1001', 'old list')",
        """SELECT shield_api.set_policy('acme', '{"gap_s": null}')""",
    ],
    ids=["unlocked", "policy"],
)
def test_a_lock_holds_though_the_tenants_last_other_reason_goes_at_that_moment(database, worker, ending):
    """Whoever takes the flag off that makes calls ask more, and whoever locks an agent meanwhile, take turns."""
    if "unlock" in ending:
        _dial(worker, FAR[:10])
    else:
        database.query("SELECT shield_api.set_policy('acme', %s)", json.dumps({"gap_s": 1}))
    _dial(worker, FAR[:9], agent="1002")
    with database.connect().cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(ending)
        tenth = threading.Thread(target=_dial, args=(worker, FAR[9:10], "1002"))
        tenth.start()
        _until_waiting(database, tenth)
        cursor.execute("COMMIT")
    tenth.join()
    assert _locks(database) == [("1002", "wrong_tokens")]
    assert _dial(worker, [TOKEN], agent="1002") == ["FORBIDDEN"]


def _until_waiting(database, thread):
    """Wait until a statement in this database waits for another's lock, or the thread has ended without."""
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    while thread.is_alive() and not database.query(waiting) and time.monotonic() < deadline:
        pass


def test_no_digit_of_a_wrong_token_is_kept(database, worker):
    """Neither the digits nor enough to find them by stand in any table."""
    _dial(worker, [*NEAR[:5], *FAR[:5]])
    tables = database.query(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'shield'::regnamespace"
        " AND c.relkind = 'r' ORDER BY 1"
    )
    kept = " ".join(row[0] for (table,) in tables for row in database.query(f"SELECT t::text FROM {table} t") if row[0])
    assert "1001" in kept
    assert [token for token in (*NEAR[:5], *FAR[:5]) if token in kept or token[:-3] in kept] == []
    assert database.query("SELECT max(place) < 65536 FROM shield.wrong_dials") in ([(True,)], [(None,)])


def test_a_locked_login_mints_no_permit(database, worker):
    """All its calls are answered 403 with an event, another permit for a call under way is denied."""
    attempt = Attempt()
    assert attempt.authorize(worker) == ("ALLOWED",)
    database.query("UPDATE shield.logins SET locked_at = now(), locked_for = 'unredeemed' WHERE role = 'worker'")
    assert _dial(worker, [TOKEN, FAR[0]]) == ["FORBIDDEN"] * 2
    assert attempt.next_permit(worker) == "FORBIDDEN"
    assert reasons(database, "call.refused") == ["login_locked"] * 2
