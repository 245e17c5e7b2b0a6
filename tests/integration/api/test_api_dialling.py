"""Permissions, clicks and the blocklist over HTTP: a real API, PostgreSQL, FreeSWITCH's event socket as a double."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import hashlib
import uuid

import pytest
from ports import free_port

NUMBERS = iter(f"+8613800137{n:03d}" for n in range(999))
NOBODY = "91000000000026"


@pytest.fixture
def token(crm):
    """A token of the test's own."""
    return crm.token(next(NUMBERS), alias=f"D-{uuid.uuid4().hex[:8]}x")


@pytest.fixture
def rung(crm, monkeypatch):
    """What FreeSWITCH is asked to do from now on; phones are answered."""
    before = len(crm.switch.asked)
    crm.database.query("SELECT shield_api.set_dialling('acme', false, 'token', 1000)")
    monkeypatch.setattr(crm, "rings", lambda _: "+OK\n")
    return lambda: crm.switch.asked[before:]


def authorize(crm, token, agent="1001"):
    """The worker's question; the verdict, and the reason in the event."""
    worker, call = crm.database.open(crm.database.login("worker", ["acme"])), str(uuid.uuid4())
    (answer,) = worker.call(
        "authorize_call", call, "acme.example", agent, token, "token", 14,
        hashlib.sha256(call.encode()).digest(), "carrier", "edge", str(uuid.uuid4()), str(uuid.uuid4()),
    )  # fmt: skip
    (reason,) = crm.database.query("SELECT detail ->> 'reason' FROM dba.audit_events WHERE call = %s", call)[0]
    return answer[0], reason


def grant(crm, **fields):
    """Grant a permission."""
    return crm.ask("POST", "/v1/permissions", fields)


def test_a_permission_is_granted_found_and_revoked(crm, token):
    """It says who, what, when and for which task; the same id again changes nothing; revoked it is good for no call."""
    wanted = {"id": str(uuid.uuid4()), "token": token, "agent": "1001", "ref": "TASK-1", "campaign": "spring"}
    first, again = grant(crm, **wanted), grant(crm, **wanted)
    assert (first.status, again.status, again.body) == (201, 200, first.body)
    shown = crm.ask("GET", f"/v1/permissions/{wanted['id']}").body
    assert shown == first.body
    assert {name: shown[name] for name in wanted} == wanted
    assert (shown["state"], shown["calls"], shown["used"]) == ("valid", 1, 0)
    assert grant(crm, **wanted | {"agent": "1002"}).body["error_id"] == "permission.rejected"
    gone = crm.ask("DELETE", f"/v1/permissions/{wanted['id']}")
    assert (gone.status, gone.body["state"]) == (200, "revoked")
    assert crm.ask("DELETE", f"/v1/permissions/{wanted['id']}").body == gone.body


def test_permissions_are_listed_by_page_and_filter(crm, token):
    """Cursors walk all of them, newest first; each filter keeps what it names."""
    made = [grant(crm, token=token, agent=f"20{n}", ref=f"T-{n}", calls=None).body["id"] for n in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = crm.ask("GET", f"/v1/permissions?token={token}&limit=2{cursor and '&cursor=' + cursor}").body
        found += [row["id"] for row in page["permissions"]]
        cursor = page["next"]
    assert found == made[::-1]
    crm.ask("DELETE", f"/v1/permissions/{made[0]}")
    for query, kept in (
        ("agent=201", made[1:2]),
        ("ref=T-2", made[2:3]),
        ("state=revoked", made[:1]),
        ("campaign=x", []),
    ):
        page = crm.ask("GET", f"/v1/permissions?token={token}&{query}").body
        assert [row["id"] for row in page["permissions"]] == kept, query


PAST = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).isoformat()
BAD_PERMISSIONS = {
    "number-as-ref": ({"ref": "13800138000"}, 422, "ref.rejected"),
    "number-as-campaign": ({"campaign": "13800138001"}, 422, "ref.rejected"),
    "both": ({"alias": "C-1"}, 422, "permission.rejected"),
    "neither": ({"token": None}, 422, "permission.rejected"),
    "over": ({"until": PAST}, 422, "permission.rejected"),
    "no-offset": ({"until": "2035-01-01T00:00:00"}, 422, "api.invalid"),
    "no-calls": ({"calls": 0}, 422, "api.invalid"),
    "unknown": ({"token": NOBODY}, 404, "api.not_found"),
    "unknown-alias": ({"token": None, "alias": "nobody"}, 404, "api.not_found"),
}


