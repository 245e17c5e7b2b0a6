"""Holds, restoring, erasure and new numbers in the database: who may, what is left, what happens at the same moment."""

from __future__ import annotations

import hashlib
import threading

import pytest
from shield_calls import TOKEN, Attempt, reasons

from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.vault.life import BATCH, NO_CAP

SECOND = "91000000000026"
CASE = ("DSR-1", "asked for it")


@pytest.fixture
def steward(database, tenants):
    """Acme's steward."""
    return database.open(database.login("steward", ["acme"]))


@pytest.fixture
def eraser(database, tenants):
    """Acme's eraser."""
    return database.open(database.login("eraser", ["acme"]))


def _erase(eraser, *tokens, tenant="acme", case=CASE):
    return eraser.call("erase_tokens", tenant, list(tokens), [None] * len(tokens), *case)


def _outcomes(rows):
    return [row[2] for row in rows]


def _index(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _row(token, number, **more):
    return {"ord": 0, "index": _index(number), "token": token, "ciphertext": "ab" * 50, "country": "GB", **more}


def test_erased(database, worker, resolver, seeder, eraser, tenants):
    """Ciphertext, index, aliases, labels, open permits and call records' alias are gone; their token stays."""
    attempt = Attempt()
    assert attempt.authorize(worker) == ("ALLOWED",)
    ((ord_, token, outcome, erasure, at, login, case, reason, erased),) = _erase(eraser, TOKEN)
    assert (ord_, token, outcome, case, reason) == (1, TOKEN, "erased", *CASE)
    assert login.startswith("test_eraser")
    assert erased == {"ciphertexts": 1, "indexes": 1, "aliases": 1, "labels": 0, "call_aliases": 1, "permits": 1}
    assert attempt.redeem(resolver) == []
    for table in ("tokens", "number_refs", "aliases", "permits", "token_usage"):
        assert database.query(f"SELECT count(*) FROM shield.{table} WHERE tenant_id = %s", tenants["acme"]) == [(0,)]
    assert database.query("SELECT token, alias FROM shield.calls") == [(TOKEN, None)]
    assert database.query("SELECT tokens FROM dba.tenants WHERE name = 'acme'") == [(0,)]
    event = database.query("SELECT token, detail FROM shield.audit_events WHERE kind = 'token.erased'")
    assert event == [(TOKEN, {"case": CASE[0], "why": CASE[1], "erasure": str(erasure), "erased": erased})]
    assert seeder.call("token_info", "acme", TOKEN, None) == []
    again = _erase(eraser, TOKEN, case=("DSR-2", "again"))
    assert [row[2:8] for row in again] == [("already", erasure, at, login, *CASE)]


def test_an_erased_token_is_as_unknown_as_any(database, worker, eraser):
    """Dialling an erased token leaves the same verdict, event and call row as dialling one that never was."""
    _erase(eraser, TOKEN)
    erased, never = Attempt(), Attempt(token=SECOND)
    assert erased.authorize(worker) == never.authorize(worker) == ("NOT_FOUND",)
    kept = "agent, token, alias, state, gateway, delivery, permits, tenant_id"
    rows = database.query(f"SELECT {kept} FROM shield.calls WHERE id IN (%s, %s)", str(erased.call), str(never.call))
    assert rows[0] == rows[1]
    assert rows[0][1] is None
    assert reasons(database, "call.refused") == ["token_unknown", "token_unknown"]


def test_an_erased_token_is_never_drawn_again(database, eraser, seeder, tenants):
    """A row that draws an erased token must draw again, and the erased number's next token is another."""
    _erase(eraser, TOKEN)
    number = _row(TOKEN, TOKEN)
    assert seeder.call("seed_tokens", tenants["acme"], 1, 1, [number]) == [(0, None, "collision")]
    assert seeder.call("seed_tokens", tenants["acme"], 1, 1, [{**number, "token": SECOND}]) == [(0, SECOND, "created")]


def test_a_held_token_is_not_erased(database, steward, eraser):
    """While any case holds it a token stays whole; each case's hold is released for itself."""
    for case in ("LIT-1", "LIT-2"):
        assert steward.call("hold_token", "acme", None, "customer-1", case, "order") == [("HELD", TOKEN)]
    assert steward.call("hold_token", "acme", TOKEN, None, "LIT-1", "order") == [("UNCHANGED", TOKEN)]
    assert _outcomes(_erase(eraser, TOKEN)) == ["held"]
    assert steward.call("release_token", "acme", TOKEN, None, "LIT-1", "settled") == [("RELEASED", TOKEN, 1)]
    assert steward.call("release_token", "acme", TOKEN, None, "LIT-1", "settled") == [("UNCHANGED", TOKEN, 1)]
    assert _outcomes(_erase(eraser, TOKEN)) == ["held"]
    assert database.query("SELECT count(*) FROM shield.tokens WHERE token = %s", TOKEN) == [(1,)]
    assert steward.call("release_token", "acme", TOKEN, None, "LIT-2", "settled") == [("RELEASED", TOKEN, 0)]
    assert _outcomes(_erase(eraser, TOKEN)) == ["erased"]
    assert reasons(database, "token.erase_refused") == ["held", "held"]
    assert len(reasons(database, "token.held")) == len(reasons(database, "token.released")) == 2
    assert steward.call("hold_token", "acme", TOKEN, None, "LIT-3", "late") == [("UNKNOWN", None)]


REFUSED = [
    (SECOND, None, "C-1", "why", "UNKNOWN"),
    (None, "nobody", "C-1", "why", "UNKNOWN"),
    (SECOND, "customer-1", "C-1", "why", "UNKNOWN"),
    (None, None, "C-1", "why", "UNKNOWN"),
    ("92000000000014", None, "C-1", "why", "UNKNOWN"),
    (TOKEN, None, None, "why", "REFUSED"),
    (TOKEN, None, " ", "why", "REFUSED"),
    (TOKEN, None, "x" * 65, "why", "REFUSED"),
    (TOKEN, None, "C-1", "a\nb", "REFUSED"),
    (TOKEN, None, "C-1", "x" * 301, "REFUSED"),
    (TOKEN, None, "C-1", None, "REFUSED"),
]


@pytest.mark.parametrize("act", ["hold", "release", "restore"])
def test_what_a_steward_is_refused(database, steward, act):
    """Each refusal is an answer with an event, and changes nothing."""
    for token, alias, case, reason, verdict in REFUSED:
        assert steward.call(f"{act}_token", "acme", token, alias, case, reason)[0][0] == verdict
    assert reasons(database, f"token.{act}_refused") == [row[-1].lower() for row in REFUSED]
    assert database.query("SELECT count(*) FROM shield.holds") == [(0,)]


def test_what_an_eraser_is_refused(database, eraser, tenants):
    """Another tenant's token is unknown, another tenant is no tenant, and an unfit case erases nothing."""
    assert _outcomes(_erase(eraser, "92000000000014", SECOND)) == ["unknown", "unknown"]
    assert _erase(eraser, TOKEN, tenant="brick") == []
    assert _erase(eraser, TOKEN, case=("", "why")) == []
    assert eraser.call("erase_tokens", "acme", [TOKEN], [], *CASE) == []
    assert reasons(database, "token.erase_refused") == ["unknown", "unknown", "tenant_unknown", "form", "form"]
    assert database.query("SELECT count(*) FROM shield.tokens") == [(2,)]


def test_restore(database, worker, seeder, steward):
    """What a seeder revoked a steward restores; a seeder cannot, whatever it asks."""
    seeder.call("set_token", "acme", TOKEN, "revoked", None)
    with pytest.raises(DatabaseRefused):
        seeder.call("set_token", "acme", TOKEN, "active", None)
    assert Attempt().authorize(worker) == ("NOT_FOUND",)
    assert steward.call("restore_token", "acme", TOKEN, None, *CASE) == [("RESTORED", TOKEN)]
    assert steward.call("restore_token", "acme", TOKEN, None, *CASE) == [("UNCHANGED", TOKEN)]
    assert Attempt().authorize(worker) == ("ALLOWED",)


def test_an_erasure_waits_for_a_call_that_is_being_authorised(database, worker, eraser, tenants):
    """A call that read the alias before the erasure has written it before the erasure clears it."""
    begun = database.connect(database.login("worker", ["acme"]))
    begun.autocommit = False
    with begun.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM shield_api.authorize_call(gen_random_uuid(), 'acme.example', '1001', %s, NULL, NULL,"
            " sha256('x'), 'carrier', 'edge', NULL, NULL)", (TOKEN,),
        )  # fmt: skip
        assert cursor.fetchone() == ("ALLOWED",)
    done = []
    thread = threading.Thread(target=lambda: done.extend(_erase(eraser, TOKEN)))
    thread.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while database.query(waiting) == [(0,)]:
        assert thread.is_alive()
    assert not done
    begun.commit()
    thread.join()
    assert _outcomes(done) == ["erased"]
    assert database.query("SELECT token, alias FROM shield.calls") == [(TOKEN, None)]
    assert database.query("SELECT count(*) FROM shield.permits") == [(0,)]


def test_an_erasure_waits_for_a_hold_that_is_being_placed(database, eraser, tenants):
    """A hold that was begun before the erasure and committed after it began stands in its way."""
    begun = database.connect(database.login("steward", ["acme"]))
    begun.autocommit = False
    with begun.cursor() as cursor:
        cursor.execute("SELECT verdict FROM shield_api.hold_token('acme', %s, NULL, 'LIT-1', 'order')", (TOKEN,))
        assert cursor.fetchone() == ("HELD",)
    done = []
    thread = threading.Thread(target=lambda: done.extend(_erase(eraser, TOKEN)))
    thread.start()
    while database.query("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        assert thread.is_alive()
    begun.commit()
    thread.join()
    assert _outcomes(done) == ["held"]


def test_a_login_that_holds_a_token_stops_no_erasure_for_good(database, eraser, tenants):
    """An erasure that cannot have its lock gives up, changes nothing, and can be run again."""
    begun = database.connect(database.login("worker", ["acme"]))
    database.query("ALTER FUNCTION shield_api.erase_tokens SET lock_timeout = '100ms'")
    begun.autocommit = False
    with begun.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, %s))", (TOKEN, tenants["acme"]))
    with pytest.raises(DatabaseAway):
        _erase(eraser, TOKEN)
    assert database.query("SELECT count(*) FROM shield.erasures") == [(0,)]
    begun.rollback()
    assert _outcomes(_erase(eraser, TOKEN)) == ["erased"]


