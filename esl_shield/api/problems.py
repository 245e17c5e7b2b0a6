"""Refusals as problem+json (RFC 9457): what is answered instead of an exception.

Invariants: an answer repeats nothing of the request; of an error that is not the caller's only its id and our sentence
for the caller goes out, never a host, a login or a traceback.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from esl_shield.errors import DependencyAway, ShieldError
from esl_shield.errors.api import ApiError, ApiInProgress, ApiRowRejected, ApiTooMany, ApiUnexpected
from esl_shield.errors.dialling import (
    AgentUnreachable,
    BusinessIdRejected,
    ClickBlocked,
    ClickConflict,
    ClickRejected,
    ClickTooMany,
    ClickUnknown,
    PermissionRejected,
)
from esl_shield.errors.freeswitch import FreeSwitchAway, FreeSwitchRefused
from esl_shield.errors.keys import CryptoError, KeysChanged, KeysMissing
from esl_shield.errors.tokens import SpaceFull

if TYPE_CHECKING:
    from typing import Any

_AWAY = "A part this needs does not answer or is not in order; try again later. The log of the process says which."
_FULL = "The tenant may not have more tokens of their length; its administrator can make them longer."
_SWITCH = "FreeSWITCH does not answer, or does not let us in: no phone rings; send the same with the same key again."
_SAID: dict[type[ShieldError], tuple[int, str]] = {
    AgentUnreachable: (409, "The agent's phone is not there, or did not take the call; the customer was not called."),
    BusinessIdRejected: (
        422,
        (
            "A business ID or campaign is 1 to 64 of letters, digits, dot, dash and underscore, begins with a letter "
            "or digit, and is no telephone number."
        ),
    ),
    ClickBlocked: (403, "The token is on the blocklist, so no phone rings."),
    ClickConflict: (422, "This Idempotency-Key was used within 7 days for another call; draw a new one for each call."),
    ClickRejected: (422, "The call was not made: it takes an agent, and a token or an alias; not both."),
    ClickTooMany: (429, "The agent has had as many calls by click in the last minute as the tenant allows."),
    ClickUnknown: (404, "There is no such token or alias that this agent may dial."),
    FreeSwitchAway: (503, _SWITCH),
    FreeSwitchRefused: (503, _SWITCH),
    PermissionRejected: (
        422,
        (
            "The permission was not granted: it takes a token or an alias, not both; a time that is not over, at most "
            "366 days; and an id that is not another permission's."
        ),
    ),
}  # fmt: skip
_AGENT_WAITS_S = 60


def status_of(error: ShieldError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, ApiError):
        return error.status
    if type(error) in _SAID:
        return _SAID[type(error)][0]
    if isinstance(error, DependencyAway | CryptoError | KeysChanged | KeysMissing):
        return 503
    return 409 if isinstance(error, SpaceFull) else 500


def problem(error: ShieldError) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body."""
    status = status_of(error)
    if isinstance(error, ApiError):
        detail = str(error.args[0])
    elif type(error) in _SAID:
        detail = _SAID[type(error)][1]
    elif isinstance(error, SpaceFull):
        detail = _FULL
    else:
        detail = _AWAY if status == HTTPStatus.SERVICE_UNAVAILABLE else ApiUnexpected.sentence
    body: dict[str, Any] = {
        "type": f"urn:esl-shield:error:{error.error_id}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "error_id": error.error_id,
    }
    if isinstance(error, ApiRowRejected):
        body["reason"] = error.fields["reason"]
    if isinstance(error, AgentUnreachable):
        body["reason"] = error.fields["cause"]
    return status, _headers(error, status), json.dumps(body).encode("ascii")


def _headers(error: ShieldError, status: int) -> dict[str, str]:
    if isinstance(error, ApiTooMany):
        return {"Retry-After": str(error.fields["seconds"])}
    if isinstance(error, ClickTooMany):
        return {"Retry-After": str(_AGENT_WAITS_S)}
    if isinstance(error, ApiInProgress):
        return {"Retry-After": "1"}
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="esl-shield"'}
    return {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
