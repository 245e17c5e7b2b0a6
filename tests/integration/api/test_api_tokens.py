"""Tokens over HTTP: made, found, revoked, ended; whose they are is the key's say."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from polling import until

NUMBER = "+8613800138{:03d}"


def test_a_number_becomes_a_token_that_its_alias_finds(crm):
    """The CRM gives a number and an alias, and finds the token by the alias; asked again it gets the same token."""
    made = crm.ask("POST", "/v1/tokens", {"number": NUMBER.format(1), "alias": "C-1", "labels": {"tier": "gold"}})
    assert (made.status, made.body["created"]) == (201, True)
    found = crm.ask("GET", "/v1/tokens/by-alias/C-1")
    assert found.status == 200
    assert (found.body["token"], found.body["aliases"]) == (made.body["token"], ["C-1"])
    assert (found.body["status"], found.body["country"], found.body["labels"]) == ("active", "CN", {"tier": "***"})
    again = crm.ask("POST", "/v1/tokens", {"number": "138 0013 8001"})
    assert (again.status, again.body) == (200, {"token": made.body["token"], "created": False})
    assert crm.ask("GET", f"/v1/tokens/{made.body['token']}").body == found.body


def test_an_alias_is_found_by_its_own_tenant_alone(crm):
    """Another tenant's key finds neither the alias nor the token, changes nothing, and is told the same 404."""
    token = crm.token(NUMBER.format(2), alias="C-2")
    other = crm.make_key("brick")
    for method, path, body in (
        ("GET", "/v1/tokens/by-alias/C-2", None), ("GET", f"/v1/tokens/{token}", None),
        ("POST", f"/v1/tokens/{token}/revoke", None), ("PUT", f"/v1/tokens/{token}/expiry", {"expires_at": None}),
    ):  # fmt: skip
        assert crm.ask(method, path, body, key=other).body["error_id"] == "api.not_found"
    assert crm.ask("GET", f"/v1/tokens/{token}").body["status"] == "active"
    elsewhere = crm.ask("POST", "/v1/tokens", {"number": NUMBER.format(2)}, key=other)
    assert elsewhere.status == 201
    assert elsewhere.body["token"].startswith("88")


def test_a_revoked_token_stays_revoked_and_the_event_names_the_key(crm):
    """Revoking twice is one event; who did it is the key's id."""
    token = crm.token(NUMBER.format(3))
    for _ in range(2):
        assert crm.ask("POST", f"/v1/tokens/{token}/revoke").body["status"] == "revoked"
    key = crm.database.query("SELECT id FROM dba.api_keys WHERE tenant = 'acme' ORDER BY id LIMIT 1")[0][0]
    assert [e for e in crm.events("token.changed") if e[1] == token] == [
        ("token.changed", token, {"status": "revoked", "key": key})
    ]


def test_a_token_ends_when_it_is_told_to(crm):
    """An end is set, in any zone, and taken away."""
    token = crm.token(NUMBER.format(4), expires_at="2031-01-01T00:00:00Z")
    assert crm.ask("GET", f"/v1/tokens/{token}").body["expires_at"] == "2031-01-01T00:00:00+00:00"
    path = f"/v1/tokens/{token}/expiry"
    ended = crm.ask("PUT", path, {"expires_at": "2030-01-01T08:00:00+08:00"})
    assert ended.body["expires_at"] == "2030-01-01T00:00:00+00:00"
    assert crm.ask("PUT", path, {"expires_at": None}).body["expires_at"] is None
    assert crm.ask("PUT", path, {"expires_at": "tomorrow"}).status == 422
    assert crm.ask("PUT", path, {"expires_at": "2030-01-01T08:00:00"}).status == 422


