"""Requests held against what ``operations`` says they are: parameters and body out, or one refusal.

Invariants: what is not named is refused, twice the same parameter or JSON key too; a refusal names places of the
document only, never what the caller wrote there.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from esl_shield.api.schemas import COMPONENTS
from esl_shield.errors.api import ApiInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esl_shield.api.operations import Operation, Parameter
    from esl_shield.api.schemas import Schema

MAX_PARAMETERS = 64
_SAID = {
    "type": "is of another type", "required": "lacks a property", "additionalProperties": "has an unknown property",
    "pattern": "has not the form it must", "minLength": "is too short", "maxLength": "is too long",
    "minItems": "has too few", "maxItems": "has too many", "minimum": "is too small", "maximum": "is too large",
    "enum": "is none of the values there are",
}  # fmt: skip


class Checker:
    """Checks the requests of one operation."""

    def __init__(self, operation: Operation) -> None:
        self._parameters = operation.parameters
        self._schemas = {p.name: _validator(p.schema) for p in operation.parameters}
        self._body = _validator(COMPONENTS[operation.body]) if operation.body else None

    def parameters(self, path: Mapping[str, str], query: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the parameters given, by name; raises ApiInvalid."""
        given = self._query(query)
        for parameter in self._parameters:
            if parameter.place == "path":
                given[parameter.name] = [path[parameter.name]]
            elif parameter.place == "header" and parameter.name.upper() in headers:
                given[parameter.name] = [headers[parameter.name.upper()]]
        return {p.name: self._value(p, given[p.name]) for p in self._parameters if p.name in given}

    def body(self, raw: bytes) -> Any:
        """Return the body, None of an operation that has none; raises ApiInvalid."""
        if self._body is None:
            if raw:
                raise ApiInvalid(where="the body", problem="must be empty")
            return None
        body = _parse(raw)
        _check(self._body, body, "the body")
        return body

    def _query(self, query: str) -> dict[str, list[str]]:
        known = {p.name for p in self._parameters if p.place == "query"}
        try:
            pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise ApiInvalid(where="the query", problem="is not UTF-8, or too long") from None
        given: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in known:
                raise ApiInvalid(where="the query", problem="has an unknown parameter")
            given.setdefault(name, []).append(value)
        return given

    def _value(self, parameter: Parameter, texts: list[str]) -> Any:
        where = f"parameter {parameter.name}"
        kind = parameter.schema["type"]
        if kind != "array" and len(texts) > 1:
            raise ApiInvalid(where=where, problem="is given more than once")
        value: Any = texts if kind == "array" else texts[0]
        if kind == "integer":
            if not (texts[0].isascii() and texts[0].isdigit() and len(texts[0]) < 10):  # noqa: PLR2004 - fits an int
                raise ApiInvalid(where=where, problem="is no whole number")
            value = int(texts[0])
        _check(self._schemas[parameter.name], value, where)
        return moment(value, where) if parameter.schema.get("format") == "date-time" else value


def moment(text: str, where: str) -> dt.datetime:
    """Read an RFC 3339 moment; raises ApiInvalid."""
    with contextlib.suppress(ValueError, OverflowError):
        read = dt.datetime.fromisoformat(text)
        if read.tzinfo is not None:
            return read.astimezone(dt.UTC)
    raise ApiInvalid(where=where, problem="is no moment such as 2030-01-31T18:00:00Z")


def _pattern(validator: Any, pattern: str, value: Any, schema: Schema) -> Iterator[ValidationError]:
    """Match all of a text: the ``$`` of ``re`` lets a line feed pass, that of JSON Schema's regular expressions not."""
    del schema
    if validator.is_type(value, "string") and not re.fullmatch(pattern, value):
        yield ValidationError("")  # nothing of the value


_Validator: Any = cast("Any", extend)(Draft202012Validator, {"pattern": _pattern})


_CHEAP = ("$ref", "type", "maxItems", "maxLength")


def _validator(schema: Schema) -> Any:
    return _Validator(_cheap_first({**schema, "components": {"schemas": COMPONENTS}}))


def _cheap_first(schema: Any) -> Any:
    """Return a schema that refuses a list too long before its items are looked at: keywords are checked in order."""
    if isinstance(schema, list):
        return [_cheap_first(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    ordered = sorted(schema, key=lambda name: name not in _CHEAP)
    return {name: _cheap_first(schema[name]) for name in ordered}


def _check(validator: Any, value: Any, where: str) -> None:
    error = next(validator.iter_errors(value), None)
    if error is not None:
        raise ApiInvalid(where=_place(error, where), problem=_SAID.get(str(error.validator), "is not what it must be"))


def _place(error: ValidationError, where: str) -> str:
    """Say where in the body, as far as the names on the way are ours: a label's name is the caller's."""
    steps: list[str] = []
    for step in error.absolute_path:
        if isinstance(step, str) and step not in _NAMES:
            break
        steps.append(str(step))
    return f"{where} at /{'/'.join(steps)}" if steps else where


_NAMES = frozenset(name for schema in COMPONENTS.values() for name in schema.get("properties", {}))


def _parse(raw: bytes) -> Any:
    try:
        body = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_int,
            parse_float=_float,
        )  # fmt: skip
        json.dumps(body, ensure_ascii=False).encode("utf-8")  # lone surrogates are no text
    except (ValueError, RecursionError):  # UnicodeError is a ValueError; none of them is passed on: they quote
        raise ApiInvalid(where="the body", problem="is no JSON, or has a key twice") from None
    return body


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError
    return made


def _no_constant(text: str) -> float:
    del text
    raise ValueError


def _int(text: str) -> int:
    if len(text) > 18:  # noqa: PLR2004 - what fits 64 bits; nothing here takes more
        raise ValueError
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value
