"""``POST /reveal``: tickets of two people's steps, the answers, and that a refusal says nothing."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from resolver_process import EDGE_SECRET, NUMBERS, REFUSED, REVEALS_SECRET, post

from esl_shield.config.values import Address
from esl_shield.errors.resolver import ResolverAway
from esl_shield.errors.reveals import RevealRefused
from esl_shield.resolver.asking import ResolverClient, Ticket
from esl_shield.resolver.desk import Desk
from esl_shield.vault import cipher
from esl_shield.vault.keys import Key
from esl_shield.vault.numbers import SubscriberNumber

BEARER = {"Authorization": f"Bearer {REVEALS_SECRET}"}
MOBILE, FIXED = SubscriberNumber(NUMBERS["mobile"]), SubscriberNumber(NUMBERS["fixed"])


class People:
    """A requester and an approver, and the resolver they ask."""

    def __init__(self, database, vault, resolver):
        self.vault, self.resolver = vault, resolver
        self.client = ResolverClient(Address("127.0.0.1", resolver.port), REVEALS_SECRET.encode())
        self.logins = [
            database.open(database.login("revealer", [vault.tenant], rights=[r])) for r in ("request", "approve")
        ]
        self.requester, self.approver = (Desk(login, self.client) for login in self.logins)

    def approved(self, name="mobile"):
        """A request for the number behind a token, approved."""
        asked = self.requester.request_number(self.vault.tenant, self.vault.tokens.get(name, name), "C-1", "complaint")
        self.approver.approve(asked.id, None)
        return asked.id

    def opened(self, name="mobile"):
        """The ticket of an opened reveal."""
        return self.requester.open(self.approved(name)).ticket

    def named(self):
        """The ticket that waits for a requester's number."""
        ticket = Ticket()
        arguments = (self.vault.tenant, "calls", None, "C-1", "complaint", ticket.hash)
        assert self.logins[0].call("request_reveal", *arguments)[0][0] == "ALLOWED"
        return ticket

    def post(self, ticket, headers=BEARER, **fields):
        """Send a form; a Ticket or 32 hex digits."""
        spelled = ticket.hex() if isinstance(ticket, Ticket) else ticket
        return self.resolver.send(post({"ticket": spelled} | fields, headers, path="/reveal"))

    def reasons(self):
        """Why reveals were refused, oldest first."""
        with self.vault.admin.cursor() as cursor:
            cursor.execute(
                "SELECT detail ->> 'reason' FROM shield.audit_events WHERE kind = 'reveal.refused' ORDER BY id"
            )
            return [row[0] for row in cursor.fetchall()]


@pytest.fixture
def people(database, vault, resolver):
    """Two people of the vault's tenant."""
    return People(database, vault, resolver)


def test_two_people_learn_a_number_once(people, vault):
    """The opened reveal's ticket buys the number; a second time it buys nothing. A revoked token has a number too."""
    reveal = people.approved()
    opened = people.requester.open(reveal)
    assert people.requester.answer(opened) == {"token": vault.tokens["mobile"], "number": NUMBERS["mobile"]}
    with pytest.raises(RevealRefused):
        people.requester.answer(opened)
    revoked = vault.seed("+8613800138779")
    vault.one("UPDATE shield.tokens SET status = 'revoked' WHERE token = %s", revoked)
    assert people.client.redeem(people.opened(revoked))["number"] == "+8613800138779"


def test_two_people_learn_a_numbers_calls(people, vault):
    """Both name the number; the answer has its token and calls, and no number."""
    permit = vault.permit("fixed")
    reveal = people.requester.request_calls(vault.tenant, FIXED, "C-2", "who called me?").id
    with pytest.raises(RevealRefused):
        people.approver.approve(reveal, MOBILE)
    people.approver.approve(reveal, FIXED)
    answer = people.requester.answer(people.requester.open(reveal))
    assert (answer["token"], answer["total"]) == (vault.tokens["fixed"], 1)
    assert [call["id"] for call in answer["calls"]] == [permit.call]
    assert NUMBERS["fixed"][1:] not in str(answer)
    unknown = SubscriberNumber("+8613800138999")
    reveal = people.requester.request_calls(vault.tenant, unknown, "C-3", "who called me?").id
    people.approver.approve(reveal, unknown)
    answer = people.requester.answer(people.requester.open(reveal))
    assert answer == {"token": None, "total": 0, "calls": []}


