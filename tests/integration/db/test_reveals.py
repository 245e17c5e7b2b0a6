"""Reveals: one look-up for one case by two people, once, and every step in the audit trail."""

from __future__ import annotations

import hashlib
import secrets
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from shield_calls import TOKEN, Attempt, reasons

from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.logins import make_login
from esl_shield.errors.database import DatabaseRefused, LoginRejected

if TYPE_CHECKING:
    from fix_postgres import ShieldDatabase

    from esl_shield.db.engine import Database

BOTH = ("request", "approve")
INDEX = hashlib.sha256(TOKEN.encode()).digest()  # what the fixture seeds the token's number with
OTHER_INDEX = hashlib.sha256(b"another number").digest()
REFUSED, ALLOWED = "REFUSED", "ALLOWED"


def ticket() -> bytes:
    """The hash of a fresh ticket."""
    return hashlib.sha256(secrets.token_bytes(16)).digest()


@dataclass
class Office:
    """Acme's people, each with an own login, and the resolver."""

    database: ShieldDatabase
    requester: Database
    approver: Database
    resolver: Database

    def person(self, *rights: str, person: str | None = None, tenants: tuple[str, ...] = ("acme",)) -> Database:
        """One more person's login."""
        return self.database.open(self.database.login("revealer", tenants, person=person, rights=rights))

    def request(self, by: Database | None = None, **changed: Any) -> tuple[Any, ...]:
        """Ask for the number behind the token; (verdict, id)."""
        asked = {
            "tenant": "acme",
            "kind": "number",
            "token": TOKEN,
            "case": "C-17",
            "reason": "complaint",
            "ticket": None,
        }
        return (by or self.requester).call("request_reveal", *(asked | changed).values())[0][:2]

    def approve(self, reveal: uuid.UUID, by: Database | None = None, given: bytes | None = None) -> str:
        """Approve; the verdict."""
        return str((by or self.approver).call("approve_reveal", reveal, given)[0][0])

    def open(self, reveal: uuid.UUID, by: Database | None = None, given: bytes | None = None) -> str:
        """Open; the verdict."""
        return str((by or self.requester).call("open_reveal", reveal, given or ticket())[0][0])

    def deny(self, reveal: uuid.UUID, by: Database | None = None) -> str:
        """Deny; the verdict."""
        return str((by or self.approver).call("deny_reveal", reveal)[0][0])

    def approved(self) -> uuid.UUID:
        """A request the other one approved."""
        reveal = self.request()[1]
        assert self.approve(reveal) == ALLOWED
        return reveal

    def asked_for_calls(self, index: bytes = INDEX) -> uuid.UUID:
        """A request for the calls of a number, which the resolver was told."""
        drawn = ticket()
        verdict, reveal = self.request(kind="calls", token=None, ticket=drawn)
        assert verdict == ALLOWED
        assert self.resolver.call("bind_reveal", drawn, [index], [1]) == [(True,)]
        return reveal

    def approve_calls(self, reveal: uuid.UUID, index: bytes = INDEX) -> bool:
        """Approve with a number; whether it was the same."""
        drawn = ticket()
        assert self.approve(reveal, given=drawn) == ALLOWED
        return bool(self.resolver.call("bind_reveal", drawn, [index], [1])[0][0])

    def redeem(self, reveal: uuid.UUID) -> list[tuple[Any, ...]]:
        """Open, and take the ticket to the resolver's function."""
        drawn = ticket()
        assert self.open(reveal, given=drawn) == ALLOWED
        return self.resolver.call("redeem_reveal", drawn)

    def age(self, reveal: uuid.UUID, minutes: float) -> None:
        """Let a reveal have been asked for that long ago."""
        self.database.query(
            "UPDATE shield.reveals SET requested_at = requested_at - %s * interval '1 minute',"
            " expires_at = expires_at - %s * interval '1 minute' WHERE id = %s",
            minutes, minutes, reveal,
        )  # fmt: skip

    def events(self) -> list[tuple[str, str | None]]:
        """Kind and reason of every event of reveals, oldest first."""
        return self.database.query(
            "SELECT kind, detail ->> 'reason' FROM shield.audit_events WHERE kind LIKE 'reveal.%%' ORDER BY id", *()
        )


