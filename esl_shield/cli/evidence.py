"""``esl-shield audit verify`` and ``init-key``: proofs that the audit trail is as it was written."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import click

from esl_shield.audit import proofs
from esl_shield.audit.decrypts import Redemptions
from esl_shield.audit.findings import Report
from esl_shield.audit.heads import read_heads
from esl_shield.audit.signing import Signer
from esl_shield.audit.source import open_source
from esl_shield.audit.verify import LAST, Extent, Trust, Verification, read_public_key
from esl_shield.cli import times
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_json, print_line, print_result, print_rows
from esl_shield.cli.progress import Bar
from esl_shield.config.secretfile import read_secret
from esl_shield.errors.config import ConfigError
from esl_shield.errors.keys import KekUnusable
from esl_shield.errors.sealing import SealingKeyUnusable, ViewIncomplete
from esl_shield.vault.keys import file as keyfile

if TYPE_CHECKING:
    import uuid

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
    """Make the Ed25519 key that [sealing] key (or [journal] key) names, mode 0400, and print its public half.

    A key that is there is left as it is.

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
@click.option(
    "--journal", "journals", metavar="FILE", multiple=True, help="A resolver's journal; repeatable, older first."
)
@click.option("--journal-key", "journal_keys", metavar="FILE", multiple=True, help="The public key of a journal.")
@click.option("--offline", metavar="FILE", help="Check what `audit export` wrote instead; asks no database.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@format_option
def verify(
    *, heads: str | None, keys: tuple[str, ...], range_: tuple[int, int], since: str | None,
    code: tuple[str, ...], journals: tuple[str, ...], journal_keys: tuple[str, ...], offline: str | None,
    quiet: bool, format_: Format,
) -> int:  # fmt: skip
    """Prove that the audit trail is as it was sealed, without trusting the database.

    Every event is held against its block, every block against its chain, the chain against exported heads and public
    keys that the database's administrators could not change. Says what was edited, removed, inserted or reordered, the
    first first, and which functions and rights changed since when. With the journals of the resolvers, also what was
    decrypted without an event, or redeemed by none of them. Exit code 0: proved; 1: something differs.

        esl-shield --config auditor.toml audit verify --from-head heads.ndjson --public-key sealing.pub
    """
    trust = Trust(heads, tuple(read_public_key(path) for path in keys), frozenset(code))
    since_us = int(times.since("--events-since", since).timestamp() * 1e6) if since else None
    if offline is not None:
        return _verify_offline(offline, heads, keys, format_)
    if bool(journals) != bool(journal_keys):
        message = "--journal and --journal-key go together"
        raise click.UsageError(message)
    if journals and range_[1] != LAST:
        message = "--journal needs a --range with an open end"
        raise click.UsageError(message)
    report = Report()
    known = {key.id: key for key in map(read_public_key, journal_keys)}
    redemptions = Redemptions(journals, known, report) if journals else None
    _verify_database(Extent(*range_, since_us), trust, redemptions, report, quiet=quiet)
    return _print(report, format_)


@pass_config
def _verify_database(
    config: Config, extent: Extent, trust: Trust, redemptions: Redemptions | None, report: Report, *, quiet: bool
) -> None:
    with open_source(config.database) as source, Bar(None, quiet=quiet, unit="events") as bar:
        Verification(source, trust, extent, redemptions, lambda events: bar.show(0, events), report).run()


@click.command()
@click.option("--call", type=click.UUID, metavar="ID", help="Only events of this call.")
@click.option("--kind", metavar="KIND", help="Only events of this kind, such as permit.redeemed.")
@click.option("--since", metavar="TIME", help="Only events from this moment on: ISO 8601, or 30m, 12h, 7d, 2w ago.")
@click.option("--until", metavar="TIME", help="Only events from before this moment.")
@pass_config
def export(config: Config, *, call: uuid.UUID | None, kind: str | None, since: str | None, until: str | None) -> int:
    """Print events with what proves each to somebody without the database, one JSON object a line.

    Events that are not sealed, or not as they were sealed, are left out and counted; the exit code is then 1.

        esl-shield --config auditor.toml audit export --call ID > proofs.ndjson
        esl-shield audit verify --offline proofs.ndjson --public-key sealing.pub
    """
    conditions: dict[str, object] = {
        "call = %s::uuid": str(call) if call else None,
        "kind = %s": kind,
        "at_us >= %s": int(times.since("--since", since).timestamp() * 1e6) if since else None,
        "at_us < %s": int(times.since("--until", until).timestamp() * 1e6) if until else None,
    }
    left_out = 0
    with open_source(config.database) as source:
        if not source.sealing().sees_all:
            raise ViewIncomplete
        for proof in proofs.export(source, {text: value for text, value in conditions.items() if value is not None}):
            if isinstance(proof, int):
                left_out += 1
            else:
                print_json(proof)
    if left_out:
        click.echo(f"esl-shield: {left_out} events are not in a block as they are now and were left out", err=True)
    return 1 if left_out else 0


def _verify_offline(path: str, heads: str | None, keys: tuple[str, ...], format_: Format) -> int:
    if not keys:
        message = "--offline needs --public-key"
        raise click.UsageError(message)
    known = {key.id: key for key in map(read_public_key, keys)}
    hashes = {head.block.number: head.block.hash for head in read_heads(heads)} if heads else {}
    checked = [row._asdict() for row in proofs.check(path, known, hashes)]
    wrong = [row for row in checked if row["problem"]]
    if format_ == "json":
        for row in checked:
            print_json(row)
    else:
        if wrong:
            print_rows(wrong, ("event", "block", "problem"), format_)
        print_line(f"{len(checked)} events: {f'{len(wrong)} not proved' if wrong else 'all proved'}")
    return 1 if wrong or not checked else 0


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