def test_a_batch_is_answered_row_by_row(crm):
    """Sound rows get tokens, bad ones a reason and a masked number, in the order they came."""
    rows = [
        {"number": NUMBER.format(10), "alias": "B-10"},
        {"number": "12345", "alias": "B-11"},
        {"number": NUMBER.format(12), "alias": "B-10"},
        {"number": NUMBER.format(13), "alias": "13800138013"},
        {"number": NUMBER.format(14), "labels": {"note": f"call {NUMBER.format(14)}"}},
        {"number": NUMBER.format(15), "labels": {"number": "x"}},
        {"number": NUMBER.format(10)},
        {"number": NUMBER.format(16), "expires_at": "2001-01-01T00:00:00Z"},
    ]
    answer = crm.ask("POST", "/v1/tokens:batch", {"rows": rows}).body
    assert (answer["created"], answer["existing"], answer["rejected"]) == (1, 1, 6)
    assert answer["rows"][6] == {"token": answer["rows"][0]["token"], "created": False}
    reasons = [row["rejected"]["reason"] for row in answer["rows"] if "rejected" in row]
    assert reasons[1:] == [
        "alias.taken", "alias.holds_number", "label.holds_number", "label.name", "expires_at.past",
    ]  # fmt: skip
    assert reasons[0].startswith("number.")
    masked = {row["rejected"]["number"] for row in answer["rows"] if "rejected" in row}
    assert masked == {"*****", *(f"***********{last}" for last in range(12, 17))}