@pytest.fixture
def office(database, tenants, resolver):
    """A requester and an approver of acme."""
    made = Office(database, None, None, resolver)
    made.requester, made.approver = made.person("request"), made.person("approve")
    return made


def login_of(config) -> str:
    """The name in a login's URL."""
    return config.url.split("//")[1].split(":")[0]


def kinds(office: Office) -> list[str]:
    """The kinds of all events of reveals."""
    return [kind for kind, _ in office.events()]


def test_a_number_is_looked_up_by_two_people_once(office, tenants):
    """Request, approval, opening, disclosure: four events, the ciphertext once, then nothing more."""
    verdict, reveal = office.request()
    assert verdict == ALLOWED
    assert office.approve(reveal) == ALLOWED
    drawn = ticket()
    assert office.open(reveal, given=drawn) == ALLOWED
    ((found, tenant_id, kind, token, ciphertext, version, total, calls),) = office.resolver.call("redeem_reveal", drawn)
    assert (found, tenant_id, kind, token, version) == (reveal, tenants["acme"], "number", TOKEN, 1)
    assert ciphertext == hashlib.sha512(TOKEN.encode()).digest()
    assert (total, calls) == (None, None)
    assert office.resolver.call("redeem_reveal", drawn) == []
    assert kinds(office) == [
        "reveal.requested", "reveal.approved", "reveal.opened", "reveal.disclosed", "reveal.refused",
    ]  # fmt: skip
    ((token, detail),) = office.database.query(
        "SELECT token, detail FROM shield.audit_events WHERE kind = 'reveal.disclosed'"
    )
    assert (token, detail["case"], detail["of"], detail["reveal"]) == (TOKEN, "C-17", "number", str(reveal))
    assert detail["requester"] != detail["approver"]
    ((why,),) = office.database.query(
        "SELECT detail ->> 'why' FROM shield.audit_events WHERE kind = 'reveal.requested'"
    )
    assert why == "complaint"


def test_the_calls_of_a_number_are_looked_up(office, worker):
    """Both people name the number; what comes is its token and its calls, and the index is forgotten."""
    for _ in range(3):
        attempt = Attempt()
        attempt.authorize(worker)
        attempt.finish(worker)
    reveal = office.asked_for_calls()
    assert office.approve_calls(reveal)
    ((_, _, kind, token, ciphertext, _, total, calls),) = office.redeem(reveal)
    assert (kind, token, ciphertext, total, len(calls)) == ("calls", TOKEN, None, 3, 3)
    assert calls == sorted(calls, key=lambda call: call["started_at"])
    assert {call["state"] for call in calls} == {"COMPLETED"}
    assert office.database.query("SELECT number_index, token FROM shield.reveals") == [(None, TOKEN)]


def test_a_number_nobody_has_leads_to_no_calls(office):
    """An unknown number is asked for like a known one, and the answer is that there is nothing."""
    reveal = office.asked_for_calls(OTHER_INDEX)
    assert office.approve_calls(reveal, OTHER_INDEX)
    ((_, _, kind, token, _, _, total, calls),) = office.redeem(reveal)
    assert (kind, token, total, calls) == ("calls", None, 0, [])


def test_the_latest_thousand_calls_come_and_how_many_there_are(office, tenants):
    """An answer is bounded and says so."""
    office.database.query(
        "INSERT INTO shield.calls (id, tenant_id, token, state, started_at)"
        " SELECT gen_random_uuid(), %s, %s, 'BUSY', now() - n * interval '1 minute' FROM generate_series(1, 1003) n",
        tenants["acme"], TOKEN,
    )  # fmt: skip
    reveal = office.asked_for_calls()
    assert office.approve_calls(reveal)
    ((*_, total, calls),) = office.redeem(reveal)
    assert (total, len(calls)) == (1003, 1000)


