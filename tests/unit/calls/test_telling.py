"""What is told of calls in the background shares statements and keeps each call's order."""

from __future__ import annotations

import pytest
from gevent import Timeout
from gevent.event import Event

from esl_shield.calls import telling
from esl_shield.calls.telling import Lane, Said
from esl_shield.errors.database import DatabaseAway, DatabaseRefused


class Heard:
    """Takes statements as a database does: slowly until told to go on, refusing rows it dislikes."""

    def __init__(self):
        self.statements, self.problems, self.counted = [], [], []
        self.open = Event()
        self.open.set()

    def call(self, function, *arguments):
        self.open.wait()
        if self.problems:
            raise self.problems.pop(0)
        told = arguments[0]
        calls = [row["call"] for row in told] if isinstance(told, list) else [told]
        if "bad" in calls:
            raise DatabaseRefused(function=function, sqlstate="23514")
        self.statements.append((function, calls))
        return []

    def count(self, kind, reason, domain=""):  # noqa: ARG002 - as an Observer
        self.counted.append((kind, reason))


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def tell(heard):
    """Queue all while the lane is busy with a first statement, then wait until all is written."""
    lane = Lane(heard, heard, most=100)

    def tell(*said):
        heard.open.clear()
        lane.put(Said("first", "0"))
        for one in said:
            lane.put(one)
        heard.open.set()
        with Timeout(10):
            lane.written.wait()
        return heard.statements[1:]

    yield tell
    lane.stop()


def answered(call):
    return Said("calls_answered", call, row={})


def finished(call):
    return Said("finish_calls", call, row={})


def test_several_calls_share_a_statement(tell):
    """What several calls have to say, each one thing, is a statement of each kind."""
    told = tell(answered("1"), finished("2"), answered("3"))
    assert told == [("calls_answered", ["1", "3"]), ("finish_calls", ["2"])]


def test_one_call_is_told_in_order(tell):
    """The end of a call never shares with, nor overtakes, what came before it of the same call."""
    told = tell(finished("1"), answered("2"), finished("2"), Said("call_left", "3"), finished("3"))
    assert told == [
        *[("calls_answered", ["2"]), ("finish_calls", ["1"]), ("finish_calls", ["2"])],
        *[("call_left", ["3"]), ("finish_calls", ["3"])],
    ]


def test_a_refused_one_costs_the_others_nothing(tell, heard):
    """Of a statement that is refused each call is told alone, and only the refused one is lost."""
    assert tell(finished("1"), finished("bad"), finished("2")) == [("finish_calls", ["1"]), ("finish_calls", ["2"])]
    assert heard.counted == [("cdr_lost", "refused")]


def test_a_database_that_is_away_is_waited_for(tell, heard, monkeypatch):
    """Nothing is lost, and all of it goes together once the database is back."""
    monkeypatch.setattr(telling, "RETRY_FIRST_S", 0.01)
    heard.problems = [DatabaseAway(problem="test")] * 2
    assert tell(finished("1"), finished("2")) == [("finish_calls", ["1", "2"])]
    assert heard.counted == [("cdr_delayed", "database_away")] * 2


def test_a_statement_has_a_bound(tell, monkeypatch):
    """However many wait, a statement carries so many."""
    monkeypatch.setattr(telling, "MOST_TOGETHER", 3)
    assert [len(calls) for _, calls in tell(*(finished(str(n)) for n in range(1, 8)))] == [3, 3, 1]


def test_what_is_left_is_counted(heard):
    """Whoever stops learns how much was not written, what is under way included."""
    lane = Lane(heard, heard, most=2)
    heard.open.clear()
    for call in "123":
        lane.put(finished(call))
    assert heard.counted == [("cdr_lost", "queue_full")]
    assert lane.stop() == lane.waiting == 2
