"""A permit is a single-use right to learn one number."""

from __future__ import annotations

import hashlib
import threading
import uuid

import pytest
from shield_calls import TOKEN, Attempt, reasons

from esl_shield.errors.database import DatabaseRefused

CIPHERTEXT = hashlib.sha512(TOKEN.encode()).digest()


@pytest.fixture
def attempt(worker):
    """An authorised call, its permit bound to a SIP Call-ID."""
    made = Attempt(sip_call_id="7e9c-1")
    assert made.authorize(worker)[0] == "ALLOWED"
    return made


def test_a_permit_gives_the_ciphertext_once(database, resolver, attempt, tenants):
    """The first redemption gets ciphertext and key version, the second nothing; both are audited."""
    assert attempt.redeem(resolver) == [(attempt.call, tenants["acme"], TOKEN, CIPHERTEXT, 1)]
    assert attempt.redeem(resolver) == []
    assert reasons(database, "permit.redeemed") == [None]
    assert reasons(database, "permit.refused") == ["permit_unknown"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"token": "92000000000014"}, "token_differs"),
        ({"token": None}, "token_differs"),
        ({"gateway": "other"}, "gateway_differs"),
        ({"gateway": None}, "gateway_differs"),
        ({"delivery": "direct"}, "delivery_differs"),
        ({"sip_call_id": "7e9c-2"}, "call_id_differs"),
        ({"sip_call_id": None}, "call_id_differs"),
    ],
)
def test_whatever_is_not_exactly_right_gets_nothing_and_ends_the_permit(database, resolver, attempt, changed, reason):
    """One wrong detail: no row, the permit is gone, the reason is audited."""
    assert attempt.redeem(resolver, **changed) == []
    assert reasons(database, "permit.refused") == [reason]
    assert attempt.redeem(resolver) == []


def test_an_expired_permit_gets_nothing(database, resolver, attempt):
    """A permit lives ten seconds."""
    lifetime = "SELECT extract(epoch FROM expires_at - now()) FROM shield.permits"
    assert 0 < database.query(lifetime)[0][0] <= 10
    database.query("UPDATE shield.permits SET expires_at = now()")
    assert attempt.redeem(resolver) == []
    assert reasons(database, "permit.refused") == ["permit_expired"]


@pytest.mark.parametrize("change", ["status = 'revoked'", "expires_at = now()"])
def test_a_token_revoked_since_gets_nothing(database, resolver, attempt, change):
    """A token revoked or expired between authorisation and redemption is not resolved."""
    database.query(f"UPDATE shield.tokens SET {change}")
    assert attempt.redeem(resolver) == []
    assert reasons(database, "permit.refused") == ["token_over"]


def test_a_permit_without_call_id_takes_any(resolver, worker):
    """Direct delivery has no Call-ID to bind to."""
    attempt = Attempt(delivery="direct")
    attempt.authorize(worker)
    assert len(attempt.redeem(resolver, sip_call_id="anything")) == 1


def test_an_unknown_permit_gets_nothing(database, resolver):
    """A guessed permit is refused and audited, without a tenant."""
    assert Attempt().redeem(resolver) == []
    assert database.query("SELECT tenant_id, token, call FROM shield.audit_events WHERE kind = 'permit.refused'") == [
        (None, None, None)
    ]


def test_a_resolver_redeems_its_deliveries_only(database, attempt):
    """The resolver of direct deliveries gets nothing for an edge permit, whatever it names."""
    direct = database.open(database.login("resolver", ["acme"], ["direct"]))
    assert attempt.redeem(direct) == []
    assert reasons(database, "permit.refused") == ["delivery_foreign"]
    assert attempt.redeem(direct, delivery="direct") == []


def test_another_tenants_resolver_gets_nothing_and_harms_nothing(database, resolver, attempt):
    """Brick's resolver does not see acme's permit, so it can not use it up either."""
    bricks = database.open(database.login("resolver", ["brick"]))
    assert attempt.redeem(bricks) == []
    assert len(attempt.redeem(resolver)) == 1


