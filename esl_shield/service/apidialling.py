"""The HTTP API's operations on dial permissions and clicks.

Invariants: every statement takes the caller's key, which decides the tenant in SQL; what a business ID may be is looked
at before a statement holds it, as for every other way in. While FreeSWITCH is spoken to other requests go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from gevent.threadpool import ThreadPool

from esl_shield.api.app import Answer, Asked, Handler, require
from esl_shield.api.checking import moment
from esl_shield.api.paging import DEFAULT_PAGE, after_moment, page_of
from esl_shield.errors.dialling import PermissionRejected
from esl_shield.service.clicks import Click, Clicks
from esl_shield.service.dialling import REFUSED, Permission, check_permission

if TYPE_CHECKING:
    from esl_shield.config.clicks import ClicksConfig
    from esl_shield.db.engine import Database

MOST_CONVERSATIONS = 32
_SCOPE, _DIAL = "permissions", "dial"
_OK = ("OK", "GRANTED", "UNCHANGED", "ASKED", "REPEATED")
_CLICK_VERDICTS = ("NOT_FOUND", "BLOCKED", "CONFLICT", "TOO_MANY", "REFUSED")  # Clicks says what these mean
_FILTERS = ("token", "agent", "ref", "campaign", "state")
_NAMED = ("token", "alias", "agent", "campaign", "ref")


def handlers(database: Database, config: ClicksConfig | None) -> dict[str, Handler]:
    """Return the handlers, by operation; without ``config`` nobody clicks. Raises ConfigError."""
    permissions = _Permissions(database)
    made: dict[str, Handler] = {
        "grant_permission": permissions.grant, "permission": permissions.show, "permissions": permissions.page,
        "revoke_permission": permissions.revoke,
    }  # fmt: skip
    if config is None:
        return made
    clicks = _Clicks(database, config)
    return {**made, "click": clicks.click, "click_state": clicks.show}


class _Permissions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def grant(self, asked: Asked) -> Answer:
        """Grant a dial permission."""
        body = asked.body
        calls = body.get("calls", 1)  # to JSON Schema 3.0 is an integer
        wanted = Permission(
            **{name: body.get(name) for name in _NAMED}, calls=None if calls is None else int(calls),
            id=UUID(body["id"]) if "id" in body else uuid4(), valid_from=_moment(body, "from"),
            valid_until=_moment(body, "until"),
        )  # fmt: skip
        check_permission(wanted, _region(self._database, asked.caller.key, _SCOPE))
        verdict, granted = self._database.call(
            "api_grant_permission", asked.caller.key, wanted.id, wanted.token, wanted.alias, wanted.agent,
            wanted.valid_from, wanted.valid_until, wanted.calls, wanted.campaign, wanted.ref,
        )[0]  # fmt: skip
        if verdict == "REFUSED":
            raise PermissionRejected(problem=REFUSED)
        _require(verdict, _SCOPE, "token or alias")
        return Answer(201 if verdict == "GRANTED" else 200, granted)

    def show(self, asked: Asked) -> Answer:
        """Look at a permission."""
        return self._one("api_permission", asked)

    def revoke(self, asked: Asked) -> Answer:
        """End a permission."""
        return self._one("api_revoke_permission", asked)

    def page(self, asked: Asked) -> Answer:
        """List a page of permissions."""
        limit = asked.parameters.get("limit", DEFAULT_PAGE)
        filters = [asked.parameters.get(name) for name in _FILTERS]
        after = after_moment(asked.parameters)
        verdict, found = self._database.call("api_permissions", asked.caller.key, *filters, *after, limit + 1)[0]
        _require(verdict, _SCOPE, "permission")
        return Answer(body=page_of(found, limit, "permissions", "granted_at", "id"))

    def _one(self, function: str, asked: Asked) -> Answer:
        verdict, body = self._database.call(function, asked.caller.key, asked.parameters["id"])[0]
        _require(verdict, _SCOPE, "permission")
        return Answer(body=body)


class _Clicks:
    def __init__(self, database: Database, config: ClicksConfig) -> None:
        self._database = database
        # The conversation blocks its thread, never the process; those that find no thread free wait for one.
        self._clicks = Clicks(database, config, apart=ThreadPool(MOST_CONVERSATIONS).apply)

    def click(self, asked: Asked) -> Answer:
        """Ring an agent's phone."""
        body = asked.body
        wanted = Click(
            body["agent"],
            body.get("token"),
            body.get("alias"),
            body.get("ref"),
            asked.parameters.get("Idempotency-Key"),
        )
        done = self._clicks.click_by(_KeysBooks(self._database, asked.caller.key), wanted, tenant="of this key")
        return self._answer(asked.caller.key, str(done.channel), 200 if done.outcome == "repeated" else 201)

    def show(self, asked: Asked) -> Answer:
        """Look at a click."""
        return self._answer(asked.caller.key, asked.parameters["id"], 200)

    def _answer(self, key: bytes, channel: str, status: int) -> Answer:
        verdict, body = self._database.call("api_click", key, channel)[0]
        _require(verdict, _DIAL, "click")
        return Answer(status, body)


class _KeysBooks:
    """Clicks of the tenant a key acts for."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key

    def region(self) -> str | None:
        """Return the tenant's country."""
        return _region(self._database, self._key, _DIAL)

    def begin(self, channel: UUID, click: Click, key: bytes | None) -> tuple[Any, ...]:
        """Write the click down."""
        wanted = (self._key, channel, click.agent, click.token, click.alias, click.ref, key)
        answer: tuple[Any, ...] = self._database.call("api_begin_click", *wanted)[0]
        if answer[0] not in _CLICK_VERDICTS:
            _require(answer[0], _DIAL, "token")
        return answer

    def end(self, channel: UUID, state: str, cause: str | None) -> None:
        """Say that the agent's leg will not come."""
        self._database.call("api_end_click", self._key, channel, state, cause)


def _region(database: Database, key: bytes, scope: str) -> str | None:
    verdict, region = database.call("api_tenant", key, scope)[0]
    _require(verdict, scope, "tenant")
    return None if region is None else str(region)


def _require(verdict: str, scope: str, what: str) -> None:
    require("OK" if verdict in _OK else verdict, scope, what)


def _moment(body: dict[str, Any], name: str) -> Any:
    return moment(body[name], f"the body at /{name}") if name in body else None
