"""Tokens over HTTP: made, found, revoked, ended; whose they are is the key's say."""

from __future__ import annotations

import datetime as dt

import pytest

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