@pytest.mark.parametrize("case", BAD_PERMISSIONS)
def test_what_cannot_be_granted_is_one_problem(crm, token, case):
    """Nothing is granted, and the answer repeats nothing."""
    changes, status, error_id = BAD_PERMISSIONS[case]
    fields = {name: value for name, value in ({"token": token} | changes).items() if value is not None}
    answer = grant(crm, **fields)
    assert (answer.status, answer.body["error_id"]) == (status, error_id)
    assert "138001" not in str(answer.body)
    assert crm.ask("GET", f"/v1/permissions?token={token}").body["permissions"] == []


def test_a_click_rings_the_agent_once_for_a_key(crm, token, rung):
    """Ten requests with one key at the same moment: one phone rings, one is told 201, nine 200, all the same click."""
    body, key = {"agent": "1001", "token": token, "ref": "TASK-9"}, {"Idempotency-Key": uuid.uuid4().hex}
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: crm.ask("POST", "/v1/clicks", body, headers=key), range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    (click,) = {answer.body["id"] for answer in answers}
    (command,) = rung()
    assert f"origination_uuid={click}," in command
    shown = crm.ask("GET", f"/v1/clicks/{click}").body
    assert (shown["state"], shown["agent"], shown["token"], shown["ref"]) == ("ASKED", "1001", token, "TASK-9")
    other = crm.ask("POST", "/v1/clicks", body | {"agent": "1002"}, headers=key)
    assert (other.status, other.body["error_id"], len(rung())) == (422, "click.key_taken", 1)


def test_other_requests_go_on_while_freeswitch_thinks(crm, token, rung, monkeypatch):
    """A phone that rings holds up one thread for half a second, and no other request at all."""
    monkeypatch.setattr(crm, "rings", lambda _: None)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        click = pool.submit(crm.ask, "POST", "/v1/clicks", {"agent": "1001", "token": token})
        done = 0
        while not click.done():
            assert crm.ask("GET", f"/v1/tokens/{token}").status == 200
            done += 1
    assert click.result().status == 201
    assert done > 3


def test_an_agent_who_is_not_there_is_told(crm, token, rung, monkeypatch):
    """409 with FreeSWITCH's cause; the click says FAILED."""
    monkeypatch.setattr(crm, "rings", lambda _: "-ERR USER_NOT_REGISTERED\n")
    answer = crm.ask("POST", "/v1/clicks", {"agent": "1001", "token": token})
    assert (answer.status, answer.body["error_id"]) == (409, "click.agent_unreachable")
    assert answer.body["reason"] == "USER_NOT_REGISTERED"
    assert "1001" not in answer.body["detail"]


def test_without_freeswitch_a_click_is_a_503_and_no_half_call(crm, token):
    """The row is void, so a leg that came all the same would get no call; the same key is good once it is back."""
    crm.database.query("SELECT shield_api.set_dialling('acme', false, 'token', 1000)")
    body, key = {"agent": "1001", "token": token, "ref": "TASK-503"}, {"Idempotency-Key": uuid.uuid4().hex}
    with crm.another_api(switch=f"127.0.0.1:{free_port()}") as port:
        away = crm.ask("POST", "/v1/clicks", body, headers=key, port=port)
    assert (away.status, away.body["error_id"], away.headers["Retry-After"]) == (503, "esl.away", "1")
    clicks = crm.database.query("SELECT state FROM dba.clicks WHERE token = %s", token)
    assert clicks == [("VOID",)]
    assert crm.database.query("SELECT 1 FROM dba.calls WHERE token = %s", token) == []
    assert crm.ask("POST", "/v1/clicks", body, headers=key).status == 201