def test_a_live_request_forgets_the_erased_number(database, eraser, tenants):
    """A reveal that names the number by its index keeps it no longer."""
    database.query(
        "INSERT INTO shield.reveals (id, tenant_id, kind, number_index, index_version, case_id, reason, state,"
        " requester, requester_person, requested_at, expires_at) VALUES (gen_random_uuid(), %s, 'calls', %s, 1, 'K',"
        " 'r', 'REQUESTED', 'x', 'X Y', now(), now() + interval '15 minutes')",
        tenants["acme"], bytes.fromhex(_index(TOKEN)),
    )  # fmt: skip
    _erase(eraser, TOKEN)
    assert database.query("SELECT number_index FROM shield.reveals") == [(None,)]


def test_a_batch_fits_postgresqls_locks(database, eraser, tenants):
    """A full batch is erased in one call."""
    drawn = [f"91{at:012d}" for at in range(BATCH)]
    database.tokens(tenants["acme"], *drawn)
    assert _outcomes(_erase(eraser, *drawn)) == ["erased"] * BATCH


def test_replaced(database, worker, resolver, seeder, tenants):
    """A token's new number takes the old one's place; its permit is gone, its alias, end and caps stay."""
    seeder.call("set_token", "acme", TOKEN, None, "2099-01-01T00:00:00Z")
    attempt = Attempt()
    attempt.authorize(worker)
    row = _row(TOKEN, "new", labels={"shop": "north"})
    assert seeder.call("replace_numbers", tenants["acme"], 1, 3, [row]) == [(0, TOKEN, "replaced")]
    assert attempt.redeem(resolver) == []
    ((version, country, ends, labels),) = database.query(
        "SELECT key_version, country, expires_at::text, labels FROM shield.tokens WHERE token = %s", TOKEN
    )
    assert (version, country, ends[:4], labels) == (3, "GB", "2099", {"shop": "north"})
    refs = "SELECT encode(number_index, 'hex') FROM shield.number_refs WHERE tenant_id = %s"
    assert database.query(refs, tenants["acme"]) == [(_index("new"),)]
    assert seeder.call("token_info", "acme", None, "customer-1")[0][0] == TOKEN
    assert seeder.call("replace_numbers", tenants["acme"], 1, 3, [row]) == [(0, TOKEN, "unchanged")]
    old = seeder.call("seed_tokens", tenants["acme"], 1, 1, [_row(SECOND, TOKEN)])
    assert old == [(0, SECOND, "created")]
    assert database.query("SELECT token, detail FROM shield.audit_events WHERE kind = 'token.replaced'") == [
        (TOKEN, {"indexes": 1, "permits": 1})
    ]


