"""``esl-shield leakscan --canary``, ``leakscan keygen`` and ``leakscan verify``: a deployment proved clean, signed."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from esl_shield.audit import signing
from esl_shield.cli.careful import CarefulCommand, hide_numbers
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.output import Format, format_option, print_line, print_record, print_result
from esl_shield.cli.progress import Bar
from esl_shield.errors.config import ConfigError
from esl_shield.service.canary import proof
from esl_shield.service.canary.observe import canary_config, observe
from esl_shield.service.canary.search import Search, settle
from esl_shield.vault.leaks import Leaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.audit.leakscan.scan import Totals
    from esl_shield.config import Config
    from esl_shield.service.canary.proof import Reason

_MB = 1_000_000


def run(
    config: Config, paths: Sequence[str], wire: Sequence[str], tenants: Sequence[str], prefixes: Sequence[str], *,
    count: int, own: bool, quiet: bool,
) -> int:  # fmt: skip
    """Place calls, search, print the signed report; returns the verdict's exit code."""
    canary = canary_config(config)
    if canary.signing_key is None:
        raise ConfigError(source="file", problem="it has no [canary] signing_key; esl-shield leakscan keygen makes one")
    key = signing.private_key(canary.signing_key.removeprefix("file:"))
    kek = configured_kek(config)
    say = _silent if quiet else _say
    say("placing calls to canary numbers")
    seen = observe(config, kek, count, sys.stdin if own else None, lambda: say("a call is over"))
    rested = settle([*paths, *wire], canary.quiet_s, canary.settle_s)
    say("searching" if rested else "the files do not come to rest; searching what is there")
    with (
        contextlib.closing(Leaks(config.database, kek, tenants, prefixes)) as leaks,
        Bar(None, quiet=quiet, unit="MB") as bar,
    ):
        search = Search(leaks, seen.needles, lambda totals: bar.show(totals.position, totals.bytes // _MB))
        search.outcome.quiet = rested
        totals = _search(search, leaks, paths, wire)
        found = proof.reasons(seen, search.outcome)
        verdict = proof.verdict(found)
        leaks.finish(
            verdict, files=totals.files, read_bytes=totals.bytes, unread=len(search.outcome.unread),
            findings=len(search.outcome.findings),
        )  # fmt: skip
        asked = proof.Asked(
            canary.tenant, canary.agent, str(canary.switch), "own" if own else "fiction",
            tuple(map(hide_numbers, paths)), tuple(map(hide_numbers, wire)), tuple(tenants), tuple(prefixes),
        )  # fmt: skip
        report = proof.report(seen, search.outcome, asked, str(leaks.scan), found)
    print_line(signing.sign(report, key))
    if not quiet:
        _tell(found, verdict, calls=len(seen.calls), files=len(search.outcome.files))
    return proof.EXIT_CODES[verdict]


def _search(search: Search, leaks: Leaks, paths: Sequence[str], wire: Sequence[str]) -> Totals:
    try:
        search.control()
        totals = search.paths(paths)
        if wire:
            search.wire(wire)
    except KeyboardInterrupt:
        leaks.finish("interrupted", files=len(search.outcome.files), read_bytes=0, unread=0, findings=0)
        raise
    return totals


def _tell(found: Sequence[Reason], verdict: str, *, calls: int, files: int) -> None:
    for reason in found:
        _say(
            f"{reason.verdict}: {hide_numbers(reason.sentence)}" + (f" (token {reason.token})" if reason.token else "")
        )
    _say(f"{verdict}: {calls} calls, {files} files")


def _say(text: str) -> None:
    click.echo(f"esl-shield: {text}", err=True)


def _silent(_: str) -> None:
    """Say nothing: --quiet."""


@click.command(cls=CarefulCommand)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@format_option
def keygen(file: str, format_: Format) -> None:
    r"""Make the key that signs reports: FILE (mode 0400) and FILE.pub, which the auditor gets.

    Tell the auditor the fingerprint by another way than the file. Nothing is overwritten.

    \b
      esl-shield leakscan keygen /etc/esl-shield/report.key
    """
    name = signing.make_keys(file)
    fields = {"key": name, "private": file, "public": f"{file}.pub"}
    print_result(fields, [f"created {file} and {file}.pub", f"fingerprint {name}"], format_)


@click.command(cls=CarefulCommand)
@click.argument("report", metavar="REPORT", type=click.Path(dir_okay=False))
@click.option("--key", "key_path", required=True, metavar="FILE.pub", help="The public key you were given.")
@format_option
def verify(report: str, key_path: str, format_: Format) -> None:
    r"""Check that a report is as the owner of the key signed it. Needs no database and no configuration.

    Ends with 0 when the signature holds, whatever the report's verdict, which is printed; with 1 when it does not.

    \b
      esl-shield leakscan verify report.json --key report.key.pub
    """
    key = signing.public_key(key_path)
    told = signing.verify(report, key)
    calls = told.get("calls")
    print_record(
        {
            "signature": "holds", "key": signing.fingerprint(key), "kind": told.get("kind"),
            "verdict": told.get("verdict"), "started_at": told.get("started_at"),
            "finished_at": told.get("finished_at"), "host": told.get("host"),
            "calls": len(calls) if isinstance(calls, list) else None,
            **{name: len(told[name]) for name in ("files", "findings", "reasons") if isinstance(told.get(name), list)},
        },
        format_,
    )  # fmt: skip


SUBCOMMANDS = {"keygen": keygen, "verify": verify}