BAD_CLICKS = {
    "unknown": ({"token": NOBODY}, 404, "click.not_found"),
    "nobody": ({"token": None}, 422, "click.rejected"),
    "number-as-ref": ({"ref": "+8613800138000"}, 422, "api.invalid"),
    "national-number-as-ref": ({"ref": "13800138000"}, 422, "ref.rejected"),
    "agent": ({"agent": "1001 &park()"}, 422, "api.invalid"),
}


@pytest.mark.parametrize("case", BAD_CLICKS)
def test_what_is_refused_rings_no_phone(crm, token, rung, case):
    """Each is one problem that repeats nothing."""
    changes, status, error_id = BAD_CLICKS[case]
    fields = {"agent": "1001", "token": token} | changes
    answer = crm.ask("POST", "/v1/clicks", {name: value for name, value in fields.items() if value})
    assert (answer.status, answer.body["error_id"]) == (status, error_id)
    assert "138001" not in str(answer.body)
    assert rung() == []


def test_an_agent_clicks_no_faster_than_the_tenant_allows(crm, token, rung):
    """Beyond it is 429 with Retry-After, and no phone rings; without a permission where one is required it is 404."""
    crm.database.query("SELECT shield_api.set_dialling('acme', true, NULL, 1)")
    body = {"agent": uuid.uuid4().hex[:8], "token": token}
    assert crm.ask("POST", "/v1/clicks", body).status == 404
    grant(crm, token=token, calls=None)
    assert crm.ask("POST", "/v1/clicks", body).status == 201
    many = crm.ask("POST", "/v1/clicks", body)
    assert (many.status, many.body["error_id"], many.headers["Retry-After"]) == (429, "click.too_many", "60")
    assert len(rung()) == 1


def test_a_blocked_token_is_called_by_nobody_until_it_is_taken_off(crm, token, rung):
    """Calls and clicks are refused with 403 and the reason in the event; blocked twice is once."""
    assert authorize(crm, token) == ("ALLOWED", None)
    first, again = (crm.ask("PUT", f"/v1/blocklist/{token}") for _ in range(2))
    assert (first.status, first.body["blocked"], again.body) == (200, True, first.body)
    assert authorize(crm, token) == ("FORBIDDEN", "token_blocked")
    other = crm.token(next(NUMBERS))
    assert authorize(crm, other) == ("ALLOWED", None)
    click = crm.ask("POST", "/v1/clicks", {"agent": "1001", "token": token})
    assert (click.status, click.body["error_id"], rung()) == (403, "click.blocked", [])
    off = crm.ask("DELETE", f"/v1/blocklist/{token}")
    assert (off.status, off.body) == (200, {"token": token, "blocked": False, "since": None})
    assert authorize(crm, token) == ("ALLOWED", None)
    assert crm.database.query("SELECT guarded FROM shield.tenants WHERE name = 'acme'") == [(False,)]
    kinds = [kind for kind, of, _ in crm.events("token.blocked", "token.unblocked") if of == token]
    assert kinds == ["token.blocked", "token.unblocked"]


def test_the_blocklist_is_listed_by_page(crm):
    """Cursors walk it in the tokens' order."""
    tokens = sorted(crm.token(next(NUMBERS)) for _ in range(3))
    for each in tokens:
        crm.ask("PUT", f"/v1/blocklist/{each}")
    found, cursor = [], ""
    while cursor is not None:
        page = crm.ask("GET", f"/v1/blocklist?limit=2{cursor and '&cursor=' + cursor}").body
        found += [row["token"] for row in page["tokens"]]
        cursor = page["next"]
    assert found == tokens
    for each in tokens:
        crm.ask("DELETE", f"/v1/blocklist/{each}")
    assert crm.ask("GET", "/v1/blocklist").body == {"tokens": [], "next": None}


