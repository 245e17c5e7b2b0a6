"""The circuit breaker, and how the choice of methods uses it."""

from __future__ import annotations

import uuid

import gevent
import pytest

from esl_shield.errors.database import DatabaseAway
from esl_shield.errors.keys import CipherDamaged
from esl_shield.errors.methods import MethodAway, MethodRefused
from esl_shield.resolver.methods.breaker import FAILURES, REST_S, Breaker
from esl_shield.resolver.methods.choice import Methods
from esl_shield.resolver.permits import Redeemed
from esl_shield.vault.numbers import SubscriberNumber

NUMBER = SubscriberNumber("+8613800138001")
ROW = ("bank", "81", "crm", 20, None, ["CN"], [], ["mobile"])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Database:
    def __init__(self, rows) -> None:
        self._rows = rows

    def call(self, function, *_):
        assert function == "token_method"
        return self._rows


class Scripted:
    """A method that does what it is told."""

    name, budget_s = "crm", 0.05

    def __init__(self) -> None:
        self.does = lambda: NUMBER
        self.asked = 0

    def number_of(self, redeemed, prefix=None):  # noqa: ARG002 - it does what it is told
        self.asked += 1
        return self.does()


class Stored(Scripted):
    name = "stored"


def redeemed(tenant_id=1, ciphertext=None):
    return Redeemed(uuid.uuid4(), tenant_id, "8" * 20, ciphertext, ciphertext and 1)


def raising(error):
    def do():
        raise error

    return do


def methods(counted, *others, rows=(ROW,), stored=None):
    return Methods(Database(list(rows)), stored or Stored(), others, lambda *what: counted.append(what[:2]))


def test_it_opens_after_failures_in_a_row_and_closes_with_a_success():
    """Failures in between successes count anew; open it lets nobody, after its rest one, through."""
    clock = Clock()
    breaker = Breaker(clock=clock)
    for well in [False] * (FAILURES - 1) + [True] + [False] * FAILURES:
        assert breaker.admit()
        breaker.settle(well=well)
    assert breaker.is_open
    assert not breaker.admit()
    clock.now += REST_S
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    breaker.settle(well=False)
    assert not breaker.admit()
    clock.now += REST_S
    assert breaker.admit()
    breaker.settle(well=True)
    assert not breaker.is_open
    assert all(breaker.admit() for _ in range(3))


@pytest.mark.parametrize(
    ("does", "reason", "outcome"),
    [
        (raising(MethodAway(method="crm", reason="crm_away")), "crm_away", "away"),
        (lambda: gevent.sleep(1), "method_slow", "away"),
    ],
    ids=["away", "slow"],
)
def test_failures_open_one_tenants_method_alone(does, reason, outcome):
    """What fails often is not asked for that tenant any more, while another tenant's and stored tokens go on."""
    counted, method = [], Scripted()
    chosen = methods(counted, method)
    method.does = does
    for _ in range(FAILURES):
        with pytest.raises(MethodAway) as caught:
            chosen.number_of(redeemed())
        assert caught.value.reason == reason
    with pytest.raises(MethodAway) as caught:
        chosen.number_of(redeemed())
    assert caught.value.reason == "method_open"
    assert method.asked == FAILURES
    assert counted == [("crm", outcome)] * FAILURES + [("crm", "open")]
    assert chosen.open_breakers == {"stored": 0, "crm": 1}
    method.does = lambda: NUMBER
    assert chosen.number_of(redeemed(tenant_id=2)) == NUMBER
    assert chosen.number_of(redeemed(ciphertext=b"x")) == NUMBER


@pytest.mark.parametrize(
    "error",
    [MethodRefused(method="crm", reason="crm_unknown"), CipherDamaged(), MethodAway(method="crm", reason="crm_busy")],
    ids=["refused", "damaged", "busy"],
)
def test_what_is_no_fault_of_the_service_opens_nothing(error):
    """Refusals, damaged rows and too many requests at once never open a breaker."""
    method = Scripted()
    method.does = raising(error)
    chosen = methods([], method)
    for _ in range(3 * FAILURES):
        with pytest.raises(type(error)):
            chosen.number_of(redeemed())
    assert chosen.open_breakers == {"stored": 0, "crm": 0}


def test_a_dead_database_opens_the_breaker_too():
    """A method whose keys cannot be read is left alone like one whose service is away."""
    stored = Stored()
    stored.does = raising(DatabaseAway(problem="it is away"))
    chosen = methods([], stored=stored)
    for _ in range(FAILURES):
        with pytest.raises(DatabaseAway):
            chosen.number_of(redeemed(ciphertext=b"x"))
    with pytest.raises(MethodAway):
        chosen.number_of(redeemed(ciphertext=b"x"))


def test_no_other_method_is_tried():
    """A token of a method that is not configured, or of a prefix that is gone, is decrypted by none."""
    stored = Stored()
    with pytest.raises(MethodAway, match="method_unconfigured"):
        methods([], stored=stored).number_of(redeemed())
    with pytest.raises(MethodRefused, match="prefix_over"):
        methods([], Scripted(), rows=(), stored=stored).number_of(redeemed())
    assert stored.asked == 0
