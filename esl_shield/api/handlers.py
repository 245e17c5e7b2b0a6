"""What the API's own operations do: each is one function of the schema ``shield_api``, asked with the caller's key."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Protocol

from esl_shield.api.app import NDJSON, Answer, Asked, Handler, lines, require
from esl_shield.api.checking import moment
from esl_shield.errors.api import ApiInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PAGE = 100
EXPORT_PAGE = 500
WINDOW = dt.timedelta(days=31)
_FILTERS = ("agent", "token", "alias", "state")
_CURSOR = re.compile(r"([0-9T:.+-]{19,40}) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class Functions(Protocol):
    """The database, as an API's login sees it."""

    def call(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a function."""


def handlers(database: Functions) -> dict[str, Handler]:
    """Return the handlers of operations on tokens and calls, by operation."""
    tokens, calls = _Tokens(database), _Calls(database)
    return {
        "token": tokens.show, "token_by_alias": tokens.show, "revoke_token": tokens.revoke,
        "expire_token": tokens.expire, "calls": calls.page, "export_calls": calls.export, "call": calls.show,
    }  # fmt: skip


class _Tokens:
    def __init__(self, database: Functions) -> None:
        self._database = database

    def show(self, asked: Asked) -> Answer:
        """Look a token up by itself or by its alias."""
        token, alias = asked.parameters.get("token"), asked.parameters.get("alias")
        verdict, body = self._database.call("api_token", asked.caller.key, token, alias)[0]
        require(verdict, "tokens:read", "token or alias")
        return Answer(body=body)

    def revoke(self, asked: Asked) -> Answer:
        """Revoke a token."""
        return self._change(asked, revoke=True, expires_at=None)

    def expire(self, asked: Asked) -> Answer:
        """Set or take away a token's end."""
        text = asked.body["expires_at"]
        at = None if text is None else moment(text, "the body at /expires_at")
        return self._change(asked, revoke=False, expires_at=at)

    def _change(self, asked: Asked, *, revoke: bool, expires_at: dt.datetime | None) -> Answer:
        token = asked.parameters["token"]
        verdict, body = self._database.call("api_change_token", asked.caller.key, token, revoke, expires_at)[0]
        require(verdict, "tokens:write", "token")
        return Answer(body=body)


class _Calls:
    def __init__(self, database: Functions) -> None:
        self._database = database

    def show(self, asked: Asked) -> Answer:
        """Look at a call."""
        verdict, body = self._database.call("api_call", asked.caller.key, asked.parameters["id"])[0]
        require(verdict, "calls:read", "call")
        return Answer(body=body)

    def page(self, asked: Asked) -> Answer:
        """List a page of calls; one call more than asked for tells whether there is a next page."""
        limit = asked.parameters.get("limit", DEFAULT_PAGE)
        after = _read_cursor(asked.parameters.get("cursor"))
        found = self._find(asked, _window(asked), after, limit + 1)
        calls = found[:limit]
        return Answer(body={"calls": calls, "next": _cursor(calls[-1]) if len(found) > limit else None})

    def export(self, asked: Asked) -> Answer:
        """Stream all; the first page is read before the answer begins, so that a refusal is one."""
        window = _window(asked)
        first = self._find(asked, window, (None, None), EXPORT_PAGE)
        return Answer(lines=lines(self._rest(asked, window, first)), media_type=NDJSON)

    def _rest(self, asked: Asked, window: tuple[dt.datetime, dt.datetime], page: list[Any]) -> Iterator[Any]:
        while page:
            yield from page
            if len(page) < EXPORT_PAGE:
                return
            page = self._find(asked, window, (page[-1]["started_at"], page[-1]["id"]), EXPORT_PAGE)

    def _find(
        self, asked: Asked, window: tuple[dt.datetime, dt.datetime], after: tuple[str | None, str | None], limit: int
    ) -> list[Any]:
        filters = [asked.parameters.get(name) for name in _FILTERS]
        verdict, calls = self._database.call("api_calls", asked.caller.key, *filters, *window, *after, limit)[0]
        require(verdict, "calls:read", "call")
        found: list[Any] = calls
        return found


def _window(asked: Asked) -> tuple[dt.datetime, dt.datetime]:
    to: dt.datetime = asked.parameters.get("to") or dt.datetime.now(dt.UTC)
    try:
        return asked.parameters.get("from") or to - WINDOW, to
    except OverflowError:
        raise ApiInvalid(where="parameter to", problem="is too early") from None


def _cursor(call: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(f"{call['started_at']} {call['id']}".encode()).rstrip(b"=").decode("ascii")


def _read_cursor(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    try:
        match = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"))
    except (binascii.Error, ValueError):
        match = None
    if match is None:
        raise ApiInvalid(where="parameter cursor", problem="is not one this API gave")
    moment(match[1], "parameter cursor")
    return match[1], match[2]
