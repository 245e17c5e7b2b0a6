"""What the API's own operations do: each is one function of the schema ``shield_api``, asked with the caller's key."""

from __future__ import annotations

import datetime as dt
import errno
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from esl_shield.api.app import NDJSON, Answer, Asked, Handler, lines, require
from esl_shield.api.checking import moment
from esl_shield.api.paging import DEFAULT_PAGE, after_moment, after_token, page_of
from esl_shield.errors.api import ApiInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXPORT_PAGE = 500
WINDOW = dt.timedelta(days=31)
_FILTERS = ("agent", "token", "alias", "ref", "state")


class Functions(Protocol):
    """The database, as an API's login sees it."""

    def call(self, function: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a function."""


def handlers(
    database: Functions, *, export_timeout_s: float, clock: Callable[[], float] = time.monotonic
) -> dict[str, Handler]:
    """Return the handlers of operations on tokens, calls and the blocklist, by operation."""
    tokens, calls, blocklist = _Tokens(database), _Calls(database, export_timeout_s, clock), _Blocklist(database)
    return {
        "token": tokens.show, "token_by_alias": tokens.show, "revoke_token": tokens.revoke,
        "expire_token": tokens.expire, "calls": calls.page, "export_calls": calls.export, "call": calls.show,
        "block_token": blocklist.block, "unblock_token": blocklist.unblock, "blocklist": blocklist.page,
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
    def __init__(self, database: Functions, export_timeout_s: float, clock: Callable[[], float]) -> None:
        self._database = database
        self._export_timeout_s = export_timeout_s
        self._clock = clock

    def show(self, asked: Asked) -> Answer:
        """Look at a call."""
        verdict, body = self._database.call("api_call", asked.caller.key, asked.parameters["id"])[0]
        require(verdict, "calls:read", "call")
        return Answer(body=body)

    def page(self, asked: Asked) -> Answer:
        """List a page of calls."""
        limit = asked.parameters.get("limit", DEFAULT_PAGE)
        found = self._find(asked, _window(asked), after_moment(asked.parameters), limit + 1)
        return Answer(body=page_of(found, limit, "calls", "started_at", "id"))

    def export(self, asked: Asked) -> Answer:
        """Stream all; the first page is read before the answer begins, so that a refusal is one."""
        window = _window(asked)
        first = self._find(asked, window, (None, None), EXPORT_PAGE)
        return Answer(lines=lines(self._rest(asked, window, first)), media_type=NDJSON)

    def _rest(self, asked: Asked, window: tuple[dt.datetime, dt.datetime], page: list[Any]) -> Iterator[Any]:
        """Yield calls page by page, so that a process holds one page of an export; raises TimeoutError after its time.

        Its caller sees a body without an end. A caller who reads slowly would otherwise hold a connection for ever.
        """
        until = self._clock() + self._export_timeout_s
        while page:
            for call in page:
                if self._clock() > until:
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                yield call
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


class _Blocklist:
    def __init__(self, database: Functions) -> None:
        self._database = database

    def block(self, asked: Asked) -> Answer:
        """Put a token on the blocklist."""
        return self._change(asked, block=True)

    def unblock(self, asked: Asked) -> Answer:
        """Take a token off the blocklist."""
        return self._change(asked, block=False)

    def page(self, asked: Asked) -> Answer:
        """List a page of blocked tokens."""
        limit = asked.parameters.get("limit", DEFAULT_PAGE)
        after = after_token(asked.parameters)
        verdict, tokens = self._database.call("api_blocklist", asked.caller.key, after, limit + 1)[0]
        require(verdict, "blocklist", "token")
        return Answer(body=page_of(tokens, limit, "tokens", "token"))

    def _change(self, asked: Asked, *, block: bool) -> Answer:
        verdict, body = self._database.call("api_block", asked.caller.key, asked.parameters["token"], block)[0]
        require(verdict, "blocklist", "token")
        return Answer(body=body)


def _window(asked: Asked) -> tuple[dt.datetime, dt.datetime]:
    to: dt.datetime = asked.parameters.get("to") or dt.datetime.now(dt.UTC)
    try:
        return asked.parameters.get("from") or to - WINDOW, to
    except OverflowError:
        raise ApiInvalid(where="parameter to", problem="is too early") from None