def test_another_number_approves_nothing(office):
    """An approver who names another number than the requester did has approved nothing, and may try again."""
    reveal = office.asked_for_calls()
    assert not office.approve_calls(reveal, OTHER_INDEX)
    assert office.open(reveal) == REFUSED
    assert office.events()[-2:] == [("reveal.refused", "number_differs"), ("reveal.refused", "state_requested")]
    assert office.approve_calls(reveal)


def test_a_draft_without_its_number_is_nobodys_to_approve(office):
    """Until the resolver was told the number a request for calls is no request."""
    _, reveal = office.request(kind="calls", token=None, ticket=ticket())
    assert office.approve(reveal, given=ticket()) == REFUSED
    assert office.events()[-1] == ("reveal.refused", "state_draft")


def test_nobody_approves_their_own_request(office):
    """Neither with the same login nor with a second one of the same person, however the name is spelled."""
    one = office.person(*BOTH, person="Li  Wei")
    _, reveal = office.request(one)
    assert office.approve(reveal, one) == REFUSED
    assert office.approve(reveal, office.person(*BOTH, person=" li wei ")) == REFUSED
    assert reasons(office.database, "reveal.refused") == ["same_person"] * 2
    assert office.approve(reveal, office.person("approve", person="Li Weimin")) == ALLOWED


def test_each_step_takes_its_right(office):
    """A right to request approves nothing, a right to approve requests and opens nothing, no right does nothing."""
    nobody = office.person()
    assert office.request(office.approver) == (REFUSED, None)
    assert office.request(nobody) == (REFUSED, None)
    _, reveal = office.request()
    for other in (nobody, office.person("request")):
        assert office.approve(reveal, other) == REFUSED
        assert office.deny(reveal, other) == REFUSED
    assert office.approve(reveal) == ALLOWED
    assert office.open(reveal, office.approver) == REFUSED
    assert office.open(reveal, office.person(*BOTH)) == REFUSED
    assert reasons(office.database, "reveal.refused") == ["right_missing"] * 6 + ["other_requester"] * 2


def test_other_tenants_people_see_and_do_nothing(office):
    """To a brick's revealer acme's request does not exist, in the view or in any step."""
    brick = office.database.login("revealer", ["brick"], rights=BOTH)
    people = office.database.open(brick)
    _, reveal = office.request()
    assert office.approve(reveal, people) == REFUSED
    assert office.deny(reveal, people) == REFUSED
    assert office.request(people) == (REFUSED, None)
    assert reasons(office.database, "reveal.refused") == ["reveal_unknown"] * 2 + ["tenant_unknown"]
    for config, seen in ((brick, []), (office.database.login("revealer", ["acme"]), [(reveal,)])):
        with office.database.connect(config).cursor() as cursor:
            cursor.execute("SELECT id FROM dba.reveals")
            assert [row[0] for row in cursor.fetchall()] == [str(row[0]) for row in seen]
    assert office.approve(reveal) == ALLOWED


NOT_RIGHT = (
    ({"tenant": "nosuch"}, "tenant_unknown"),
    ({"tenant": "brick"}, "tenant_unknown"),
    ({"token": "91000000000026"}, "token_unknown"),
    ({"token": "92000000000014"}, "token_unknown"),
    ({"token": "' OR 1=1"}, "token_unknown"),
    ({"token": None}, "form"),
    ({"kind": "calls"}, "form"),
    ({"kind": "calls", "token": None}, "form"),
    ({"kind": "calls", "token": None, "ticket": b"short"}, "form"),
    ({"kind": "all"}, "form"),
    ({"kind": None}, "form"),
    ({"case": ""}, "form"),
    ({"case": " "}, "form"),
    ({"case": None}, "form"),
    ({"case": "x" * 65}, "form"),
    ({"case": "C\n1"}, "form"),
    ({"reason": ""}, "form"),
    ({"reason": None}, "form"),
    ({"reason": "x" * 301}, "form"),
    ({"reason": "a\x1b[2Jb"}, "form"),
)


