"""The WSGI application: routes of ``operations`` to handlers, everything checked on the way.

Invariants: a handler is called only with parameters and a body of the operation's form, by a caller with a key or token
of the right form whose rate is not used up; whatever goes wrong is one problem+json; nothing of a request is logged.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import falcon

from esl_shield.api import document
from esl_shield.api.callers import Caller, Tokens, read_caller
from esl_shield.api.checking import Checker
from esl_shield.api.operations import JSON, NDJSON, OPERATIONS, PROBLEM, Operation
from esl_shield.api.problems import problem
from esl_shield.errors import ShieldError
from esl_shield.errors.api import (
    ApiBadRequest,
    ApiError,
    ApiForbidden,
    ApiInvalid,
    ApiMediaType,
    ApiMethod,
    ApiNotFound,
    ApiTooLarge,
    ApiUnauthorized,
    ApiUnexpected,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from esl_shield.api.limits import Charge, Limits

LOG = logging.getLogger(__name__)

NO_OPERATION = "none"
_SECURE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, repr=False)
class Asked:
    """A checked request; ``raw`` and ``authorization`` are for whoever passes it on."""

    caller: Caller
    parameters: Mapping[str, Any]
    body: Any
    raw: bytes
    authorization: str


@dataclass(frozen=True, repr=False)
class Answer:
    """An answer: ``body`` as JSON, or ``raw`` JSON, or ``lines`` as they come."""

    status: int = 200
    body: Any = None
    raw: bytes | None = None
    lines: Iterable[bytes] | None = None
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Asked], Answer]
Observe = Callable[[str, int, float], None]
"""Told of each answer: the operation, the status, the seconds until its first byte."""
Reading = Callable[[], "AbstractContextManager[object]"]
"""Makes the timer a body must be read within."""


def application(
    handlers: Mapping[str, Handler], *, limits: Limits, tokens: Tokens | None, max_body_bytes: int, reading: Reading,
    observe: Observe,
) -> falcon.App[Any, Any]:  # fmt: skip
    """Make the application of the operations that have a handler, and of the document."""
    app = falcon.App(media_type=JSON, cors_enable=False)
    app.req_options.strip_url_path_trailing_slash = False
    shared = _Shared(limits, tokens, max_body_bytes, reading, observe)
    handlers = {**handlers, "openapi": _document}
    resources: dict[str, dict[str, _Responder]] = {}
    for operation in OPERATIONS:
        if operation.id in handlers:
            responder = _Responder(operation, handlers[operation.id], shared)
            resources.setdefault(operation.path, {})[operation.method] = responder
    for path, responders in resources.items():
        app.add_route(path, _resource(responders))
    app.add_error_handler(Exception, shared.refuse)
    app.add_error_handler(falcon.HTTPError, shared.refuse_http)
    return app


def _resource(responders: Mapping[str, _Responder]) -> object:
    """Make what Falcon calls a resource: an object with a method for each HTTP method."""
    return type("Resource", (), {f"on_{method.lower()}": staticmethod(r) for method, r in responders.items()})()


def _document(asked: Asked) -> Answer:
    del asked
    return Answer(raw=document.text().encode())


@dataclass(frozen=True)
class _Shared:
    """What all operations of a process have in common."""

    limits: Limits
    tokens: Tokens | None
    max_body_bytes: int
    reading: Reading
    observe: Observe

    def refuse(self, req: falcon.Request, resp: falcon.Response, error: Exception, params: object) -> None:
        """Answer an exception."""
        del params
        if not isinstance(error, ShieldError):
            LOG.error("api.unexpected", exc_info=error)  # the formatter keeps type and place, nothing else
            error = ApiUnexpected()
        status, headers, body = problem(error)
        if status >= 500:  # noqa: PLR2004 - ours
            LOG.warning("api.failed", extra={"fields": {"error_id": error.error_id}})
        resp.status = status
        resp.set_headers({**_SECURE, **headers})
        resp.content_type = PROBLEM
        resp.data = body
        resp.stream = None
        self.note(req, status)

    def refuse_http(self, req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: object) -> None:
        """Answer what Falcon refuses: no such path or method, a header it cannot read."""
        ours: ShieldError = ApiInvalid(where="a header", problem="has not the form it must")
        if error.status_code == 404:  # noqa: PLR2004
            ours = ApiNotFound(what="path")
        elif error.status_code == 405:  # noqa: PLR2004
            ours = ApiMethod()
            resp.set_headers(error.headers or {})
        self.refuse(req, resp, ours, params)

    def note(self, req: falcon.Request, status: int) -> None:
        """Tell the observer."""
        operation, since = getattr(req.context, "begun", (NO_OPERATION, time.monotonic()))
        self.observe(operation, status, time.monotonic() - since)


class _Responder:
    """Answers one operation."""

    def __init__(self, operation: Operation, handler: Handler, shared: _Shared) -> None:
        self._operation = operation
        self._handler = handler
        self._shared = shared
        self._checker = Checker(operation)

    def __call__(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Check, handle, answer; raises what is refused."""
        req.context.begun = (self._operation.id, time.monotonic())
        caller, charge = self._caller(req)
        raw = self._read(req)
        if charge is not None:
            charge.weigh(len(raw))
        parameters = self._checker.parameters(path, req.query_string, req.headers)
        body = self._checker.body(raw)
        answer = self._handle(charge, Asked(caller, parameters, body, raw, req.get_header("Authorization") or ""))
        self._send(resp, answer)
        self._shared.note(req, answer.status)

    def _caller(self, req: falcon.Request) -> tuple[Caller, Charge | None]:
        scope = self._operation.scope
        if scope is None:
            return Caller(b""), None
        caller = read_caller(req.get_header("Authorization"), self._shared.tokens)
        charge = self._shared.limits.take(caller.key, req.remote_addr)
        if caller.scopes is not None and scope not in caller.scopes:
            raise ApiForbidden(scope=scope)
        return caller, charge

    def _handle(self, charge: Charge | None, asked: Asked) -> Answer:
        """Ask the handler; whether it knew the key says who is charged, the key or where it came from."""
        try:
            answer = self._handler(asked)
        except ApiError as error:
            if charge is not None and not isinstance(error, ApiInvalid):  # a handler's own look, before it asked
                charge.settle(error.status, len(asked.raw))
            raise
        if charge is not None:
            charge.settle(answer.status, len(asked.raw))
        return answer

    def _read(self, req: falcon.Request) -> bytes:
        most = self._shared.max_body_bytes
        length = req.content_length or 0
        if length > most:
            raise ApiTooLarge(most=most)
        try:
            with self._shared.reading():
                raw: bytes = req.env["wsgi.input"].read(length if req.content_length is not None else most + 1)
        except (OSError, ValueError):  # pywsgi's of a chunk that is none, the time that is over, the caller that left
            raise ApiBadRequest from None
        if len(raw) > most:
            raise ApiTooLarge(most=most)
        if len(raw) < length:
            raise ApiInvalid(where="the body", problem="ends early")
        if self._operation.body and (req.content_type or "").partition(";")[0].strip().lower() != JSON:
            raise ApiMediaType
        return raw

    @staticmethod
    def _send(resp: falcon.Response, answer: Answer) -> None:
        resp.status = answer.status
        resp.content_type = answer.media_type
        resp.set_headers({**_SECURE, **answer.headers})
        if answer.lines is not None:
            resp.stream = answer.lines
        else:
            resp.data = answer.raw if answer.raw is not None else json.dumps(answer.body, ensure_ascii=False).encode()


def require(verdict: str, scope: str, what: str) -> None:
    """Raise what a verdict of SQL means, unless it is OK."""
    if verdict == "OK":
        return
    if verdict == "UNKNOWN_KEY":
        raise ApiUnauthorized
    if verdict == "NO_SCOPE":
        raise ApiForbidden(scope=scope)
    raise ApiNotFound(what=what)


def lines(rows: Iterator[Any]) -> Iterator[bytes]:
    """Spell rows as NDJSON."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


__all__ = ["NDJSON", "Answer", "Asked", "Handler", "application", "lines", "require"]
