"""Calls that come in, as the database sees them: whose DID it is, the one token of a caller, whom to ring."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from shield_calls import TOKEN, Attempt

from esl_shield.vault import tokens

DID, BRICK_DID, DISABLED = "+862160001111", "+862160002222", "+862160003333"
MONTH = dt.timedelta(days=30)


@pytest.fixture
def ids(database, tenants):
    """The tenants' ids; acme and brick have a DID each, and keys of version 1."""
    for tenant, did, enabled in (("acme", DID, True), ("brick", BRICK_DID, True), ("acme", DISABLED, False)):
        database.query("SELECT shield_api.set_did(%s, %s, '{1001,queue:sales}', %s, 100)", tenant, did, enabled)
    for tenant in tenants.values():
        for purpose in ("data", "index"):
            database.query("SELECT shield_api.add_key(%s, %s, 1, %s, 'kek')", tenant, purpose, b"k" * 62)
    return tenants


@pytest.fixture
def masker(database, ids):
    """Acme's masker."""
    return database.open(database.login("masker", ["acme"]))


def _row(number, token=""):
    return {
        "ord": 0,
        "index": hashlib.sha256(number.encode()).hexdigest(),
        "token": token or tokens.draw("91", 14),
        "ciphertext": hashlib.sha512(number.encode()).hexdigest(),
    }


def _mask(masker, tenant_id, number, *, did=DID, index_version=1, token=""):
    row = _row(number, token) | ({"previous": _row(number)["index"]} if index_version > 1 else {})
    return masker.call("mask_number", did, uuid.uuid4(), tenant_id, index_version, 1, row)[0]


def test_a_number_has_one_token_ever_after(database, masker, ids):
    """First sight makes a token, every later one answers it, and so does an import of the same number."""
    verdict, token = _mask(masker, ids["acme"], "a")
    assert (verdict, len(token)) == ("MASKED", 14)
    assert _mask(masker, ids["acme"], "a") == ("MASKED", token)
    assert _mask(masker, ids["acme"], "b")[1] != token
    seeder = database.open(database.login("seeder", ["acme"]))
    assert seeder.call("seed_tokens", ids["acme"], 1, 1, [_row("a")]) == [(0, token, "existing")]
    assert database.query("SELECT tokens FROM shield.token_space WHERE tenant_id = %s", ids["acme"]) == [(3,)]


def test_concurrent_first_sights_make_one_token(database, ids):
    """Twelve maskers see the same new number at once; all are told the same token."""
    maskers = [database.open(database.login("masker", ["acme"])) for _ in range(12)]
    with ThreadPoolExecutor(len(maskers)) as pool:
        answers = list(pool.map(lambda masker: _mask(masker, ids["acme"], "once"), maskers))
    assert len(set(answers)) == 1
    assert answers[0][0] == "MASKED"
    events = database.query("SELECT detail ->> 'new' FROM shield.audit_events WHERE kind = 'number.masked'")
    assert sorted(new for (new,) in events) == ["false"] * 11 + ["true"]


@pytest.mark.parametrize("change", ["status = 'revoked'", "expires_at = now() - interval '1 day'"])
def test_a_token_that_is_over_is_shown_and_cannot_be_called(database, masker, worker, ids, change):
    """A revoked or expired token still masks its number; the dialled token is refused as ever."""
    _, token = _mask(masker, ids["acme"], "gone")
    database.query(f"UPDATE shield.tokens SET {change} WHERE token = %s", token)
    assert _mask(masker, ids["acme"], "gone") == ("MASKED", token)
    assert Attempt(token=token).authorize(worker) == ("NOT_FOUND",)


def test_what_is_not_as_the_masker_read_it_is_stale(database, masker, ids):
    """Another tenant's DID, a disabled or removed one, an unknown one and an old index key mask nobody."""
    for did in (BRICK_DID, DISABLED, "+862160009999"):
        assert _mask(masker, ids["acme"], "x", did=did) == ("STALE", None)
        assert masker.call("masking_tenant", did) == []
    assert _mask(masker, ids["brick"], "x") == ("STALE", None)
    database.query("SELECT shield_api.add_key(%s, 'index', 2, %s, 'kek')", ids["acme"], b"k" * 62)
    assert _mask(masker, ids["acme"], "x") == ("STALE", None)
    assert _mask(masker, ids["acme"], "x", index_version=2)[0] == "MASKED"
    database.query("SELECT shield_api.remove_did('acme', %s)", DID)
    assert _mask(masker, ids["acme"], "x", index_version=2) == ("STALE", None)


def test_a_taken_candidate_is_drawn_again(masker, ids):
    """A candidate that is another number's token is a collision: nothing is made."""
    assert _mask(masker, ids["acme"], "new", token=TOKEN) == ("COLLISION", None)
    assert _mask(masker, ids["acme"], "new")[0] == "MASKED"


