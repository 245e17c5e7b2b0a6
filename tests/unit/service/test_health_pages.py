"""Health: bounded, never stale, part by part."""

from __future__ import annotations

import json

import gevent
import gevent.event
import pytest
from polling import at_most

from esl_shield.db.health import Health
from esl_shield.errors.database import DatabaseAway, LoginRefused
from esl_shield.errors.device import DeviceAway
from esl_shield.errors.keys import OtherKek
from esl_shield.http.healthpages import answer_health, database_and_keys


def test_nobody_waits_for_a_question_that_hangs():
    """Ten who ask at once are told after a second that the database is away; it is asked once, and then believed."""
    asked, answer = [], gevent.event.Event()
    health = Health(lambda: asked.append(1) or answer.wait())
    with at_most(1):
        asking = [gevent.spawn(health.problem) for _ in range(10)]
        found = [greenlet.get(timeout=10) for greenlet in asking]
    assert {type(problem) for problem in found} == {DatabaseAway}
    assert len(asked) == 1
    answer.set()
    gevent.sleep(0)
    assert health.problem() is None


def test_an_old_answer_is_not_given_again():
    """After a second the question is asked anew, and its answer counts."""
    now, problems = [0.0], [None]

    def ask():
        if problems[0]:
            raise problems[0]

    health = Health(ask, clock=lambda: now[0])
    assert health.is_well()
    problems[0] = DatabaseAway(problem="x")
    assert health.is_well()
    now[0] = 1.1
    assert not health.is_well()


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_error_of_ours_is_not_taken_for_health():
    """A question that breaks in an unforeseen way is not answered with well."""

    def ask():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Health(ask).is_well()


@pytest.mark.parametrize(
    ("problem", "parts"),
    [
        (None, {"database": "ok", "keys": "ok"}),
        (DatabaseAway(problem="x"), {"database": "database.away", "keys": "ok"}),
        (LoginRefused(problem="x", sqlstate=""), {"database": "database.login_refused", "keys": "ok"}),
        (OtherKek(wanted="a", given="b"), {"database": "ok", "keys": "keys.other_kek"}),
        (DeviceAway(uri="x", problem="x"), {"database": "ok", "keys": "device.away"}),
    ],
    ids=["well", "away", "login", "kek", "device"],
)
def test_a_problem_is_of_the_database_or_of_the_keys(problem, parts):
    """The part it is of holds its id."""
    assert database_and_keys(problem) == parts


def test_three_pages_and_their_status():
    """/livez asks nobody; /readyz and /healthz are 503 as soon as one part is not ok; others are no pages of health."""

    def page(target, parts):
        reply = answer_health(target, parts, closing=False)
        head, _, body = reply.data.partition(b"\r\n\r\n")
        return head.split()[1].decode(), json.loads(body), reply.close

    assert page("/livez", None) == ("200", {"live": True}, False)
    for target in ("/readyz", "/healthz"):
        well, full = {"slots": "ok"}, {"slots": "full"}
        assert page(target, lambda p=well: p) == ("200", {"live": True, "ready": True, "parts": well}, False)
        assert page(target, lambda p=full: p) == ("503", {"live": True, "ready": False, "parts": full}, True)
    assert answer_health("/health", None, closing=False) is None
