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
from esl_shield.errors.keys import CryptoError, KeysChanged, KeysMissing
from esl_shield.errors.tokens import SpaceFull

if TYPE_CHECKING:
    from typing import Any

_AWAY = "A part this needs does not answer or is not in order; try again later. The log of the process says which."
_FULL = "The tenant may not have more tokens of their length; its administrator can make them longer."


def status_of(error: ShieldError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, ApiError):
        return error.status
    if isinstance(error, DependencyAway | CryptoError | KeysChanged | KeysMissing):
        return 503
    return 409 if isinstance(error, SpaceFull) else 500


def problem(error: ShieldError) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body."""
    status = status_of(error)
    if isinstance(error, ApiError):
        detail = str(error.args[0])
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
    return status, _headers(error, status), json.dumps(body).encode("ascii")


def _headers(error: ShieldError, status: int) -> dict[str, str]:
    if isinstance(error, ApiTooMany):
        return {"Retry-After": str(error.fields["seconds"])}
    if isinstance(error, ApiInProgress):
        return {"Retry-After": "1"}
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="esl-shield"'}
    return {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
