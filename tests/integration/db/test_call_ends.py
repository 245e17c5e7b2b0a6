"""What FreeSWITCH's records and the reaper may change in a call's record, decided in SQL, each case as a row."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from polling import until
from shield_calls import TOKEN, Attempt

S = timedelta(seconds=1)
BEGAN = timedelta(seconds=-20)  # of the legs, before now
ANSWERED, ENDED, LATER = -15 * S, -8 * S, -1 * S


class Leg(NamedTuple):
    """One record: whose leg, when answered and ended (from now), why."""

    side: str
    answered: timedelta | None
    ended: timedelta = ENDED
    state: str = "NO_ANSWER"
    cause: str = "NORMAL_CLEARING"


OWN, FAR = Leg("own", ANSWERED), Leg("far", ANSWERED)
LEFT_EARLY, TALKED_ON = Leg("own", ANSWERED, -12 * S), Leg("far", ANSWERED, LATER)
OWN_BUSY = Leg("own", None, state="FAILED", cause="NORMAL_TEMPORARY_FAILURE")
FAR_BUSY = Leg("far", None, state="BUSY", cause="USER_BUSY")


@dataclass
class Lab:
    """One call of acme's, whose worker reports or does not, with an intake and a reaper."""

    database: Any
    worker: Any
    intake: Any
    reaper: Any
    now: datetime
    attempt: Attempt
    channel: uuid.UUID

    def take(self, leg: Leg, **changed: Any) -> list[str]:
        """Have one leg's record taken; the verdicts."""
        at = lambda delta: None if delta is None else self.now + delta  # noqa: E731
        own = leg.side == "own"
        values = {
            "channel": self.channel if own else uuid.UUID(self.attempt.sip_call_id),
            "originator": None if own else self.channel,
            "other": None, "state": leg.state, "cause": leg.cause, "sip": 486, "ringing": at(ANSWERED - S),
            "answered": at(leg.answered), "bridged": at(leg.answered), "ended": at(leg.ended),
        } | changed  # fmt: skip
        return [row[1] for row in self.intake.call("take_cdr", *values.values())]

    def settle(self) -> list[str]:
        return [row[1] for row in self.intake.call("settle_cdrs", 100)]

    def gone(self, gone_s: float = 0.0, *, seen_s: float | None = None, restarted: bool = False) -> str:
        return self.reaper.call("call_gone", self.attempt.call, gone_s, seen_s, 30.0, restarted)[0][0]

    def record(self) -> dict[str, Any]:
        ((row,),) = self.database.query(
            "SELECT to_jsonb(c) FROM dba.calls c WHERE id = %s::uuid", str(self.attempt.call)
        )
        for name in ("answered_at", "ended_at", "ended_before"):
            row[name] = row[name] and datetime.fromisoformat(row[name]) - self.now
        return row

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [
            d for (d,) in self.database.query("SELECT detail FROM dba.audit_events WHERE kind = %s ORDER BY id", kind)
        ]

    def age(self, seconds: int) -> None:
        """Make the records that came so much older."""
        self.database.query("UPDATE shield.cdr_legs SET received_at = received_at - make_interval(secs => %s)", seconds)

    def permits(self) -> int:
        return self.database.query("SELECT count(*) FROM shield.permits")[0][0]


@pytest.fixture
def lab(database, tenants):
    """A call that began 20 s ago, of a worker that never reported."""
    # A server that has just started holds nobody for dead.
    until(
        lambda: database.query("SELECT pg_postmaster_start_time() < now() - interval '4 seconds'") == [(True,)],
        "it is up",
    )
    worker = database.open(database.login("worker", ["acme"]))
    attempt = Attempt(sip_call_id=str(uuid.uuid4()))
    assert attempt.authorize(worker) == ("ALLOWED",)
    ((channel,),) = database.query(
        "UPDATE shield.calls SET started_at = started_at - interval '20 seconds' WHERE id = %s::uuid RETURNING channel",
        str(attempt.call),
    )
    return Lab(
        database, worker, database.open(database.login("intake", ["acme"])),
        database.open(database.login("reaper", ["acme"])), datetime.now(UTC), attempt, uuid.UUID(channel),
    )  # fmt: skip


def answer(lab):
    assert lab.worker.call("call_answered", lab.attempt.call, "carrier") == [(True,)]


def finish(lab, state="COMPLETED", answered: timedelta | None = ANSWERED, ended=ENDED):
    at = (answered is not None and lab.now + answered) or None
    values = (state, "NORMAL_CLEARING", 200, "carrier", 1, None, at, lab.now + ended)
    return lab.worker.call("finish_call", lab.attempt.call, *values)[0][0]


def live(lab):
    lab.worker.call("worker_beat")


