"""The OpenAPI 3.1 document, made of ``operations`` and ``schemas``; docs/openapi.json is what this prints.

``python -m esl_shield.api.document`` prints it.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from esl_shield.api.operations import JSON, OPERATIONS, PROBLEM, SCOPES
from esl_shield.api.schemas import COMPONENTS, ref

if TYPE_CHECKING:
    from esl_shield.api.operations import Operation, Parameter

VERSION = "1.0.0"
_ALWAYS_REFUSED = (400, 401, 403, 429, 500, 503)
_ABOUT = (
    "Tokens, calls and keys of one tenant of a number shield. No answer holds a telephone number. Each request carries "
    "a key or an access token, which decides the tenant. Refusals are problem+json with a stable error_id."
)


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "esl_shield", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "key": {
                    "type": "http", "scheme": "bearer",
                    "description": "A key of `esl-shield apikey add`, or a JSON Web Token of the site's authorization "
                    "server. Scopes: " + "; ".join(f"{name}: {text}" for name, text in SCOPES.items()) + ".",
                },
            },
        },
    }  # fmt: skip


def text() -> str:
    """Return the document as it is shipped and served."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _operation(operation: Operation) -> dict[str, Any]:
    described = f"{operation.description} Scope: {operation.scope}." if operation.scope else operation.description
    made: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": described.strip(),
        "responses": {
            **{
                str(status): {
                    "description": HTTPStatus(status).phrase,
                    "content": {operation.media_type: {"schema": schema}},
                }
                for status, schema in operation.answers.items()
            },
            **{str(status): _refusal(status) for status in _refusals(operation)},
        },
    }
    if operation.parameters:
        made["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": ref(operation.body)}}}
    if operation.scope:
        made["security"] = [{"key": []}]
    return made


def _refusals(operation: Operation) -> list[int]:
    if operation.scope is None:
        return [400, 422, 500]
    return sorted({*operation.refusals, *_ALWAYS_REFUSED})


def _refusal(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM: {"schema": ref("Problem")}},
    }
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        made["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - this is what it is run for