def test_a_request_that_is_not_right_is_refused(office):
    """One and the same verdict, whatever is wrong; the reason stands in the audit event."""
    for changed, _ in NOT_RIGHT:
        assert office.request(**changed) == (REFUSED, None), changed
    assert office.events() == [("reveal.refused", problem) for _, problem in NOT_RIGHT]
    assert office.database.query("SELECT 1 FROM shield.reveals") == []
    assert office.request(case="（2026）沪01民初123号 ", reason=" 客户投诉")[0] == ALLOWED
    assert office.database.query("SELECT case_id, reason FROM dba.reveals") == [("（2026）沪01民初123号", "客户投诉")]


def test_fifteen_minutes_after_the_request_it_is_over(office):
    """Neither approval nor opening nor denial, and the view says EXPIRED; a second before, they go."""
    _, late = office.request()
    office.age(late, 15)
    assert office.approve(late) == REFUSED
    assert office.deny(late) == REFUSED
    too_late = office.approved()
    office.age(too_late, 15)
    assert office.open(too_late) == REFUSED
    assert reasons(office.database, "reveal.refused") == ["expired"] * 3
    assert office.database.query("SELECT DISTINCT state FROM dba.reveals") == [("EXPIRED",)]
    just = office.approved()
    office.age(just, 14.9)
    assert office.open(just) == ALLOWED


def test_a_transaction_begun_earlier_buys_no_time(office):
    """Time is the clock's: a requester's old transaction cannot open what expired meanwhile."""
    mine = office.database.login("revealer", ["acme"], rights=("request",))
    _, reveal = office.request(office.database.open(mine))
    office.approve(reveal)
    connection = office.database.connect(mine)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        office.database.query("UPDATE shield.reveals SET expires_at = clock_timestamp()")
        cursor.execute("SELECT verdict FROM shield_api.open_reveal(%s, %s)", (str(reveal), ticket()))
        assert cursor.fetchall() == [(REFUSED,)]


def test_a_ticket_lives_for_thirty_seconds(office):
    """The resolver gets nothing for an expired ticket, of an opening or of a number, and it is gone."""
    opened = ticket()
    office.open(office.approved(), given=opened)
    named = ticket()
    office.request(kind="calls", token=None, ticket=named)
    ((least, most),) = office.database.query(
        "SELECT min(expires_at - now()), max(expires_at - now()) FROM shield.reveal_tickets"
    )
    assert 20 < least.total_seconds() <= most.total_seconds() <= 30
    office.database.query("UPDATE shield.reveal_tickets SET expires_at = clock_timestamp()")
    assert office.resolver.call("redeem_reveal", opened) == []
    assert office.resolver.call("reveal_index_key", named) == []
    assert office.resolver.call("bind_reveal", named, [INDEX], [1]) == [(False,)]
    assert reasons(office.database, "reveal.refused") == ["ticket_expired", "ticket_unknown", "ticket_expired"]
    assert office.database.query("SELECT 1 FROM shield.reveal_tickets") == []


def test_a_ticket_is_for_its_step(office):
    """The ticket of one step is refused for another and is spent by the try."""
    opened = ticket()
    office.open(office.approved(), given=opened)
    assert office.resolver.call("reveal_index_key", opened) == []
    assert office.resolver.call("bind_reveal", opened, [INDEX], [1]) == [(False,)]
    assert office.resolver.call("redeem_reveal", opened) == []
    named = ticket()
    office.request(kind="calls", token=None, ticket=named)
    assert office.resolver.call("redeem_reveal", named) == []
    assert reasons(office.database, "reveal.refused") == [
        "ticket_unknown", "step_differs", "ticket_unknown", "step_differs",
    ]  # fmt: skip