def test_another_tenants_key_finds_none_of_it(crm, token, rung):
    """Permission, click, token and its place on the blocklist are as unknown to it as what nobody made."""
    permission = grant(crm, token=token).body["id"]
    click = crm.ask("POST", "/v1/clicks", {"agent": "1001", "token": token}).body["id"]
    brick = crm.make_key("brick")
    for method, path, body in (
        ("GET", f"/v1/permissions/{permission}", None), ("DELETE", f"/v1/permissions/{permission}", None),
        ("POST", "/v1/permissions", {"token": token}), ("GET", f"/v1/clicks/{click}", None),
        ("POST", "/v1/clicks", {"agent": "1001", "token": token}), ("PUT", f"/v1/blocklist/{token}", None),
        ("DELETE", f"/v1/blocklist/{token}", None),
    ):  # fmt: skip
        assert crm.ask(method, path, body, key=brick).status == 404, (method, path)
    assert crm.ask("GET", f"/v1/permissions?token={token}", key=brick).body["permissions"] == []
    assert crm.ask("GET", f"/v1/permissions/{permission}").body["state"] == "valid"


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("POST", "/v1/permissions", {"token": NOBODY}, "permissions"),
        ("GET", "/v1/permissions", None, "permissions"),
        ("GET", f"/v1/permissions/{uuid.UUID(int=1)}", None, "permissions"),
        ("DELETE", f"/v1/permissions/{uuid.UUID(int=1)}", None, "permissions"),
        ("POST", "/v1/clicks", {"agent": "1", "token": NOBODY}, "dial"),
        ("GET", f"/v1/clicks/{uuid.UUID(int=1)}", None, "dial"),
        ("PUT", f"/v1/blocklist/{NOBODY}", None, "blocklist"),
        ("DELETE", f"/v1/blocklist/{NOBODY}", None, "blocklist"),
        ("GET", "/v1/blocklist", None, "blocklist"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
def test_each_operation_takes_its_scope(crm, method, path, body, scope):
    """A key with every other scope is told which one it lacks."""
    key = crm.make_key(scopes=sorted({"tokens:read", "calls:read", "dial", "permissions", "blocklist"} - {scope}))
    answer = crm.ask(method, path, body, key=key)
    assert (answer.status, answer.body["error_id"]) == (403, "api.forbidden")
    assert scope in answer.body["detail"]


def test_who_did_what_stands_in_the_audit_trail(crm, token, rung):
    """Each act names the key's id beside what was done, in the same transaction; reading leaves no such event."""
    key = crm.make_key()
    number = crm.database.query("SELECT max(id) FROM dba.api_keys")[0][0]
    permission = crm.ask("POST", "/v1/permissions", {"token": token}, key=key).body["id"]
    click = crm.ask("POST", "/v1/clicks", {"agent": "1001", "token": token}, key=key).body["id"]
    crm.ask("DELETE", f"/v1/permissions/{permission}", key=key)
    crm.ask("PUT", f"/v1/blocklist/{token}", key=key)
    crm.ask("DELETE", f"/v1/blocklist/{token}", key=key)
    crm.ask("GET", "/v1/permissions", key=key)
    said = crm.events("api.acted", "token.blocked", "token.unblocked")
    acts = [(kind, detail) for kind, _, detail in said if detail["key"] == number]
    assert acts == [
        ("api.acted", {"key": number, "operation": "grant_permission", "permission": permission, "outcome": "granted"}),
        ("api.acted", {"key": number, "operation": "click", "channel": click, "outcome": "asked"}),
        (
            "api.acted",
            {"key": number, "operation": "revoke_permission", "permission": permission, "outcome": "revoked"},
        ),
        ("token.blocked", {"key": number}),
        ("token.unblocked", {"key": number}),
    ]
