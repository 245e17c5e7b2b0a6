"""``esl-shield audit verify`` and ``init-key``: proofs that the audit trail is as it was written."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import click

from esl_shield.audit.signing import Signer
from esl_shield.audit.source import open_source
from esl_shield.audit.verify import LAST, Extent, Trust, Verification, read_public_key
from esl_shield.cli import times
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_json, print_line, print_result, print_rows
from esl_shield.cli.progress import Bar
from esl_shield.errors.config import ConfigError
from esl_shield.errors.keys import KekUnusable
from esl_shield.errors.sealing import SealingKeyUnusable
from esl_shield.resolver.secretfile import read_secret
from esl_shield.vault.keys import file as keyfile

if TYPE_CHECKING:
    from esl_shield.audit.findings import Report
    from esl_shield.config import Config

COLUMNS = ("kind", "block", "event", "at", "event_kind", "sentence")
_RANGE = re.compile(r"([0-9]{1,18})?:([0-9]{1,18})?")


@click.command("init-key")
@click.option(
    "--for", "what", type=click.Choice(["sealing", "journal"]), default="sealing", show_default=True,
    help="Which section's key: the sealer's, or that of a resolver's journal.",
)  # fmt: skip
@format_option
@pass_config
def init_key(config: Config, *, what: str, format_: Format) -> None:
    """Make the Ed25519 key [sealing] key (or [journal] key) names, mode 0400, unless it is there; print its public half.

    Run it as the process's Unix user, and give the public key to whoever verifies, off this machine:

        esl-shield --config sealer.toml audit init-key > sealing.pub
    """
    section = config.sealing if what == "sealing" else config.journal
    if section is None:
        raise ConfigError(source="file", problem=f"it has no [{what}], which says where the key is")
    problem = ""
    try:
        created = keyfile.create(section.key.removeprefix("file:"))
    except KekUnusable as error:
        problem = str(error.fields["problem"])
    if problem:
        raise SealingKeyUnusable(source=section.key, problem=problem)
    public = Signer.from_secret(read_secret("key", section.key, table=f"[{what}] "), source=section.key).public
    click.echo(f"{'created' if created else 'there was'} the key {public.id} at {section.key}", err=True)
    print_result({"id": public.id, "public_key": public.hex, "created": created}, [public.hex], format_)


def _read_range(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int]:
    del context, parameter
    match = _RANGE.fullmatch(value) if value is not None else None
    if value is not None and match is None:
        message = "--range takes FIRST:LAST, two numbers of blocks, either of which may be left out"
        raise click.UsageError(message)
    return (int(match[1] or 1), int(match[2] or LAST)) if match else (1, LAST)


@click.command()
@click.option("--from-head", "heads", metavar="FILE", help="Heads the sealer exported, kept off the machine.")
@click.option("--public-key", "keys", metavar="FILE", multiple=True, help="A sealer's public key; repeatable.")
@click.option("--range", "range_", metavar="FIRST:LAST", callback=_read_range, help="Only these blocks.")
@click.option(
    "--events-since", "since", metavar="TIME",
    help="Events from before were detached on purpose: prove their blocks' chain only. ISO 8601, or 90d ago.",
)  # fmt: skip
@click.option(
    "--accept-code", "code", metavar="HASH", multiple=True,
    help="Functions and rights with this hash were put there on purpose, by an upgrade; repeatable.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress bar.")
@format_option
@pass_config
def verify(
    config: Config, *, heads: str | None, keys: tuple[str, ...], range_: tuple[int, int], since: str | None,
    code: tuple[str, ...], quiet: bool, format_: Format,
) -> int:  # fmt: skip
    """Prove that the audit trail is as it was sealed, without trusting the database.

    Every event is held against its block, every block against its chain, the chain against exported heads and public
    keys that the database's administrators could not change. Says what was edited, removed, inserted or reordered, the
    first first, and which functions and rights changed since when. Exit code 0: proved; 1: something differs.

        esl-shield --config auditor.toml audit verify --from-head heads.ndjson --public-key sealing.pub
    """
    trust = Trust(heads, tuple(read_public_key(path) for path in keys), frozenset(code))
    since_us = int(times.since("--events-since", since).timestamp() * 1e6) if since else None
    with open_source(config.database) as source, Bar(None, quiet=quiet, unit="events") as bar:
        verification = Verification(source, trust, Extent(*range_, since_us), show=lambda events: bar.show(0, events))
        report = verification.run()
    return _print(report, format_)


def _print(report: Report, format_: Format) -> int:
    for notice in report.notices:
        click.echo(f"esl-shield: {notice}", err=True)
    rows = [dataclasses.asdict(finding) for finding in report.findings]
    summary = {"blocks": report.blocks, "events": report.events, "findings": report.count}
    if format_ == "json":
        for row in rows:
            print_json(row)
        print_json(summary)
    else:
        if rows:
            print_rows(rows, COLUMNS, format_)
        proved = "all as sealed" if not rows else f"{report.count} findings"
        print_line(f"{report.blocks} blocks, {report.events} events: {proved}")
    return 1 if rows else 0
