"""What the shipped SQL says functions and rights are, read from its text; no database is asked.

Invariants: a GRANT or a function this reader does not understand is an error here, never a silent omission.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.db.schema import OWNER, sql_files

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTION = re.compile(
    r"CREATE OR REPLACE FUNCTION\s+(?P<name>[a-z_]+\.[a-z0-9_]+)\s*\((?P<head>.*?)"
    r"\bAS\s+\$(?P<tag>[a-z_]*)\$(?P<body>.*?)\$(?P=tag)\$",
    re.DOTALL,
)
_GRANT = re.compile(
    r"^GRANT\s+(?P<right>USAGE|EXECUTE|SELECT)\s+ON\s+(?P<what>.*?)\s+TO\s+(?P<to>[a-z_,\s]+);",
    re.DOTALL | re.MULTILINE,
)
_SETTING = re.compile(r"\bSET\s+([a-z_]+)\s*=\s*(.*?)(?=\s+SET\s|\s*$)", re.DOTALL)


@dataclass(frozen=True)
class Function:
    """A function's source between its dollar quotes, whether it is SECURITY DEFINER, and its settings, lower-case."""

    source: str
    definer: bool
    settings: frozenset[str]


def functions() -> dict[str, Function]:
    """Every shipped function by its qualified name."""
    found = {}
    for path in sql_files():
        text = path.read_text(encoding="utf-8")
        for match in _FUNCTION.finditer(text):
            head = match["head"]
            settings = frozenset(
                f"{name}={value.strip()}".replace("'", "").lower() for name, value in _SETTING.findall(head)
            )
            found[match["name"]] = Function(match["body"], "SECURITY DEFINER" in head, settings)
        _count("CREATE OR REPLACE FUNCTION", text, len(_FUNCTION.findall(text)))
    return found


def rights() -> set[tuple[str, str, str]]:
    """Every shipped GRANT as (role, right, object); an object is a schema or a qualified function or view."""
    text = re.sub(
        r"--.*", "", next(path for path in sql_files() if path.name == "grants.sql").read_text(encoding="utf-8")
    )
    found = list(_GRANT.finditer(text))
    _count("GRANT ", text, len(found))
    return {right for match in found for right in _pairs(match)}


def views() -> dict[str, str]:
    """Return the statement that makes each shipped view, by its name in ``dba``."""
    found = {}
    for path in sql_files():
        if path.parent.name == "dba":
            statement = re.search(
                r"CREATE OR REPLACE VIEW dba\.([a-z_]+)(.*?);", path.read_text(encoding="utf-8"), re.DOTALL
            )
            if statement is None:
                message = f"{path.name} makes no view"
                raise ValueError(message)
            found[statement[1]] = statement[2]
    return found


def policies() -> str:
    """Return the statement that makes the policies."""
    return next(path for path in sql_files() if path.name == "policies.sql").read_text(encoding="utf-8")


def _pairs(match: re.Match[str]) -> Iterator[tuple[str, str, str]]:
    objects = re.sub(r"^(SCHEMA|FUNCTION|TABLE)\s+", "", match["what"].strip())
    for name in re.split(r"[,\s]+", objects):
        for role in re.split(r"[,\s]+", match["to"].strip()):
            if role != OWNER:
                yield role, match["right"], re.sub(r"\(.*", "", name)


def _count(word: str, text: str, understood: int) -> None:
    if text.count(word) != understood:
        message = f"the shipped SQL has {text.count(word)} of {word!r}, of which {understood} were understood"
        raise ValueError(message)
