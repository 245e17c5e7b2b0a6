"""TOML tables made into frozen dataclasses.

Invariants: an unknown, missing or mistyped key is a ValueError that names it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from esl_shield.config.values import Address

_T = TypeVar("_T")


NOT_IN_FILE = {"not_in_file": True}


def build(cls: type[_T], table: dict[str, Any], *, where: str) -> _T:
    """Make a dataclass of a TOML table; unknown, missing and mistyped keys raise ValueError."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.metadata != NOT_IN_FILE}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            message = f"unknown key {where}{key}"
            raise ValueError(message)
    for name, spec in fields.items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and name not in table:
            message = f"{where}{name} is missing"
            raise ValueError(message)
    return cls(**{key: _convert(hints[key], value, where=f"{where}{key}") for key, value in table.items()})


def _convert(hint: Any, value: Any, *, where: str) -> Any:  # noqa: PLR0911 - one line per TOML shape
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _convert(next(a for a in arguments if a is not type(None)), value, where=where)
    if origin is Literal:
        return _expect(value, value in arguments, where, " or ".join(map(repr, arguments)))
    if origin is tuple:
        _expect(value, isinstance(value, list), where, "a list")
        return tuple(_convert(arguments[0], item, where=f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(value, isinstance(value, dict), where, "a table")
        return {key: _convert(arguments[1], item, where=f"{where}.{key}") for key, item in value.items()}
    if hint is Address:
        _expect(value, isinstance(value, str), where, "ADDRESS:PORT")
        try:
            return Address.parse(value)
        except ValueError:
            message = f"{where} = {value!r} must be an IP address and a port, such as 127.0.0.1:8084 or [::1]:8084"
            raise ValueError(message) from None
    if dataclasses.is_dataclass(hint):
        _expect(value, isinstance(value, dict), where, "a table")
        return build(typing.cast("type[Any]", hint), value, where=f"{where}.")
    if hint is float:
        return float(_expect(value, isinstance(value, int | float) and not isinstance(value, bool), where, "a number"))
    return _expect(value, type(value) is hint, where, {str: "text", int: "a whole number"}.get(hint, hint.__name__))


def _expect(value: Any, holds: bool, where: str, what: str) -> Any:
    if not holds:
        message = f"{where} must be {what}"
        raise ValueError(message)
    return value
