"""Every operation of the HTTP API: path, method, scope, parameters, body, answers. The one source of them.

Invariants: an operation that is not here has no route; what an operation takes beyond what stands here is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from esl_shield.api import schemas
from esl_shield.api.schemas import listed, ref

if TYPE_CHECKING:
    from esl_shield.api.schemas import Schema

SCOPES = {
    "tokens:write": "make, revoke and expire tokens",
    "tokens:read": "look tokens up",
    "calls:read": "read call records",
    "dial": "let an agent's phone ring and dial",
    "permissions": "grant and take back dial permissions",
    "blocklist": "say which tokens must not be called",
}
JSON = "application/json"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Parameter:
    """One parameter; ``place`` as OpenAPI's ``in``."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    description: str

    @property
    def required(self) -> bool:
        """Whether a request must have it."""
        return self.place == "path"


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``answers``: schemas by status; ``refusals``: beside those of every operation."""

    id: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    scope: str | None
    summary: str
    answers: dict[int, Schema]
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    media_type: str = JSON
    refusals: tuple[int, ...] = ()
    description: str = ""


_TOKEN = Parameter("token", "path", schemas.TOKEN, "The token.")
_IDEMPOTENCY = Parameter(
    "Idempotency-Key", "header", {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    "Drawn anew for each request. The same key with the same request is answered the same for a day and does nothing "
    "twice; with another request it is refused (422).",
)  # fmt: skip
_CLICK_KEY = Parameter(
    "Idempotency-Key", "header", _IDEMPOTENCY.schema,
    "Drawn anew for each call. The same key with the same request within 7 days rings nobody again; with another "
    "request it is refused (422).",
)  # fmt: skip
_FILTERS = (
    Parameter("agent", "query", schemas.AGENT, "Calls of this agent."),
    Parameter("token", "query", schemas.TOKEN, "Calls to or from this token."),
    Parameter("alias", "query", schemas.ALIAS, "Calls whose token had this alias."),
    Parameter("ref", "query", schemas.BUSINESS_ID, "Calls with this business ID."),
    Parameter("state", "query", listed(schemas.STATE, maxItems=len(schemas.STATES)), "Calls in one of these states."),
    Parameter("from", "query", schemas.MOMENT, "Started then or later. Without it: 31 days before `to`."),
    Parameter("to", "query", schemas.MOMENT, "Started before. Without it: now."),
)
_PAGE = (
    Parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}, "How many a page."),
    Parameter("cursor", "query", schemas.CURSOR, "`next` of the page before, with the same filters."),
)
_PERMISSION = Parameter("id", "path", schemas.UUID, "The permission's id.")
_PERMISSION_FILTERS = (
    Parameter("token", "query", schemas.TOKEN, "Permissions for this token."),
    Parameter("agent", "query", schemas.AGENT, "Those of this agent's own."),
    Parameter("ref", "query", schemas.BUSINESS_ID, "Those that carry this business ID."),
    Parameter("campaign", "query", schemas.BUSINESS_ID, "This campaign's."),
    Parameter("state", "query", {"type": "string", "enum": list(schemas.PERMISSION_STATES)}, "Those in this state."),
)

OPERATIONS = (
    Operation(
        "tokenise", "POST", "/v1/tokens", "tokens:write", "Give a number a token",
        {200: ref("MadeToken"), 201: ref("MadeToken")}, (_IDEMPOTENCY,), "NewToken", refusals=(409, 413, 415, 422),
        description="A number has one token in a tenant: asked again it is answered with 200 and the token there is.",
    ),
    Operation(
        "tokenise_batch", "POST", "/v1/tokens:batch", "tokens:write", "Give up to 1000 numbers tokens",
        {200: ref("MadeTokens")}, (_IDEMPOTENCY,), "NewTokens", refusals=(409, 413, 415, 422),
        description="Each row is answered in its place: its token, or why it was rejected. The other rows stand.",
    ),
    Operation(
        "token_by_alias", "GET", "/v1/tokens/by-alias/{alias}", "tokens:read", "Find a token by its alias",
        {200: ref("Token")}, (Parameter("alias", "path", schemas.ALIAS, "The alias."),), refusals=(404, 422),
    ),
    Operation(
        "token", "GET", "/v1/tokens/{token}", "tokens:read", "Look at a token",
        {200: ref("Token")}, (_TOKEN,), refusals=(404, 422),
    ),
    Operation(
        "revoke_token", "POST", "/v1/tokens/{token}/revoke", "tokens:write", "Refuse every further call to a token",
        {200: ref("Token")}, (_TOKEN,), refusals=(404, 422),
        description="Again it changes nothing. Only a steward's `esl-shield token restore` undoes it.",
    ),
    Operation(
        "expire_token", "PUT", "/v1/tokens/{token}/expiry", "tokens:write", "Say when a token ends",
        {200: ref("Token")}, (_TOKEN,), "Expiry", refusals=(404, 413, 415, 422),
    ),
    Operation(
        "calls", "GET", "/v1/calls", "calls:read", "List calls, newest first",
        {200: ref("Calls")}, (*_FILTERS, *_PAGE), refusals=(422,),
    ),
    Operation(
        "export_calls", "GET", "/v1/calls:export", "calls:read", "Stream calls, newest first, one JSON object a line",
        {200: ref("Call")}, _FILTERS, media_type=NDJSON, refusals=(422,),
        description="An export that breaks off ends without the last chunk of its body, so a client sees that it did.",
    ),
    Operation(
        "call", "GET", "/v1/calls/{id}", "calls:read", "Look at a call",
        {200: ref("Call")}, (Parameter("id", "path", schemas.UUID, "The call's id."),), refusals=(404, 422),
    ),
    Operation(
        "grant_permission", "POST", "/v1/permissions", "permissions", "Let an agent dial a token",
        {200: ref("Permission"), 201: ref("Permission")}, body="NewPermission", refusals=(404, 413, 415, 422),
        description="Takes a token or an alias. It counts where the tenant requires permissions. The same id with the "
        "same values is answered 200 and changes nothing; with other values it is refused.",
    ),
    Operation(
        "permissions", "GET", "/v1/permissions", "permissions", "List dial permissions, newest first",
        {200: ref("Permissions")}, (*_PERMISSION_FILTERS, *_PAGE), refusals=(422,),
        description="Those that ended more than 30 days ago are gone.",
    ),
    Operation(
        "permission", "GET", "/v1/permissions/{id}", "permissions", "Look at a dial permission",
        {200: ref("Permission")}, (_PERMISSION,), refusals=(404, 422),
    ),
    Operation(
        "revoke_permission", "DELETE", "/v1/permissions/{id}", "permissions", "End a dial permission now",
        {200: ref("Permission")}, (_PERMISSION,), refusals=(404, 422),
        description="Calls that were let through go on. Again it changes nothing.",
    ),
    Operation(
        "click", "POST", "/v1/clicks", "dial", "Ring an agent's phone, then call a token",
        {200: ref("Click"), 201: ref("Click")}, (_CLICK_KEY,), "NewClick", refusals=(404, 409, 413, 415, 422),
        description="Takes a token or an alias. Answered when FreeSWITCH has taken the order and not found the phone "
        "gone within half a second; see the click, or a webhook, for what comes of it. 200: the key's click was asked "
        "for before. 403: the scope is missing, or the token is on the blocklist. 409: the agent's phone is not there "
        "or busy (reason: FreeSWITCH's cause). 429: too many clicks of the agent, too. 503: FreeSWITCH is away; no "
        "phone rings, no customer is called, and the same key may be sent again. 404 where the API has no [clicks].",
    ),
    Operation(
        "click_state", "GET", "/v1/clicks/{id}", "dial", "Look at a click of the last 7 days", {200: ref("Click")},
        (Parameter("id", "path", schemas.UUID, "The click's id."),), refusals=(404, 422),
    ),
    Operation(
        "block_token", "PUT", "/v1/blocklist/{token}", "blocklist", "Refuse every call to a token from now on",
        {200: ref("Blocked")}, (_TOKEN,), refusals=(404, 422),
        description="Agents are told 403; customers may still call in. Again it changes nothing.",
    ),
    Operation(
        "unblock_token", "DELETE", "/v1/blocklist/{token}", "blocklist", "Let a token be called again",
        {200: ref("Blocked")}, (_TOKEN,), refusals=(404, 422), description="Again it changes nothing.",
    ),
    Operation(
        "blocklist", "GET", "/v1/blocklist", "blocklist", "List blocked tokens, in their order",
        {200: ref("Blocklist")}, _PAGE, refusals=(422,),
    ),
    Operation(
        "openapi", "GET", "/v1/openapi.json", None, "This document", {200: {"type": "object"}},
    ),
)  # fmt: skip
