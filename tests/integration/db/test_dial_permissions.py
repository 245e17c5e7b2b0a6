"""Dial permissions in SQL: who is let through, who gets what an unknown token gets, and that a use is taken once."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import pytest
from shield_calls import TOKEN, Attempt, reasons

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def api(database, tenants):
    """Acme's API; acme requires permissions."""
    database.query("SELECT shield_api.set_dialling('acme', true, NULL, NULL)")
    return database.open(database.login("dialler", ["acme"]))


def grant(api, tenant="acme", token=TOKEN, **changes):
    """Grant a permission of one call, good for a day, to every agent; answers verdict and id."""
    values = {
        "id": uuid.uuid4(), "token": token, "alias": None, "agent": None, "from": None, "until": None, "calls": 1,
        "campaign": None, "ref": None,
    } | changes  # fmt: skip
    ((verdict, *_rest),) = api.call("grant_permission", tenant, *values.values())
    return verdict, values["id"]


def used(database):
    """How often each permission was used."""
    return [row[0] for row in database.query("SELECT used FROM shield.dial_permissions ORDER BY granted_at, id")]


def test_a_permission_lets_a_call_through_once_and_is_in_its_record(database, worker, api):
    """One use is one call, whose record and event name it and the business ID; the next is an unknown token."""
    verdict, permission = grant(api, ref="T-77", campaign="spring", alias="customer-1", token=None)
    assert verdict == "GRANTED"
    first = Attempt()
    assert [first.authorize(worker), Attempt().authorize(worker)] == [("ALLOWED",), ("NOT_FOUND",)]
    calls = database.query("SELECT state, ref, permission::text FROM shield.calls ORDER BY state")
    assert calls == [("AUTHORIZED", "T-77", str(permission)), ("REFUSED", None, None)]
    events = database.query("SELECT detail->>'permission' FROM shield.audit_events WHERE kind = 'call.authorized'")
    assert events == [(str(permission),)]
    assert reasons(database, "call.refused") == ["permission_used_up"]


@pytest.mark.parametrize(
    ("granted", "prepare", "reason"),
    [
        (None, None, "permission_missing"),
        ({"agent": "1002"}, None, "permission_of_another"),
        ({"from": NOW + HOUR}, None, "permission_early"),
        ({}, "UPDATE shield.dial_permissions SET valid_from = now() - interval '2h', valid_until = now()",
         "permission_expired"),
        ({}, "UPDATE shield.dial_permissions SET revoked_at = now()", "permission_revoked"),
        ({}, "UPDATE shield.dial_permissions SET used = calls", "permission_used_up"),
    ],
    ids=["none", "another's", "early", "expired", "revoked", "used-up"],
)  # fmt: skip
def test_without_a_valid_permission_a_token_is_as_if_unknown(database, worker, api, granted, prepare, reason):
    """The answer is that of an unknown token; why stands in the audit event alone, and no use is counted."""
    if granted is not None:
        assert grant(api, **granted)[0] == "GRANTED"
    if prepare:
        database.query(prepare)
    before = used(database)
    assert Attempt().authorize(worker) == Attempt(token="91000000000026").authorize(worker) == ("NOT_FOUND",)
    assert reasons(database, "call.refused") == [reason, "token_unknown"]
    assert used(database) == before
    assert database.query("SELECT 1 FROM shield.permits") == []


def test_a_tenant_that_requires_none_pays_nothing(database, worker, tenants):
    """Without the setting a permission is neither asked for nor used up."""
    api = database.open(database.login("dialler", ["acme"]))
    grant(api)
    assert Attempt().authorize(worker) == ("ALLOWED",)
    assert used(database) == [0]


def test_the_agents_own_permission_is_used_before_everybodys(database, worker, api):
    """Of several the agent's own comes first, then the one that ends first."""
    own, soon, late = (
        grant(api, **more)[1] for more in ({"agent": "1001"}, {"until": NOW + HOUR}, {"until": NOW + 2 * HOUR})
    )
    assert [Attempt().authorize(worker)[0] for _ in range(4)] == ["ALLOWED"] * 3 + ["NOT_FOUND"]
    rows = database.query("SELECT permission::text FROM shield.calls WHERE permission IS NOT NULL ORDER BY started_at")
    assert [row[0] for row in rows] == [str(own), str(soon), str(late)]


def test_what_a_cap_refuses_takes_no_use(database, worker, api):
    """A call refused by a cap gives its use back, and the refusal is the cap's."""
    grant(api)
    database.query("UPDATE shield.tenants SET agent_per_hour = 0")
    assert Attempt().authorize(worker) == ("FORBIDDEN",)
    assert reasons(database, "call.refused") == ["agent_cap"]
    assert used(database) == [0]


