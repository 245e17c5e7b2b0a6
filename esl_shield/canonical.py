"""The JSON that is signed: one spelling of a document, and a reader that takes none of two meanings.

Invariants: what is signed is ASCII, keys in order, no blanks; what is read holds no key twice and no number that is not
whole, so that two readers never see two documents under one signature.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def write(value: object) -> bytes:
    """Spell a document as it is signed; a float, which has no one form, raises TypeError."""
    _refuse_floats(value)
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def read(text: str | bytes) -> Any:
    """Read a document, however it is laid out; raises ValueError, and RecursionError for one too deep."""
    return json.loads(text, object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        message = "a signed document has whole numbers only"
        raise TypeError(message)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _refuse_floats(inner)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        message = "a key stands there twice"
        raise ValueError(message)
    return made


def _refuse(text: str) -> NoReturn:
    message = f"a number that is not whole: {len(text)} characters"
    raise ValueError(message)
