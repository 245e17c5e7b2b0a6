"""``esl-shield mask``: try how customers' data are shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from esl_shield.cli.careful import CarefulCommand
from esl_shield.cli.output import Format, cell, format_option, print_json, print_line
from esl_shield.vault.masking import HIDDEN, MAX_TEXT, read_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command(cls=CarefulCommand)
@click.option(
    "--kind", required=True, metavar="KIND",
    help="phone, id_card, bank_card, name, address, hidden, clear, or 'keep N M': N characters in front, M at the end.",
)  # fmt: skip
@format_option
def mask(kind: str, format_: Format) -> None:
    r"""Mask each line of standard input, as outputs mask data of this kind; nothing is kept, no configuration is read.

    What has not the form of its kind is hidden whole, as ***: too short, digits of another script than ASCII,
    invisible characters. `tenant mask` says which kind each label of a tenant is.

    \b
    esl-shield mask --kind phone < numbers.txt
    esl-shield mask --kind "keep 2 2" < contracts.txt
    """
    pattern = read_pattern(kind)
    for line in _lines():
        masked = HIDDEN if line is None else pattern.show(line)
        if format_ == "json":
            print_json({"masked": masked})
        else:
            print_line(cell(masked))


def _lines() -> Iterator[str | None]:
    """Yield each line; None for one that is too long, or no UTF-8."""
    stream = sys.stdin.buffer
    while raw := stream.readline(4 * MAX_TEXT):
        whole = raw.endswith(b"\n") or len(raw) < 4 * MAX_TEXT
        while not raw.endswith(b"\n") and (more := stream.readline(4 * MAX_TEXT)):
            raw = more
            whole = False
        try:
            yield raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8") if whole else None
        except UnicodeDecodeError:
            yield None