# records as they come -> what the last of them answers, the state, cause, and whose end the call ends with
COMPLETED = {
    "talked-both-legs": ([FAR, OWN], ["ENDED", "KNOWN"], "COMPLETED", "NORMAL_CLEARING", ENDED),
    "talked-out-of-order": ([OWN, FAR], ["WAITING", "ENDED"], "COMPLETED", "NORMAL_CLEARING", ENDED),
    "customer-talked-on": (
        [LEFT_EARLY, TALKED_ON], ["WAITING", "ENDED"], "COMPLETED",
        "NORMAL_CLEARING", LATER,
    ),
    "busy": ([FAR_BUSY, OWN_BUSY], ["WAITING", "ENDED"], "BUSY", "USER_BUSY", ENDED),
    "busy-out-of-order": ([OWN_BUSY, FAR_BUSY], ["WAITING", "ENDED"], "BUSY", "USER_BUSY", ENDED),
    "twice": ([FAR, FAR], ["ENDED", "KNOWN"], "COMPLETED", "NORMAL_CLEARING", ENDED),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPLETED)
def test_the_records_of_its_legs_end_a_call_whose_worker_died(lab, case):
    """The call gets its truthful state, cause and times once, whatever order its records come in."""
    legs, verdicts, state, cause, ended = COMPLETED[case]
    got = [lab.take(leg) for leg in legs]
    assert [verdict for (verdict,) in got] == [
        ("DUPLICATE" if case == "twice" and i else v) for i, v in enumerate(verdicts)
    ]
    record = lab.record()
    assert (record["state"], record["hangup_cause"], record["ended_at"]) == (state, cause, ended)
    assert record["answered_at"] == (ANSWERED if state == "COMPLETED" else None)
    assert (record["ended_by"], record["cdr"], record["attempts"]) == ("cdr", "ended", 1)
    assert lab.events("call.completed") == [{"by": "cdr", "was": "AUTHORIZED"}]
    assert lab.permits() == 0


def test_the_calling_legs_record_alone_ends_an_unanswered_call(lab):
    """A call that never reached a carrier has no second leg: after a moment in which its record could come it ends."""
    assert lab.take(OWN_BUSY) == ["WAITING"]
    assert lab.settle() == []
    lab.age(3)
    assert lab.settle() == ["ENDED"]
    assert (lab.record()["state"], lab.record()["hangup_cause"]) == ("FAILED", "NORMAL_TEMPORARY_FAILURE")


def test_who_talked_is_closed_with_the_call(lab):
    """The agent's time runs from the answer to the end, also when the worker told neither."""
    lab.take(FAR)
    ((agent, from_at, until_at),) = lab.database.query("SELECT agent, from_at, until_at FROM dba.call_agents")
    assert (agent, from_at - lab.now, until_at - lab.now) == ("1001", ANSWERED, ENDED)


def test_a_worker_that_lives_has_a_minute(lab):
    """Records come before the worker's own end, which counts; only after a minute without one do they end the call."""
    live(lab)
    assert [lab.take(FAR), lab.take(OWN), lab.settle()] == [["WAITING"], ["WAITING"], []]
    lab.age(61)
    live(lab)
    assert lab.settle() == ["ENDED"]