def test_masks_are_limited_by_did_and_by_login(database, masker, ids):
    """Beyond either rate a caller is refused, with the reason in the audit trail alone."""
    database.query("SELECT shield_api.set_did('acme', %s, '{1001}', true, 2)", DID)
    verdicts = [_mask(masker, ids["acme"], f"n{i}")[0] for i in range(2)]
    while "REFUSED" not in verdicts and len(verdicts) < 10:  # at most one minute ends meanwhile
        verdicts.append(_mask(masker, ids["acme"], "n0")[0])
    assert verdicts[-1] == "REFUSED"
    database.query("SELECT shield_api.set_did('acme', %s, '{1001}', true, NULL)", DID)
    none = database.open(database.login("masker", ["acme"], mint_per_s=0))
    assert _mask(none, ids["acme"], "n0") == ("REFUSED", None)
    events = database.query("SELECT detail ->> 'reason' FROM shield.audit_events WHERE kind = 'number.mask_refused'")
    assert [reason for (reason,) in events] == ["did_rate", "login_rate"]


def test_the_density_guard_holds(database, ids):
    """When the token space is full a new caller is refused and a known one is still masked."""
    crowded = database.tenant("crowded", prefix="3", length=8)
    database.query("SELECT shield_api.set_did('crowded', '+862160004444', '{1001}', true, NULL)")
    login = database.open(database.login("masker", ["crowded"]))

    def mask(number):
        row = _row(number, tokens.draw("3", 8))
        return login.call("mask_number", "+862160004444", uuid.uuid4(), crowded, 1, 1, row)[0]

    answers = [mask(f"n{i}") for i in range(101)]
    assert {verdict for verdict, _ in answers[:100]} <= {"MASKED", "COLLISION"}
    database.query("UPDATE shield.token_space SET tokens = 100 WHERE tenant_id = %s", crowded)
    assert mask("one too many") == ("REFUSED", None)
    known = next(i for i, (verdict, _) in enumerate(answers) if verdict == "MASKED")
    assert mask(f"n{known}") == answers[known]


def test_each_mask_is_audited_without_the_number(database, masker, ids):
    """The event names token, DID and call; nothing in it comes from the number."""
    call = uuid.uuid4()
    _, token = masker.call("mask_number", DID, call, ids["acme"], 1, 1, _row("who"))[0]
    rows = database.query("SELECT token, call, detail FROM shield.audit_events WHERE kind = 'number.masked'")
    assert rows == [(token, str(call), {"did": DID, "new": True})] or rows == [(token, call, {"did": DID, "new": True})]


def test_a_did_is_one_tenants(database, ids):
    """The same again changes nothing, other values change it, another tenant cannot have it until it is removed."""

    def set_(tenant, destinations="{1001,queue:sales}", *, did=DID):
        return database.query("SELECT shield_api.set_did(%s, %s, %s, true, 100)", tenant, did, destinations)[0][0]

    assert set_("acme") == "unchanged"
    assert set_("acme", "{1002}") == "changed"
    with pytest.raises(psycopg2.Error) as taken:
        set_("brick")
    assert taken.value.pgcode == "ES007"
    assert database.query("SELECT shield_api.remove_did('brick', %s)", DID) == [(False,)]
    assert database.query("SELECT shield_api.remove_did('acme', %s)", DID) == [(True,)]
    assert set_("brick") == "created"
    for bad in ("{}", "{a,b,c,d}", '{"a b"}', '{"queue:"}', '{"a;b"}', "{NULL}"):
        with pytest.raises(psycopg2.Error):
            set_("brick", bad)
    with pytest.raises(psycopg2.Error):
        set_("brick", did="13800138000")


def _accept(worker, *, did=DID, token=TOKEN, call=None, within=MONTH):
    return worker.call("accept_inbound_call", call or uuid.uuid4(), did, token, uuid.uuid4(), uuid.uuid4(), within)[0]


def test_an_accepted_call_says_whom_to_ring(database, worker, ids):
    """The agent who called the customer last, attempted or answered, and the DID's destinations, in order."""
    rest = ("acme.example", TOKEN)
    assert _accept(worker) == ("ACCEPTED", *rest, None, ["1001", "queue:sales"])
    for agent, state in (("1003", "COMPLETED"), ("1002", "BUSY")):
        attempt = Attempt(agent=agent)
        assert attempt.authorize(worker) == ("ALLOWED",)
        assert attempt.finish(worker, state)
    Attempt(agent="1009", token="91000000000099").authorize(worker)
    assert _accept(worker)[3] == "1002"
    database.query("UPDATE shield.calls SET started_at = started_at - interval '40 days' WHERE agent = '1002'")
    assert _accept(worker)[3] == "1003"
    assert _accept(worker, within=dt.timedelta(0))[3] is None
    assert _accept(worker, token=None) == ("ACCEPTED", "acme.example", None, None, ["1001", "queue:sales"])
    assert _accept(worker, token="92000000000014")[2] is None  # another tenant's