def test_a_further_gateway_takes_no_further_use(database, worker, api):
    """next_permit for a call goes through although its permission is used up, and counts nothing."""
    grant(api)
    attempt = Attempt()
    attempt.authorize(worker)
    assert worker.call("next_permit", attempt.call, uuid.uuid4().bytes * 2, "carrier", "edge", None) == [("ALLOWED",)]
    assert used(database) == [1]


def test_of_a_hundred_calls_at_the_last_use_one_is_let_through(database, api):
    """Calls at the same moment over ten connections take each use once: two permissions, three uses."""
    grant(api, calls=2)
    grant(api, agent="1001")
    logins = [database.open(database.login("worker", ["acme"])) for _ in range(10)]
    verdicts: list[str] = []
    gate = threading.Barrier(len(logins))

    def dial(worker):
        gate.wait()
        verdicts.extend(Attempt().authorize(worker)[0] for _ in range(10))

    threads = [threading.Thread(target=dial, args=(login,)) for login in logins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(verdicts) == ["ALLOWED"] * 3 + ["NOT_FOUND"] * 97
    assert sorted(used(database)) == [1, 2]


def test_granting_again_changes_nothing_and_another_with_its_id_is_refused(database, api):
    """The id makes a grant repeatable; it names one permission for good."""
    _, permission = grant(api, ref="T-1")
    assert grant(api, ref="T-1", id=permission)[0] == "UNCHANGED"
    assert grant(api, ref="T-2", id=permission)[0] == "REFUSED"
    assert len(used(database)) == 1


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"token": "91000000000026"}, "UNKNOWN"),
        ({"token": "92000000000014"}, "UNKNOWN"),
        ({"tenant": "brick", "token": "92000000000014"}, "UNKNOWN"),
        ({"token": None}, "UNKNOWN"),
        ({"calls": 0}, "REFUSED"),
        ({"until": NOW - HOUR}, "REFUSED"),
        ({"until": NOW + dt.timedelta(days=400)}, "REFUSED"),
        ({"from": NOW + HOUR, "until": NOW + HOUR}, "REFUSED"),
        ({"ref": "../etc"}, "REFUSED"),
        ({"ref": "T 1"}, "REFUSED"),
        ({"campaign": "a/b"}, "REFUSED"),
        ({"agent": "x\n"}, "REFUSED"),
        ({"id": None}, "REFUSED"),
    ],
    ids=["unknown", "another's", "unseen", "none", "no-calls", "past", "too-long", "empty-time", "path", "blank",
         "slash", "agent", "no-id"],
)  # fmt: skip
def test_what_cannot_be_granted_is_answered_and_audited(database, api, changes, verdict):
    """Unfit values and tokens out of sight leave an event and no permission."""
    assert grant(api, **changes)[0] == verdict
    assert reasons(database, "permission.not_granted") == [verdict.lower()]
    assert used(database) == []


def test_a_revoked_permission_ends_at_once(database, worker, api):
    """Revoking is told once and audited with how often the permission was used."""
    _, permission = grant(api, calls=None)
    assert Attempt().authorize(worker) == ("ALLOWED",)
    answers = [api.call("revoke_permission", "acme", permission)[0][0] for _ in range(2)]
    assert answers == ["REVOKED", "UNCHANGED"]
    assert api.call("revoke_permission", "acme", uuid.uuid4()) == [("UNKNOWN",)]
    assert Attempt().authorize(worker) == ("NOT_FOUND",)
    events = database.query("SELECT detail FROM shield.audit_events WHERE kind = 'permission.revoked'")
    assert events == [({"permission": str(permission), "used": 1},)]


def test_erasing_a_token_takes_its_permissions_and_its_calls_business_ids(database, worker, api):
    """What a tenant said of an erased customer is gone with it."""
    grant(api, ref="T-5")
    Attempt().authorize(worker)
    eraser = database.open(database.login("eraser", ["acme"]))
    assert eraser.call("erase_tokens", "acme", [TOKEN], [None], "C-1", "asked")[0][2] == "erased"
    assert used(database) == []
    assert database.query("SELECT ref, alias FROM shield.calls") == [(None, None)]


def test_permissions_that_ended_long_ago_are_cleared_on_the_way(database, api):
    """A grant removes a few that ended more than 30 days ago."""
    grant(api)
    database.query(
        "UPDATE shield.dial_permissions SET valid_from = now() - interval '40 days',"
        " valid_until = now() - interval '31 days'"
    )
    grant(api)
    assert len(used(database)) == 1
