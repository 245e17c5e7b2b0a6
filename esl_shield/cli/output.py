"""What commands print: data on stdout as a table or as JSON, one object a line.

Invariants: moments are ISO 8601 in UTC, to the second; a table shows control characters as escapes, so that nothing
from the database moves the cursor; each line is flushed, so that a pipe sees it at once.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Format = Literal["table", "json"]
_GAP = "  "


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--format table|json`` as its parameter ``format_``."""
    return click.option(
        "--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True,
        help="A table to read, or JSON, one object a line.",
    )(command)  # fmt: skip


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], format_: Format) -> None:
    """Print rows with these columns; a table is laid out when the last row is known."""
    if format_ == "json":
        for row in rows:
            print_json({column: row[column] for column in columns})
        return
    lines = [[cell(row[column]) for column in columns] for row in rows]
    titles = [column.upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    for line in (titles, *lines):
        _print_cells(line, widths)


def print_stream(rows: Iterable[Mapping[str, Any]], widths: Mapping[str, int], format_: Format) -> None:
    """Print rows as they come; a table's columns have the widths given, and a longer value pushes the rest aside."""
    if format_ == "table":
        _print_cells([column.upper() for column in widths], widths.values())
    for row in rows:
        if format_ == "json":
            print_json({column: row[column] for column in widths})
        else:
            _print_cells([cell(row[column]) for column in widths], widths.values())


def print_record(record: Mapping[str, Any], format_: Format) -> None:
    """Print one object: its fields one a line, or JSON."""
    if format_ == "json":
        print_json(record)
        return
    width = max(map(len, record))
    for name, value in record.items():
        print_line(f"{name.ljust(width)}{_GAP}{cell(value)}".rstrip())


def print_result(fields: Mapping[str, Any], lines: Sequence[str], format_: Format) -> None:
    """Print what a command did: a line for each thing, or its fields as JSON."""
    if format_ == "json":
        print_json(fields)
        return
    for line in lines:
        print_line(_escaped(line))


def print_json(record: Mapping[str, Any]) -> None:
    """Print one object on one line."""
    print_line(json.dumps(record, default=plain, ensure_ascii=False))


def print_line(text: str) -> None:
    """Print one line at once; when the reader has left (`| head`) the command is done."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What print kept is flushed again when the interpreter ends: into nothing, not into the broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from None


def cell(value: Any) -> str:
    """Return one value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        return _escaped(" ".join(f"{name}={cell(inner)}" for name, inner in value.items()))
    if isinstance(value, list | tuple):
        return _escaped(",".join(map(cell, value)))
    return _escaped(str(plain(value) if not isinstance(value, str | int | float) else value))


def moment(value: dt.datetime) -> str:
    """Return a moment as ISO 8601 in UTC, such as 2030-01-31T18:00:00Z."""
    return value.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_cells(cells: Iterable[str], widths: Iterable[int]) -> None:
    print_line(_GAP.join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip())


def plain(value: Any) -> str | float:
    """Return what JSON has no word for as text or number; raises TypeError."""
    if isinstance(value, dt.datetime):
        return moment(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    message = f"nothing prints a {type(value).__name__}"
    raise TypeError(message)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
