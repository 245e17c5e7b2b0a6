"""The answer of a reveal as it is printed: once, marked in every line, to a terminal or into a new private file.

Invariants: no line of the answer stands without both people, the case and the time; where it goes is known to work
before the reveal is used; a file that got no answer is removed.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import TYPE_CHECKING, Any

from esl_shield.cli.files import new_file
from esl_shield.cli.output import cell, moment
from esl_shield.errors.reveals import NoTerminal

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

CALL_COLUMNS = ("started_at", "id", "agent", "token", "alias", "state", "hangup_cause", "talk_s")
_GAP = "  "
_BAR = " | "


def spell(row: Mapping[str, Any], opened_at: dt.datetime, answer: Mapping[str, Any], format_: str) -> str:
    """Spell an answer of ``/reveal`` for a row of ``dba.reveals``, with its marks; ends with a newline."""
    mark = {
        "case": row["case_id"],
        "requested_by": f"{row['requester_person']} ({row['requester']})",
        "approved_by": f"{row['approver_person']} ({row['approver']})",
        "opened_at": moment(opened_at),
        "id": str(row["id"]),
    }
    if format_ == "json":
        lines = [{**answer, "mark": mark}] if "number" in answer else _json_calls(answer, mark)
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    text = _BAR.join(f"{name.replace('_', ' ')} {cell(value)}" for name, value in mark.items())
    body = [f"number {answer['number']}"] if "number" in answer else _table(answer)
    width = max(map(len, body))
    return "".join(f"{line.ljust(width)}{_BAR}{text}\n" for line in body)


@contextlib.contextmanager
def sink(output: Path | None) -> Iterator[Callable[[str], None]]:
    """Give a function that writes the answer where it belongs; raises NoTerminal, OSError before anything is used."""
    if output is None:
        if not sys.stdout.isatty():
            raise NoTerminal
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(
                errors="backslashreplace"
            )  # a name the terminal cannot show must not lose the answer
        yield lambda text: print(text, end="", flush=True)
        return
    with new_file(output) as write:
        yield write


def _json_calls(answer: Mapping[str, Any], mark: Mapping[str, Any]) -> list[dict[str, Any]]:
    head = {"token": answer["token"], "total": answer["total"], "shown": len(answer["calls"]), "mark": mark}
    return [head, *({**call, "mark": mark} for call in answer["calls"])]


def _table(answer: Mapping[str, Any]) -> list[str]:
    calls = answer["calls"]
    if answer["token"] is None:
        return ["this number has no token, so there are no calls"]
    head = f"token {answer['token']}: {answer['total']} calls"
    if len(calls) < answer["total"]:
        head += f", the latest {len(calls)} of them"
    rows = [[column.upper() for column in CALL_COLUMNS]]
    rows += [[cell(call[column]) for column in CALL_COLUMNS] for call in calls]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return [head, *(lines if calls else [])]
