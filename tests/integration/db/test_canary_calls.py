"""What the canary's login learns of its own calls, and that it learns nothing of others."""

from __future__ import annotations

import uuid

import pytest
from shield_calls import TOKEN, Attempt

OTHER = "91000000000026"


@pytest.fixture
def canary(database, tenants):
    """Acme's canary and its run: id of the tenant, id of the event it starts behind, moment."""
    opened = database.open(database.login("canary", ["acme"]))
    (start,) = opened.call("start_canary", "acme", str(uuid.uuid4()), 2)
    return opened, start


def _calls(canary, *tokens, agent="1001"):
    opened, (tenant, after, moment) = canary
    rows = opened.call("canary_calls", tenant, agent, list(tokens), after, moment)
    return [(row[0], row[1], row[2], row[12]) for row in rows]


def test_a_call_is_told_from_authorised_to_redeemed_and_ended(canary, worker, resolver):
    """State and whether the number was handed out follow the call."""
    attempt = Attempt()
    assert _calls(canary, TOKEN) == []
    attempt.authorize(worker)
    assert _calls(canary, TOKEN) == [(attempt.call, TOKEN, "AUTHORIZED", False)]
    assert attempt.redeem(resolver)
    attempt.finish(worker)
    assert _calls(canary, TOKEN) == [(attempt.call, TOKEN, "COMPLETED", True)]


def test_a_refused_destination_is_not_handed_out(canary, worker, resolver):
    """A number that was decrypted and refused reached no carrier."""
    attempt = Attempt()
    attempt.authorize(worker)
    attempt.redeem(resolver)
    resolver.call("note_refusal", attempt.call, "destination")
    assert [redeemed for *_, redeemed in _calls(canary, TOKEN)] == [False]


def test_only_this_runs_calls_of_this_agent_are_told(database, canary, worker, tenants):
    """Calls before the start, of other agents, to other tokens, and of tenants the login does not see are left out."""
    database.tokens(tenants["acme"], OTHER)
    for attempt in (Attempt(agent="1002"), Attempt(token=OTHER)):
        attempt.authorize(worker)
    assert _calls(canary, TOKEN) == []
    opened, _ = canary
    (later,) = opened.call("start_canary", "acme", str(uuid.uuid4()), 1)
    assert _calls((opened, later), OTHER) == []
    assert opened.call("start_canary", "brick", str(uuid.uuid4()), 1) == []
    brick = database.open(database.login("canary", ["brick"]))
    _, (tenant, after, moment) = canary
    assert brick.call("canary_calls", tenant, "1001", [OTHER], after, moment) == []
    kinds = database.query("SELECT count(*) FROM dba.audit_events WHERE kind = 'canary.started'")
    assert kinds == [(2,)]