def test_every_refusal_is_the_same_bytes(people, resolver, vault):
    """Whatever was wrong, with the ticket, the form, the proof or the step, the answer is that of a refused permit."""
    used, expired, misused, late = people.opened(), people.opened(), people.opened(), people.named()
    assert people.post(used).status == 200
    vault.one(
        "UPDATE shield.reveal_tickets SET expires_at = now() WHERE ticket_hash = ANY (%s)", [expired.hash, late.hash]
    )
    number = {"number": NUMBERS["mobile"]}
    refused = {
        "used": people.post(used),
        "guessed": people.post(secrets.token_hex(16)),
        "guessed, with a number": people.post(secrets.token_hex(16), **number),
        "expired": people.post(expired),
        "expired, with a number": people.post(late, **number),
        "an opening's, with a number": people.post(misused, **number),
        "a number's, without": people.post(people.named()),
    }
    audited, ticket = vault.audited(), secrets.token_hex(16)
    refused |= {
        "no proof": people.post(ticket, headers={}),
        "wrong secret": people.post(ticket, headers={"Authorization": f"Bearer {REVEALS_SECRET}x"}),
        "the edge's secret": people.post(ticket, headers={"Authorization": f"Bearer {EDGE_SECRET}"}),
        "two proofs": people.post(ticket, headers=BEARER | {"X-Shield-Signature": "1." + "0" * 64}),
        "no form": resolver.send(post({}, BEARER, path="/reveal")),
        "no ticket": resolver.send(post(number, BEARER, path="/reveal")),
        "malformed": people.post("G" * 32),
        "short": people.post("0" * 31),
        "extra field": people.post(ticket, x="y"),
        "not E.164": people.post(ticket, number="13800138777"),
        "too long a number": people.post(ticket, number="+" + "1" * 16),
        "wrong path": resolver.send(post({"ticket": ticket}, BEARER, path="/reveal/")),
        "get": resolver.get("/reveal"),
        "wrong type": resolver.send(
            post({"ticket": ticket}, BEARER, path="/reveal").replace(b"x-www-form", b"json-form")
        ),
    }
    assert {name: answer.raw for name, answer in refused.items() if answer.raw != REFUSED} == {}
    assert vault.audited() == audited
    redeem = {"permit": vault.permit(), "token": vault.tokens["mobile"], "gateway": "edge-1", "call": ""}
    assert resolver.send(post(redeem, BEARER)).raw == REFUSED
    assert people.reasons()[-7:] == [
        "ticket_unknown", "ticket_unknown", "ticket_unknown", "ticket_expired", "ticket_unknown", "ticket_unknown",
        "step_differs",
    ]  # fmt: skip


def test_of_many_at_once_one_gets_the_number(people):
    """Ten callers with the same ticket at the same moment: one number, nine refusals."""
    for _ in range(3):
        ticket = people.opened()
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(people.post, [ticket] * 10))
        assert sorted(answer.status for answer in answers) == [200] + [404] * 9


def test_what_cannot_be_decrypted_is_away_and_audited(people, vault):
    """A damaged ciphertext gives 503 and an event with the reason; the reveal is used."""
    token = vault.seed("+8613800138776")
    vault.store(token, cipher.encrypt(Key.new(), SubscriberNumber("+8613800138776"), vault.tenant_id, token, 1))
    opened = people.requester.open(people.approved(token))
    with pytest.raises(ResolverAway):
        people.requester.answer(opened)
    event = "SELECT detail ->> 'reason' FROM shield.audit_events WHERE kind = 'reveal.failed' ORDER BY id DESC LIMIT 1"
    assert vault.one(event) == "cipher.damaged"


def test_a_resolver_that_is_away_uses_up_nothing(people, vault):
    """Opening asks first whether the resolver is well; the reveal can be opened later."""
    reveal = people.approved()
    nobody = Desk(people.logins[0], ResolverClient(Address("127.0.0.1", 1), REVEALS_SECRET.encode()))
    with pytest.raises(ResolverAway) as caught:
        nobody.open(reveal)
    assert caught.value.exit_code == 3
    assert people.requester.answer(people.requester.open(reveal))["number"] == NUMBERS["mobile"]


def test_a_resolver_without_that_secret_tells_nobody(start_resolver, people, vault):
    """Where [resolver] secrets names no reveals, no secret opens the route, not even an empty one."""
    resolver = start_resolver(reveals=False)
    ticket = people.opened()
    for bearer in (REVEALS_SECRET, EDGE_SECRET, ""):
        headers = {"Authorization": f"Bearer {bearer}"}
        assert resolver.send(post({"ticket": ticket.hex()}, headers, path="/reveal")).raw == REFUSED
    assert people.post(ticket).status == 200