def test_a_repeated_request_is_answered_the_same_and_done_once(crm):
    """With an idempotency key the same bytes get the same answer, other bytes 422, another tenant its own."""
    name, path = {"Idempotency-Key": "order-1"}, "/v1/tokens"
    first = crm.ask("POST", path, {"number": NUMBER.format(20)}, headers=name)
    again = crm.ask("POST", path, {"number": NUMBER.format(20)}, headers=name)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    other = crm.ask("POST", path, {"number": NUMBER.format(21)}, headers=name)
    assert (other.status, other.body["error_id"]) == (422, "api.idempotency_key")
    brick = crm.ask("POST", path, {"number": NUMBER.format(21)}, headers=name, key=crm.make_key("brick"))
    assert brick.status == 201
    batch = {"rows": [{"number": NUMBER.format(22)}]}
    answers = [crm.ask("POST", "/v1/tokens:batch", batch, headers={"Idempotency-Key": "b-1"}) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert answers[0].body["created"] == 1


RESERVED = "SELECT count(*) FROM shield.api_answers WHERE answer = 'null'"


def test_of_requests_that_race_with_one_key_one_is_done(crm):
    """While the first is under way the same is told to wait and another that it is another; only the first is done."""
    name, path = {"Idempotency-Key": "race-1"}, "/v1/tokens"
    first = {"number": NUMBER.format(30)}
    with crm.database.connect(crm.database.admin) as connection, ThreadPoolExecutor(1) as pool:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE shield.tokens IN EXCLUSIVE MODE")
            running = pool.submit(crm.ask, "POST", path, first, headers=name)
            until(lambda: crm.database.query(RESERVED) == [(1,)], "reserved", within_s=8)
            same = crm.ask("POST", path, first, headers=name)
            other = crm.ask("POST", path, {"number": NUMBER.format(31)}, headers=name)
            connection.rollback()
        done = running.result()
    assert (same.status, same.body["error_id"], same.headers["Retry-After"]) == (409, "api.in_progress", "1")
    assert (other.status, other.body["error_id"]) == (422, "api.idempotency_key")
    assert done.status == 201
    assert crm.ask("POST", path, first, headers=name).body == done.body
    assert crm.ask("POST", path, {"number": NUMBER.format(31)}).status == 201  # the loser's number got no token


def test_a_key_is_given_back_by_what_was_not_done_and_by_the_dead(crm):
    """A refused request's key is free at once; one a process died with is the same request's after a minute."""
    path, number = "/v1/tokens", NUMBER.format(32)
    assert crm.ask("POST", path, {"number": "12345"}, headers={"Idempotency-Key": "mended"}).status == 422
    assert crm.ask("POST", path, {"number": number}, headers={"Idempotency-Key": "mended"}).status == 201
    crm.database.query(
        "UPDATE shield.api_answers SET answer = 'null', made_at = now() WHERE answer ->> 'token' = %s",
        crm.token(number),
    )
    assert crm.ask("POST", path, {"number": number}, headers={"Idempotency-Key": "mended"}).status == 409
    crm.database.query("UPDATE shield.api_answers SET made_at = now() - interval '61 seconds' WHERE answer = 'null'")
    assert crm.ask("POST", path, {"number": "+44"}, headers={"Idempotency-Key": "mended"}).status == 422
    again = crm.ask("POST", path, {"number": number}, headers={"Idempotency-Key": "mended"})
    assert (again.status, again.body["created"]) == (200, False)
    assert crm.database.query(RESERVED) == [(0,)]


def test_an_answer_is_forgotten_after_a_day(crm):
    """A day later the key may be used anew, and old answers go."""
    name = {"Idempotency-Key": "order-2"}
    crm.database.query("DELETE FROM shield.api_answers")  # of other tests: ten old ones go with each request
    crm.ask("POST", "/v1/tokens", {"number": NUMBER.format(23)}, headers=name)
    crm.database.query("UPDATE shield.api_answers SET made_at = made_at - interval '25 hours'")
    assert crm.ask("POST", "/v1/tokens", {"number": NUMBER.format(24)}, headers=name).status == 201
    assert crm.database.query(
        "SELECT count(*) FROM shield.api_answers a JOIN dba.tenants t ON t.id = a.tenant_id"
        " WHERE t.name = 'acme' AND a.made_at < now() - interval '1 day'"
    ) == [(0,)]


def test_the_tokeniser_takes_numbers_itself_and_nothing_else(crm):
    """The CRM may ask the tokeniser with the same key; it has no other operation."""
    port = crm.tokeniser.port
    assert crm.ask("POST", "/v1/tokens", {"number": NUMBER.format(25)}, port=port).status == 201
    assert crm.ask("GET", "/v1/tokens/by-alias/C-1", port=port).status in (404, 405)
    assert crm.ask("POST", "/v1/tokens", {"number": NUMBER.format(25)}, port=port, key=None).status == 401


BAD = {
    "no-json": (b"{", 422), "twice": (b'{"number": "1", "number": "2"}', 422), "list": (b"[]", 422),
    "nothing": (b"", 422), "latin-1": (b'{"number": "\xff"}', 422), "surrogate": (b'{"number": "\\ud800"}', 422),
    "nan": (b'{"number": NaN}', 422), "deep": (b"[" * 100_000, 422), "nul": (b'{"number": "\\u0000"}', 422),
    "nul-label": (b'{"number": "+8613800138099", "labels": {"a": "\\u0000"}}', 422),
    "unknown-property": (b'{"number": "+8613800138099", "phone": "+8613800138099"}', 422),
    "number-as-number": (b'{"number": 13800138099}', 422), "no-number": (b'{"alias": "C-1"}', 422),
    "long-number": (b'{"number": "' + b"1" * 65 + b'"}', 422), "too-long": (b" " * (1 << 20) + b"{}", 413),
    "huge-integer": (b'{"number": ' + b"9" * 5000 + b"}", 422), "number-in-alias": (
        b'{"number": "+8613800138099", "alias": "13800138099"}', 422
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_bad_body_is_refused_and_nothing_of_it_repeated(crm, case):
    """Whatever is wrong with a body, the answer is one problem that quotes nothing."""
    body, status = BAD[case]
    answer = crm.ask("POST", "/v1/tokens", body)
    assert answer.status == status
    assert "13800138099" not in str(answer)
    assert "phone" not in answer.body["detail"]


def test_a_body_that_is_not_said_to_be_json_is_refused(crm):
    """Another media type is 415."""
    headers = {"Content-Type": "text/plain"}
    assert crm.ask("POST", "/v1/tokens", b'{"number": "1"}', headers=headers).status == 415


def test_no_number_is_anywhere_in_what_was_written_or_answered(crm):
    """Numbers given in every place, rejected ones too, are in no answer, log line or row."""
    canary, national = "+8613800138888", "13800138888"
    crm.ask("POST", "/v1/tokens", {"number": canary}, headers={"Idempotency-Key": national})
    crm.ask("POST", "/v1/tokens", {"number": canary, "alias": national})
    crm.ask("POST", "/v1/tokens", {"number": canary, "labels": {national: "x"}})
    crm.ask("POST", "/v1/tokens", {"number": canary, national: "x"})
    crm.ask("GET", f"/v1/tokens/by-alias/{national}")
    crm.ask("GET", f"/v1/tokens/{national}")
    crm.ask("GET", f"/v1/calls?agent={national}&{national}=1")
    crm.ask("GET", f"/v1/{national}")
    crm.ask("GET", "/v1/calls", key=national)
    written = crm.everything_written()
    encoded = base64.b64encode(national.encode()).decode().rstrip("=")
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (canary, national)]
    for form in (canary, national, encoded, *hashes):
        assert form not in written
    assert crm.ask("POST", "/v1/tokens", {"number": canary}).status == 200  # it got a token all the same