def test_what_is_not_replaced(database, seeder, steward, tenants):
    """A number another token has, a held token and an unknown one are answered so, each with an event."""
    database.tokens(tenants["acme"], SECOND)
    acme = tenants["acme"]
    assert seeder.call("replace_numbers", acme, 1, 1, [_row(TOKEN, SECOND)]) == [(0, TOKEN, "number_taken")]
    steward.call("hold_token", "acme", TOKEN, None, "LIT-1", "order")
    assert seeder.call("replace_numbers", acme, 1, 1, [_row(TOKEN, "new")]) == [(0, TOKEN, "held")]
    unknown = "91000000000034"
    assert seeder.call("replace_numbers", acme, 1, 1, [_row(unknown, "new")]) == [(0, unknown, "unknown")]
    assert reasons(database, "token.replace_refused") == ["number_taken", "held", "unknown"]
    with pytest.raises(DatabaseRefused) as caught:
        seeder.call("replace_numbers", tenants["brick"], 1, 1, [_row("92000000000014", "new")])
    assert caught.value.sqlstate == "ES002"
    assert database.query("SELECT count(*) FROM shield.number_refs") == [(3,)]


def test_one_number_for_two_tokens_at_the_same_moment(database, tenants):
    """Of eight connections that give eight tokens the same new number one succeeds."""
    drawn = [f"9100000000{at:04d}" for at in range(8)]
    database.tokens(tenants["acme"], *drawn)
    login = database.login("seeder", ["acme"])
    answers = []

    def replace(token):
        row = _row(token, "wanted by all")
        answers.extend(database.open(login).call("replace_numbers", tenants["acme"], 1, 1, [row]))

    threads = [threading.Thread(target=replace, args=(token,)) for token in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(_outcomes(answers)) == ["number_taken"] * 7 + ["replaced"]


def test_a_token_may_have_a_cap_of_its_own(database, worker, steward):
    """A token's own cap counts in place of its tenant's, be it less, more or none, and is refused by its name."""
    database.query("SELECT shield_api.set_caps('acme', 2, NULL, NULL)")
    assert steward.call("set_token_cap", "acme", TOKEN, 1) == [("SET",)]
    assert steward.call("set_token_cap", "acme", TOKEN, 1) == [("UNCHANGED",)]
    assert [Attempt().authorize(worker)[0] for _ in range(2)] == ["ALLOWED", "FORBIDDEN"]
    refused = "SELECT detail FROM shield.audit_events WHERE kind = 'call.refused'"
    assert database.query(refused) == [({"reason": "token_cap", "cap": 1},)]
    steward.call("set_token_cap", "acme", TOKEN, 3)
    assert [Attempt().authorize(worker)[0] for _ in range(3)] == ["ALLOWED", "ALLOWED", "FORBIDDEN"]
    steward.call("set_token_cap", "acme", TOKEN, NO_CAP)
    assert Attempt().authorize(worker) == ("ALLOWED",)
    assert database.query(
        "SELECT own_per_day, tenant_per_day, per_day, used FROM dba.token_caps WHERE token = %s", TOKEN
    ) == [(NO_CAP, 2, None, 4)]
    steward.call("set_token_cap", "acme", TOKEN, None)
    assert Attempt().authorize(worker) == ("FORBIDDEN",)
    assert steward.call("set_token_cap", "acme", TOKEN, -1) == [("REFUSED",)]


def test_labels_are_hidden_in_the_view(database, tenants):
    """An auditor sees which labels a token has, and of their values those whose mask is clear."""
    database.query(
        'UPDATE shield.tokens SET labels = \'{"city": "Bath", "name": "A. Person"}\' WHERE token = %s', TOKEN
    )
    look = "SELECT labels FROM dba.tokens WHERE token = %s"
    assert database.query(look, TOKEN) == [({"city": "***", "name": "***"},)]
    assert database.query("SELECT shield_api.set_label_mask('acme', 'city', 'clear')") == [("set",)]
    assert database.query("SELECT shield_api.set_label_mask('acme', 'name', 'name')") == [("set",)]
    assert database.query(look, TOKEN) == [({"city": "Bath", "name": "***"},)]
    assert database.query("SELECT shield_api.set_label_mask('acme', 'city', NULL)") == [("removed",)]
    assert database.query("SELECT shield_api.set_label_mask('acme', 'city', NULL)") == [("unchanged",)]
    assert database.query("SELECT shield_api.set_label_mask('nobody', 'city', NULL)") == [(None,)]