def test_a_ticket_is_worth_nothing_until_it_is_committed(office):
    """Who opens inside a transaction and rolls it back has learnt nothing and used nothing."""
    mine = office.database.login("revealer", ["acme"], rights=("request",))
    _, reveal = office.request(office.database.open(mine))
    office.approve(reveal)
    connection = office.database.connect(mine)
    connection.autocommit = False
    drawn = ticket()
    with connection.cursor() as cursor:
        cursor.execute("SELECT verdict FROM shield_api.open_reveal(%s, %s)", (str(reveal), drawn))
        assert cursor.fetchall() == [(ALLOWED,)]
        assert office.resolver.call("redeem_reveal", drawn) == []
    connection.rollback()
    assert office.resolver.call("redeem_reveal", drawn) == []
    assert office.open(reveal, office.database.open(mine)) == ALLOWED


def test_of_many_openings_at_once_one_succeeds(office):
    """Twenty sessions open the same reveal at the same moment, and twenty redeem its ticket: one of each."""
    mine = office.database.login("revealer", ["acme"], rights=("request",))
    for _ in range(3):
        _, reveal = office.request(office.database.open(mine))
        office.approve(reveal)
        sessions, drawn, start = (
            [office.database.open(mine) for _ in range(8)],
            [ticket() for _ in range(8)],
            threading.Barrier(8),
        )
        for session in sessions:
            session.call("deny_reveal", uuid.uuid4())  # connected before the race

        def race(position, sessions=sessions, drawn=drawn, reveal=reveal, start=start):
            start.wait(20)
            return office.open(reveal, sessions[position], drawn[position])

        with ThreadPoolExecutor(8) as pool:
            verdicts = list(pool.map(race, range(8)))
        assert sorted(verdicts) == [ALLOWED] + [REFUSED] * 7
        good = drawn[verdicts.index(ALLOWED)]
        resolvers = [office.database.open(office.database.login("resolver")) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda resolver, good=good: resolver.call("redeem_reveal", good), resolvers))
        assert sorted(map(len, answers)) == [0, 0, 0, 1]
        office.database.query("DELETE FROM shield.reveal_usage")


def test_a_denied_request_is_over(office):
    """By an approver, or withdrawn by the requester, before or after the approval; never after it was used."""
    for approved in (False, True):
        for by in (office.approver, office.requester):
            reveal = office.approved() if approved else office.request()[1]
            assert office.deny(reveal, by) == "DENIED"
            assert office.approve(reveal) == REFUSED
            assert office.open(reveal) == REFUSED
            assert office.deny(reveal, by) == REFUSED
    used = office.approved()
    office.redeem(used)
    assert office.deny(used) == REFUSED
    assert office.open(used) == REFUSED
    assert {reason for _, reason in office.events() if reason} == {"state_denied", "state_opened"}


def test_a_right_taken_away_meanwhile_counts(office):
    """Approval takes the requester's right still, opening both people's: mapping, tenant, LOGIN, removal."""

    def remap(config, rights, tenants=("acme",)):
        name = login_of(config)
        engine = sqlalchemy_engine(office.database.admin)
        password = office.database.cluster.password(name)
        make_login(
            engine, name, password, role="revealer", tenants=tenants, person=f"Person of {name[:4]}", rights=rights
        )

    def people():
        configs = [office.database.login("revealer", ["acme"], rights=[right]) for right in BOTH]
        return configs, [office.database.open(config) for config in configs]

    taken = {
        "mapping": lambda config: remap(config, ()),
        "tenant": lambda config: remap(config, BOTH, ["brick"]),
        "login": lambda config: office.database.query(f"ALTER ROLE {login_of(config)} NOLOGIN"),
        "removed": lambda config: office.database.query("DELETE FROM shield.logins WHERE login = %s", login_of(config)),
    }
    for take in taken.values():
        (one, _), (requester, approver) = people()
        _, reveal = office.request(requester)
        take(one)
        assert office.approve(reveal, approver) == REFUSED
    assert reasons(office.database, "reveal.refused") == ["requester_right_missing"] * 4
    for take in taken.values():
        (_, other), (requester, approver) = people()
        _, reveal = office.request(requester)
        assert office.approve(reveal, approver) == ALLOWED
        take(other)
        assert office.open(reveal, requester) == REFUSED
    assert reasons(office.database, "reveal.refused")[4:] == ["approver_right_missing"] * 4


