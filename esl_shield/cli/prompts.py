"""What commands ask the person at the terminal, or read from standard input."""

from __future__ import annotations

import sys

import click

from esl_shield.errors.tokens import NumberRejected

_MAX_LINE = 256


def read_number() -> str:
    """Read one telephone number, hidden if standard input is a terminal; raises NumberRejected."""
    if sys.stdin.isatty():
        text: str = click.prompt("Number", hide_input=True, err=True)
        return text
    raw = sys.stdin.buffer.read(_MAX_LINE + 1)
    lines = raw.decode("utf-8-sig", "replace").splitlines()
    if len(raw) > _MAX_LINE or len(lines) > 1:
        raise NumberRejected(reason="lines", why="standard input must hold one number on one line")
    return lines[0] if lines else ""


def confirm_typed(what: str) -> None:
    """Go on only after these words were typed; raises click.Abort, or click.UsageError when nobody is there."""
    try:
        typed = click.prompt(f"Type {what} to go on", default="", show_default=False, err=True)
    except click.Abort as error:
        if not isinstance(error.__context__, EOFError):
            raise
        message = "nobody answered; give --yes"
        raise click.UsageError(message) from None
    if typed != what:
        raise click.Abort


def confirm(question: str) -> None:
    """Go on only after a yes; raises click.Abort, or click.UsageError when nobody is there to answer."""
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as error:
        if not isinstance(error.__context__, EOFError):
            raise
    else:
        return
    message = "nobody answered; give --yes"
    raise click.UsageError(message)
