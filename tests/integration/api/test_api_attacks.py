"""What an attacker sends: cursors nobody gave, tokens that are forged, requests that are to cost more than they may."""

from __future__ import annotations

import base64
import urllib.parse

import pytest

from esl_shield.api.callers import new_key

CALL = "00000000-0000-4000-8000-000000000001"


def cursor(text):
    """A cursor as the API spells one."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")


MOMENTS = [
    "2026-01-01T00:00:00+20:00", "2026-01-01T00:00:00-23:59", "2026-01-01T00:00:00+00:00:30.5", "20260101T000000+0000",
    "2026-01-01T00:00:00.1234567890123+00:00", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999-10:00",
    "2026-001T00:00:00.000+00:00", "2026-01-01T24:00:00+00:00", "2026-01-01-00:00:00+00:00",
    "2026-01-01.00:00:00+00:00",
    "2026-01-01T00:00:00+00:00:00.000001", "2026-01-01T000000.123456+15:59",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/permissions"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cursor_nobody_gave_is_no_failure(crm, path, moment):
    """What Python reads as a moment and PostgreSQL does not is refused or a page, never a 5xx."""
    answer = crm.ask("GET", f"{path}?cursor={urllib.parse.quote(cursor(f'{moment} {CALL}'))}")
    assert answer.status in (200, 422), answer


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/permissions"])
def test_a_cursor_nobody_gave_and_a_key_nobody_made_are_no_failure_either(crm, path):
    """What is refused for its cursor never reaches a statement, whoever asks."""
    answer = crm.ask("GET", f"{path}?cursor={cursor(f'{MOMENTS[0]} {CALL}')}", key=new_key()[0])
    assert answer.status == 422


def test_another_tenants_cursor_shows_nothing_of_it(crm):
    """A cursor is a place in a list and no right: with it a key sees its own tenant's rows after that place."""
    own, brick = crm.key, crm.make_key("brick")
    token = crm.token("+8613800138560")
    made = [crm.ask("POST", "/v1/permissions", {"token": token, "agent": f"70{n}"}, key=own).body for n in range(3)]
    page = crm.ask("GET", "/v1/permissions?limit=1", key=own).body
    assert page["next"]
    assert crm.ask("GET", f"/v1/permissions?cursor={page['next']}", key=brick).body["permissions"] == []
    for permission in made:
        assert crm.ask("GET", f"/v1/permissions/{permission['id']}", key=brick).status == 404


def test_an_idempotency_key_is_its_tenants(crm):
    """The same Idempotency-Key of another tenant is another one: it repeats no answer and blocks no request."""
    header = {"Idempotency-Key": "attack-1"}
    first = crm.ask("POST", "/v1/tokens", {"number": "+8613800138561"}, headers=header)
    other = crm.ask("POST", "/v1/tokens", {"number": "+8613800138562"}, headers=header, key=crm.make_key("brick"))
    assert (first.status, other.status) == (201, 201)
    assert first.body["token"] != other.body["token"]
    again = crm.ask("POST", "/v1/tokens", {"number": "+8613800138562"}, headers=header)
    assert again.status == 422