def test_an_approvers_right_taken_before_the_number_came_counts(office):
    """Between drawing the ticket and naming the number the approver's right may go, and the approval with it."""
    config = office.database.login("revealer", ["acme"], rights=("approve",))
    reveal, drawn = office.asked_for_calls(), ticket()
    assert office.approve(reveal, office.database.open(config), drawn) == ALLOWED
    office.database.query("UPDATE shield.logins SET rights = '{}' WHERE login = %s", login_of(config))
    assert office.resolver.call("bind_reveal", drawn, [INDEX], [1]) == [(False,)]
    assert office.events()[-1] == ("reveal.refused", "right_missing")


def test_steps_are_limited_by_login(office):
    """Sixty in an hour, refused ones counted; other people go on, and an hour later so does this one."""
    for _ in range(60):
        assert office.approve(uuid.uuid4(), office.requester) == REFUSED
    assert office.request() == (REFUSED, None)
    assert office.events()[-1] == ("reveal.refused", "rate")
    assert office.request(office.person("request"))[0] == ALLOWED
    office.database.query("UPDATE shield.reveal_usage SET since = since - interval '1 hour'")
    assert office.request()[0] == ALLOWED


def test_the_index_of_what_is_over_is_forgotten(office):
    """A denied request's index goes at once, an expired one's with the next request; a ticket's half minute is left."""
    denied = office.asked_for_calls()
    office.deny(denied)
    kept, over = office.asked_for_calls(), office.asked_for_calls()
    office.age(kept, 15.5)
    office.age(over, 17)
    office.request()
    assert office.database.query("SELECT id FROM shield.reveals WHERE number_index IS NOT NULL") == [(str(kept),)]


def test_the_index_key_is_read_with_a_ticket_only(office, tenants):
    """The resolver has no other way to the key that finds numbers, and each reading is audited."""
    office.database.query("SELECT shield_api.add_key(%s, 'index', 1, %s, 'kek-1')", tenants["acme"], b"x" * 40)
    office.database.query("SELECT shield_api.add_key(%s, 'index', 2, %s, 'kek-1')", tenants["acme"], b"y" * 40)
    drawn = ticket()
    office.request(kind="calls", token=None, ticket=drawn)
    assert office.resolver.call("reveal_index_key", drawn) == [
        (tenants["acme"], 2, b"y" * 40, "kek-1"),
        (tenants["acme"], 1, b"x" * 40, "kek-1"),
    ]
    assert office.resolver.call("reveal_index_key", ticket()) == []
    ((detail,),) = office.database.query("SELECT detail FROM shield.audit_events WHERE kind = 'key.read'")
    assert (detail["purpose"], detail["version"]) == ("index", 2)


def test_a_failure_to_decrypt_is_noted(office):
    """The resolver says why nobody got the number, in one word."""
    reveal = office.approved()
    office.redeem(reveal)
    office.resolver.call("note_reveal", reveal, "cipher.damaged")
    office.resolver.call("note_reveal", reveal, "+8613800138777")
    assert office.events()[-2:] == [("reveal.failed", "cipher.damaged"), ("reveal.failed", "other")]


def test_a_revealers_login_is_a_persons(database):
    """Without the name of a person no such login is made."""
    engine = sqlalchemy_engine(database.admin)
    for person in (None, "", " ", "x", "1001", "Li 13800138777", "Li\x00Wei", "Li\x1b[2J", "x" * 65):
        with pytest.raises(LoginRejected) as caught:
            make_login(engine, "nobody", "long enough to be one", role="revealer", person=person, rights=["request"])
        assert "13800138777" not in str(caught.value)


def test_an_unknown_right_is_refused(office):
    """The database knows two rights."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        office.database.query(
            "SELECT shield_api.add_revealer(%s, NULL, 'Li Wei', '{open}')", login_of(office.database.login("revealer"))
        )
    with pytest.raises(DatabaseRefused):
        office.requester.call("add_revealer", "x", None, "Li Wei", ["request"])
