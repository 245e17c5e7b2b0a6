"""Which permits share a statement, and what becomes of those in it."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from esl_shield.audit.journal import UNANSWERED
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.resolver.permits import Asked, PermitQueue


class Statements:
    """Stands where the database is: each statement waits until it is let go, then redeems all but ``refused``."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.waits: list[bool] = []
        self.free = Event()
        self.failure: Exception | None = None
        self.refused: set[str] = set()
        self.held: set[str] = set()

    def call(self, function, hashes, tokens, *others):
        wait = others[-1]
        assert function == "redeem_permits"
        self.sent.append(tokens)
        self.waits.append(wait)
        self.free.wait()
        if self.failure:
            raise self.failure
        rows = []
        for place, token in enumerate(tokens, 1):
            if token in self.held and not wait:
                rows.append((place, *[None] * 5))
            elif token not in self.refused:
                rows.append((place, "call", 1, token, b"sealed " + hashes[place - 1], 1))
        return rows


@pytest.fixture
def database():
    return Statements()


@pytest.fixture
def counted():
    return []


@pytest.fixture
def ask(database, counted):
    """Asks for tokens in greenlets of their own; returns the greenlets."""
    queue = PermitQueue(database, counted.append, lanes=2, most=3, patience_s=0.05)

    def ask(*tokens):
        asking = [gevent.spawn(queue.redeem, Asked(token.encode(), token, "g", "edge", None)) for token in tokens]
        gevent.idle()
        return asking

    return ask


def test_those_who_come_while_the_database_is_busy_share_its_next_statement(database, ask):
    """A lone one leaves at once, the rest go together when it is back, at most so many at a time."""
    asking = ask("1") + ask("2") + ask("3", "4") + ask("5")
    assert database.sent == [["1"]]
    database.free.set()
    gevent.joinall(asking, raise_error=True)
    assert database.sent == [["1"], ["2", "3", "4"], ["5"]]
    assert [greenlet.value.ciphertext for greenlet in asking] == [b"sealed %d" % n for n in range(1, 6)]


def test_a_statement_that_hangs_holds_up_those_in_it_only(database, ask):
    """When one takes too long what waits leaves beside it, but no more at once than there are lanes."""
    asking = ask("1") + ask("2", "3")
    assert database.sent == [["1"]]
    with gevent.Timeout(5):
        while len(database.sent) < 2:
            gevent.sleep(0.005)
    asking += ask("4")
    gevent.sleep(0.1)  # what is looked at is that nothing leaves
    assert database.sent == [["1"], ["2", "3"]]
    database.free.set()
    gevent.joinall(asking, raise_error=True)
    assert database.sent[2:] == [["4"]]
    ask("5")
    assert database.sent[3:] == [["5"]]


def test_those_ready_together_leave_together(database, ask):
    """What came before the hub turned to the database is one statement, and a refused one harms no other."""
    database.free.set()
    database.refused = {"2"}
    answers = [greenlet.get() for greenlet in ask("1", "2", "3")]
    assert database.sent == [["1", "2", "3"]]
    assert [answer and answer.token for answer in answers] == ["1", None, "3"]


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (DatabaseAway(problem="it was told to be"), [UNANSWERED] * 3),
        (DatabaseRefused(function="f", sqlstate="42501"), []),
        (ZeroDivisionError(), [UNANSWERED] * 3),
    ],
    ids=["away", "refused", "unexpected"],
)
def test_a_failed_statement_fails_for_all_in_it(database, ask, counted, failure, counts):
    """Everybody in it gets its error and nobody a number; those after it are served."""
    database.failure = failure
    asking = ask("1", "2", "3")
    database.free.set()
    gevent.joinall(asking)
    assert [type(greenlet.exception) for greenlet in asking] == [type(failure)] * 3
    assert counted == counts
    database.failure = None
    assert ask("4")[0].get().token == "4"


def test_who_gives_up_is_not_sent_or_is_counted(database, ask, counted):
    """A caller cut off before its permit left leaves it unused; one cut off later is counted; the others are served."""
    under_way = ask("1", "2")
    waiting = ask("3", "4")
    gevent.killall([under_way[0], waiting[0]])
    assert counted == [UNANSWERED]
    database.free.set()
    assert [under_way[1].get().token, waiting[1].get().token] == ["2", "4"]
    assert database.sent == [["1", "2"], ["4"]]
    assert counted == [UNANSWERED]


def test_a_held_one_is_asked_for_again_alone(database, ask):
    """What another transaction holds is waited for by its own caller only."""
    database.held = {"2"}
    database.free.set()
    assert [greenlet.get().token for greenlet in ask("1", "2", "3")] == ["1", "2", "3"]
    assert list(zip(database.sent, database.waits, strict=True)) == [(["1", "2", "3"], False), (["2"], True)]