def test_an_inbound_call_is_recorded_to_its_end(database, worker, ids):
    """The record has direction, DID and token, the agent who answered, and ends as any other."""
    call = uuid.uuid4()
    _accept(worker, call=call)
    assert worker.call("inbound_answered", call, "1002") == [(True,)]
    assert worker.call("inbound_answered", call, "1003") == [(False,)]
    ended = (call, "COMPLETED", "NORMAL_CLEARING", 200, None, 1, None, None, None)
    assert worker.call("finish_call", *ended) == [(True,)]
    row = database.query("SELECT direction, did, token, agent, state, alias FROM dba.calls WHERE id = %s", call)
    assert row == [("inbound", DID, TOKEN, "1002", "COMPLETED", "customer-1")]


def test_a_call_to_no_did_and_a_repeated_one_are_refused(database, worker, ids):
    """Unknown, disabled and foreign DIDs are one answer; a call id is good for one call."""
    for did in ("+862160009999", DISABLED, BRICK_DID, "1001", ""):
        assert _accept(worker, did=did) == ("NOT_FOUND", None, None, None, None)
    call = uuid.uuid4()
    assert _accept(worker, call=call)[0] == "ACCEPTED"
    assert _accept(worker, call=call)[0] == "FORBIDDEN"
    events = database.query("SELECT detail ->> 'reason' FROM shield.audit_events WHERE kind = 'call.refused'")
    assert [reason for (reason,) in events] == ["did_unknown"] * 5 + ["call_repeated"]


def test_an_outbound_call_is_not_answered_as_inbound(worker, ids):
    """Each direction's function leaves the other's calls alone."""
    attempt = Attempt()
    attempt.authorize(worker)
    assert worker.call("inbound_answered", attempt.call, "1001") == [(False,)]


@pytest.mark.parametrize("caller", [TOKEN, None], ids=["token", "anonymous"])
def test_a_customer_who_called_in_is_transferred_by_the_agent_who_talks(database, worker, ids, caller):
    """The parked leg is the customer's: a token is reached by it while an agent talks, in that agent's name."""
    call, leg = uuid.uuid4(), uuid.uuid4()
    worker.call("accept_inbound_call", call, DID, caller, leg, None, MONTH)
    assert _transfer(worker, leg) == ("NOT_FOUND", None)  # rings
    worker.call("inbound_answered", call, "1002")
    worker.call("call_joined", call, "1002", uuid.uuid4(), dt.datetime.now(dt.UTC))
    worker.call("call_joined", call, "1003", uuid.uuid4(), dt.datetime.now(dt.UTC))
    verdict, second = _transfer(worker, leg)
    assert verdict == "ALLOWED"
    row = database.query("SELECT agent, direction, referred_by::text FROM dba.calls WHERE id = %s", second)
    assert row == [("1003", "outbound", str(call))]
    worker.call("finish_call", call, "COMPLETED", "NORMAL_CLEARING", 200, None, 1, None, None, None)
    assert _transfer(worker, leg) == ("NOT_FOUND", None)
    assert database.query("SELECT agents FROM dba.calls WHERE id = %s", call) == [(["1002", "1003"],)]


def test_one_number_at_two_tenants_is_two_tokens(database, masker, ids):
    """Each tenant has its own token of a customer, and shows no other's."""
    brick = database.open(database.login("masker", ["brick"]))
    mine, theirs = (
        _mask(masker, ids["acme"], "both")[1],
        _mask(brick, ids["brick"], "both", did=BRICK_DID, token=tokens.draw("92", 14))[1],
    )
    assert mine
    assert theirs
    assert mine != theirs
    worker = database.open(database.login("worker"))
    assert _accept(worker, token=theirs)[:3] == ("ACCEPTED", "acme.example", None)
    assert _accept(worker, did=BRICK_DID, token=theirs)[:3] == ("ACCEPTED", "brick.example", theirs)


def _transfer(worker, leg):
    attempt = Attempt(sip_call_id=str(uuid.uuid4()))
    (verdict,) = worker.call(
        "authorize_transfer", attempt.call, "acme.example", TOKEN, None, None, attempt.permit, "carrier", "edge",
        attempt.sip_call_id, leg,
    )[0]  # fmt: skip
    return verdict, attempt.call if verdict == "ALLOWED" else None