def test_of_many_redeemers_exactly_one_wins(database, worker, tenants):
    """Eight resolvers with the same permit at the same moment: one ciphertext."""
    config = database.login("resolver", ["acme"])
    resolvers = [database.open(config) for _ in range(8)]
    for _ in range(5):
        attempt = Attempt()
        attempt.authorize(worker)
        barrier, answers = threading.Barrier(8), []

        def redeem(resolver, attempt=attempt, barrier=barrier, answers=answers):
            barrier.wait()
            answers.extend(attempt.redeem(resolver))

        threads = [threading.Thread(target=redeem, args=(resolver,)) for resolver in resolvers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 1


def test_without_an_audit_event_there_is_no_ciphertext(database, resolver, attempt):
    """When the redemption cannot be audited the resolver gets an error, not the ciphertext."""
    database.query("ALTER TABLE shield.audit_events ADD CONSTRAINT broken CHECK (kind <> 'permit.redeemed') NOT VALID")
    with pytest.raises(DatabaseRefused):
        attempt.redeem(resolver)


def test_next_permit_replaces_the_one_before(database, worker, resolver, attempt):
    """For another gateway the call gets a new permit; the old one is dead; the event says which gateway."""
    before = attempt.permit
    assert attempt.next_permit(worker, gateway="second") == "ALLOWED"
    assert attempt.redeem(resolver, permit=before) == []
    assert len(attempt.redeem(resolver, gateway="second")) == 1
    assert database.query("SELECT detail ->> 'gateway' FROM shield.audit_events WHERE kind = 'permit.renewed'") == [
        ("second",)
    ]
    assert database.query("SELECT gateway, permits FROM shield.calls") == [("second", 2)]


def test_next_permit_counts_no_caps(database, worker, attempt):
    """A failover is the same call: a cap that is used up does not stop it."""
    database.query("SELECT shield_api.set_caps('acme', 0, 0, 0)")
    assert attempt.next_permit(worker) == "ALLOWED"


def test_a_call_gets_four_permits_at_most(database, worker, attempt):
    """The fifth permit of a call is forbidden."""
    assert [attempt.next_permit(worker) for _ in range(4)] == ["ALLOWED", "ALLOWED", "ALLOWED", "FORBIDDEN"]
    assert reasons(database, "permit.denied") == ["permit_limit"]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("UPDATE shield.calls SET started_at = started_at - interval '5 minutes'", "call_old"),
        ("UPDATE shield.calls SET state = 'ANSWERED'", "call_over"),
        ("UPDATE shield.calls SET state = 'BUSY'", "call_over"),
        ("UPDATE shield.tokens SET status = 'revoked'", "token_over"),
        ("UPDATE shield.tokens SET expires_at = now()", "token_over"),
        ("DELETE FROM shield.calls", "call_unknown"),
    ],
)
def test_next_permit_is_for_a_young_unanswered_call_of_a_live_token(database, worker, attempt, prepare, reason):
    """Whatever else gets FORBIDDEN, with the reason in the audit event."""
    database.query(prepare)
    assert attempt.next_permit(worker) == "FORBIDDEN"
    assert reasons(database, "permit.denied") == [reason]


def test_next_permit_without_an_audit_event_is_none(database, worker, resolver, attempt):
    """A renewal that cannot be audited is an error and leaves the old permit as it was."""
    before = attempt.permit
    database.query("ALTER TABLE shield.audit_events ADD CONSTRAINT broken CHECK (kind <> 'permit.renewed') NOT VALID")
    with pytest.raises(DatabaseRefused):
        attempt.next_permit(worker)
    assert [bytes(row[0]) for row in database.query("SELECT permit_hash FROM shield.permits")] == [before]


def test_permits_left_behind_are_cleared_by_later_calls(database, worker, attempt):
    """A permit that expired more than a minute ago goes when some other call of the tenant ends."""
    database.query("UPDATE shield.permits SET expires_at = now() - interval '2 minutes'")
    other = Attempt()
    other.authorize(worker)
    other.finish(worker)
    assert database.query("SELECT 1 FROM shield.permits") == []


def test_a_refused_number_is_noted(database, resolver, attempt):
    """The resolver's own refusal is audited with the call's token, and a reason that holds no digits."""
    resolver.call("note_refusal", attempt.call, "destination.country")
    resolver.call("note_refusal", attempt.call, "+8613800138000")
    resolver.call("note_refusal", uuid.uuid4(), "cipher.damaged")
    rows = "SELECT token, detail ->> 'reason' FROM shield.audit_events WHERE kind = 'permit.refused_number' ORDER BY id"
    assert database.query(rows) == [(TOKEN, "destination.country"), (TOKEN, "other"), (None, "cipher.damaged")]


def test_data_keys_are_read_index_keys_are_not(database, resolver, tenants):
    """The resolver reads the data key's versions, audited; never the index key, never another tenant's."""
    for tenant in tenants.values():
        for purpose in ("data", "index"):
            database.query("SELECT shield_api.add_key(%s, %s, 2, %s, 'kek-1')", tenant, purpose, purpose.encode() * 10)
    assert resolver.call("tenant_data_key", tenants["acme"], 2) == [(b"data" * 10, "kek-1")]
    assert resolver.call("tenant_data_key", tenants["acme"], 1) == []
    assert resolver.call("tenant_data_key", tenants["brick"], 2) == []
    assert database.query(
        "SELECT tenant_id, detail ->> 'purpose' FROM shield.audit_events WHERE kind = 'key.read'"
    ) == [(tenants["acme"], "data")]