# what the worker wrote, the records -> the last verdict, what differs
COMPARED = {
    "agrees": (("COMPLETED", ANSWERED, ENDED), [FAR, OWN], "AGREES", None),
    "agent-left-early": (("COMPLETED", ANSWERED, LATER), [LEFT_EARLY, TALKED_ON], "AGREES", None),
    "agrees-unanswered": (("BUSY", None, ENDED), [FAR_BUSY, OWN_BUSY], "AGREES", None),
    "cut-short": (("COMPLETED", ANSWERED, -14 * S), [FAR], "DIFFERS", ["ended"]),
    "too-long": (("COMPLETED", ANSWERED, LATER), [FAR], "DIFFERS", ["ended"]),
    "was-answered": (("NO_ANSWER", None, ENDED), [FAR], "DIFFERS", ["answered"]),
    "never-answered": (("COMPLETED", ANSWERED, ENDED), [OWN_BUSY, FAR_BUSY], "DIFFERS", ["answered"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPARED)
def test_an_end_the_worker_saw_is_compared_and_never_changed(lab, case):
    """A record agrees or differs; what differs has one audit event, and the worker's end stays."""
    (state, answered, ended), legs, verdict, differs = COMPARED[case]
    if answered is not None:
        answer(lab)
    assert finish(lab, state, answered, ended)
    before = lab.record()
    verdicts = [v for leg in legs for v in lab.take(leg)]
    assert verdict in verdicts
    assert lab.record() | {"cdr": None} == before
    assert lab.record()["cdr"] == verdict.lower()
    assert [event["in"] for event in lab.events("call.cdr_differs")] == ([differs] if differs else [])
    for leg in legs:
        lab.take(leg)
    assert len(lab.events("call.cdr_differs")) == (differs is not None)


def test_a_record_that_comes_late_ends_a_lost_call_truthfully(lab):
    """What a stopping worker or the reaper wrote as LOST is replaced by what FreeSWITCH saw."""
    answer(lab)
    assert finish(lab, "LOST", ANSWERED, -14 * S)
    assert lab.take(OWN) == ["WAITING"]
    assert lab.take(FAR) == ["ENDED"]
    assert (lab.record()["state"], lab.record()["ended_at"]) == ("COMPLETED", ENDED)
    assert lab.events("call.completed") == [{"by": "cdr", "was": "LOST"}]


FOREIGN = {
    "no-call-of-ours": {"channel": uuid.UUID(int=1)},
    "of-an-earlier-attempt": {"channel": uuid.UUID(int=2), "originator": "own"},
    "from-the-future": {"ended": timedelta(hours=1)},
    "before-the-call": {"ended": timedelta(hours=-1)},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_leg_that_is_no_calls_leaves_nothing(lab, case):
    """Other people's legs, and times no leg of the call can have, change and keep nothing."""
    changed = dict(FOREIGN[case])
    if "ended" in changed:
        changed["ended"] = lab.now + changed["ended"]
    if changed.get("originator"):
        changed["originator"] = lab.channel
    assert lab.take(OWN, **changed) == []
    assert lab.database.query("SELECT * FROM shield.cdr_legs") == []
    assert lab.record()["state"] == "AUTHORIZED"


def test_another_tenants_intake_sees_no_call(lab):
    """A login ends only calls of its own tenants."""
    lab.intake = lab.database.open(lab.database.login("intake", ["brick"]))
    assert lab.take(OWN) == []
    lab.reaper = lab.database.open(lab.database.login("reaper", ["brick"]))
    assert lab.gone(99) == "UNKNOWN"
    assert lab.reaper.call("open_calls", True) == []


def test_a_leg_that_is_gone_ends_as_lost_when_no_record_came(lab):
    """At once the permits end; the record waits as long as it was told, then says LOST and by when, not when."""
    assert lab.permits() == 1
    assert (lab.gone(1), lab.permits(), lab.record()["state"]) == ("WAITING", 0, "AUTHORIZED")
    assert lab.gone(31, seen_s=32) == "LOST"
    record = lab.record()
    assert (record["state"], record["ended_by"], record["ended_at"], record["talk_s"]) == ("LOST", "reaper", None, None)
    assert record["ended_before"] < -30 * S
    assert [(e["reason"], e["was"]) for e in lab.events("call.lost")] == [("leg_gone", "AUTHORIZED")]
    assert lab.gone(32) == "WAITING"
    assert lab.take(OWN) + lab.take(FAR) == ["WAITING", "ENDED"]
    assert (lab.record()["state"], lab.record()["ended_before"]) == ("COMPLETED", None)


def test_a_restart_is_not_waited_for(lab):
    """FreeSWITCH writes no record of calls it did not survive, so they are lost at once, with the restart as reason."""
    answer(lab)
    assert lab.gone(5, restarted=True) == "LOST"
    assert [(e["reason"], e["was"]) for e in lab.events("call.lost")] == [("switch_restarted", "ANSWERED")]


def test_a_worker_that_lives_keeps_its_call(lab):
    """The reaper changes nothing of a call whose worker reports, unless its legs are gone for a minute."""
    live(lab)
    assert (lab.gone(31), lab.permits()) == ("LIVES", 1)
    assert lab.gone(61) == "LOST"
    assert finish(lab)
    record = lab.record()
    assert (record["state"], record["ended_by"], record["ended_before"]) == ("COMPLETED", "worker", None)


def test_the_calling_legs_record_ends_a_talk_whose_customer_is_gone(lab):
    """Where the customer's leg has no record, its absence in FreeSWITCH lets the other leg's tell the end."""
    lab.take(OWN)
    assert lab.gone(1) == "WAITING"
    assert lab.gone(31) == "ENDED"
    assert (lab.record()["state"], lab.record()["ended_at"]) == ("COMPLETED", ENDED)


def test_a_customer_seen_up_later_is_not_cut_short(lab):
    """A transferred customer without a record ends at a time nobody knows: LOST, not the agent's end."""
    lab.take(Leg("own", ANSWERED, -15 * S))
    assert lab.gone(31, seen_s=1) == "LOST"
    assert lab.record()["ended_at"] is None


def test_only_calls_to_ask_about_are_named(lab):
    """A live worker's call is not asked about, a dead one's is, with the legs it has."""
    far = uuid.UUID(lab.attempt.sip_call_id)
    assert [row[:2] for row in lab.reaper.call("open_calls", False)] == [(lab.attempt.call, [lab.channel, far])]
    live(lab)
    assert lab.reaper.call("open_calls", False) == []
    lab.database.query("UPDATE shield.calls SET started_at = started_at - interval '1 minute'")
    assert len(lab.reaper.call("open_calls", True)) == 1
    lab.database.query("UPDATE shield.worker_beats SET at = at - interval '4 seconds'")
    assert len(lab.reaper.call("open_calls", False)) == 1


def test_records_are_forgotten_when_they_are_settled_and_a_day_old(lab):
    """The table of legs stays small; a copy that comes after that is still no news."""
    lab.take(FAR)
    lab.age(86_401)
    lab.settle()
    assert lab.database.query("SELECT * FROM shield.cdr_legs") == []
    assert lab.take(FAR) == ["KNOWN"]
    assert lab.record()["token"] == TOKEN
