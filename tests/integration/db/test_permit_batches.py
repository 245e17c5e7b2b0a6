"""Permits redeemed in one statement are judged each by itself."""

from __future__ import annotations

import pytest
from shield_calls import Attempt, reasons, redeem_batch

from esl_shield.errors.database import DatabaseRefused


@pytest.fixture
def attempts(worker):
    """Authorised calls, by what becomes of their permits; ``brick`` is another tenant's, ``unknown`` was never made."""
    made = {name: Attempt() for name in ("good", "token_differs", "gateway_differs", "permit_expired", "last")}
    for attempt in made.values():
        assert attempt.authorize(worker) == ("ALLOWED",)
    return made | {"unknown": Attempt()}


@pytest.fixture
def bricks(database, tenants):
    """A call of another tenant, and the login that may redeem its permit."""
    database.tokens(tenants["brick"], "92000000000014")
    attempt = Attempt(domain="brick.example", token="92000000000014")
    assert attempt.authorize(database.open(database.login("worker", ["brick"]))) == ("ALLOWED",)
    return attempt, database.open(database.login("resolver", ["brick"]))


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_each_is_judged_by_itself(database, resolver, attempts, bricks, backwards):
    """Good ones get their row whatever stands beside them, each has its event, in order; a second gets nothing."""
    database.query(
        "UPDATE shield.permits SET expires_at = now() WHERE permit_hash = %s", attempts["permit_expired"].permit
    )
    attempt, bricks_resolver = bricks
    asked = [
        ("good", attempts["good"].asked()),
        ("token_differs", attempts["token_differs"].asked(token="91000000000099")),
        ("permit_unknown", attempts["unknown"].asked()),
        ("gateway_differs", attempts["gateway_differs"].asked(gateway="other")),
        ("permit_unknown", attempt.asked()),
        ("permit_expired", attempts["permit_expired"].asked()),
        ("last", attempts["last"].asked()),
    ]
    asked = asked[::-1] if backwards else asked
    asked.append(("permit_unknown", attempts["good"].asked()))
    rows = redeem_batch(resolver, [arguments for _, arguments in asked])
    names = [name for name, _ in asked]
    expected = [(names.index(name) + 1, attempts[name].call) for name in names if name in ("good", "last")]
    assert [row[:2] for row in rows] == expected
    assert reasons(database, "permit.refused") == [name for name in names if name not in ("good", "last")]
    events = database.query("SELECT call FROM shield.audit_events WHERE kind = 'permit.redeemed' ORDER BY id")
    assert [row[0] for row in events] == [str(call) for _, call in expected]
    assert redeem_batch(resolver, [arguments for _, arguments in asked]) == []
    assert len(attempt.redeem(bricks_resolver)) == 1


def test_a_wrong_try_before_the_right_one_uses_the_permit_up(database, resolver, attempts):
    """Of two who ask for one permit in a statement the first is judged, though the second were right."""
    good = attempts["good"]
    assert redeem_batch(resolver, [good.asked(gateway="other"), good.asked()]) == []
    assert reasons(database, "permit.refused") == ["gateway_differs", "permit_unknown"]


def test_nobody_waits_for_a_row_another_transaction_holds(database, resolver, attempts):
    """What is held is named without an event and left; who asks for it alone, and waits, gets it once it is free."""
    other = database.connect()
    other.autocommit = False
    good, last = attempts["good"], attempts["last"]
    with other.cursor() as cursor:
        cursor.execute("SELECT FROM shield.permits WHERE permit_hash = %s FOR UPDATE", (good.permit,))
    rows = redeem_batch(resolver, [good.asked(), last.asked(), good.asked()])
    assert [row[:2] for row in rows] == [(1, None), (2, last.call), (3, None)]
    assert reasons(database, "permit.refused") == []
    other.rollback()
    assert len(good.redeem(resolver)) == 1
    assert good.redeem(resolver) == []


def test_without_its_audit_event_nobody_gets_anything(database, resolver, attempts):
    """When one event of the statement cannot be written nothing is redeemed, and the permits are as they were."""
    check = "CHECK (detail ->> 'reason' <> 'token_differs')"
    database.query(f"ALTER TABLE shield.audit_events ADD CONSTRAINT broken {check}")
    asked = [attempts["good"].asked(), attempts["token_differs"].asked(token="91000000000099")]
    with pytest.raises(DatabaseRefused):
        redeem_batch(resolver, asked)
    database.query("ALTER TABLE shield.audit_events DROP CONSTRAINT broken")
    assert len(attempts["good"].redeem(resolver)) == 1
