"""``esl-shield token erase`` and ``token certificate``: the right to erasure, and what proves it.

Invariants: a list is read to its end and checked before anything is erased; the certificate's file is there before too;
an interrupted or failed run is run again and says what was erased before.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulCommand, CarefulGroup, hide_numbers, read_case, read_token
from esl_shield.cli.context import Context, pass_config
from esl_shield.cli.files import new_file, open_source
from esl_shield.cli.holds import checked, for_case
from esl_shield.cli.output import Format, format_option, moment, print_result, print_stream
from esl_shield.cli.progress import Bar
from esl_shield.cli.prompts import confirm
from esl_shield.errors import ShieldError
from esl_shield.errors.life import (
    CaseRejected,
    CertificateLost,
    CertificateUnreadable,
    SigningKeyUnusable,
    TokenHeld,
)
from esl_shield.errors.tokens import OutputRejected, TokenUnknown
from esl_shield.service.hardening import harden
from esl_shield.vault import keys
from esl_shield.vault.certificates import MAX_BYTES, Signer, fingerprint, read_public_key, verify
from esl_shield.vault.erasing import read_list
from esl_shield.vault.life import ALREADY, ERASED, HELD, UNKNOWN, Case, Erasure, Name, TokenLife

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esl_shield.config import Config

FINDING = 1
ERASER = "an eraser"
WIDTHS = {"line": 6, "token": 20, "outcome": 8, "erased_at": 20, "erasure": 36}
key_option = click.option(
    "--key", metavar="PUBLIC.pem", type=click.Path(path_type=Path), help="The public key; else that of [erasure] key."
)


@click.command(cls=CarefulCommand)
@click.argument("token", required=False, callback=read_token)
@click.option("--alias", metavar="A", help="The token's alias, in place of the token.")
@click.option("--file", metavar="LIST.csv", help="Many: a CSV (- for standard input) with a column token or alias.")
@click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
@for_case
@click.option(
    "--certificate", "path", metavar="OUT.json", type=click.Path(path_type=Path), help="Write one; a new file."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
@format_option
@pass_config
def erase(
    config: Config, *, token: str | None, alias: str | None, file: str | None, tenant: str, case: str, reason: str,
    path: Path | None, yes: bool, quiet: bool, format_: Format,
) -> int:  # fmt: skip
    r"""Erase the number behind a token, for good: the right to erasure.

    Gone are ciphertext, index, aliases, labels, what was derived, open permits and the alias in call records. Call
    records and audit events keep the token, which is unknown from now on and never given out again; the same number
    imported later gets a new one. A token under a legal hold is not erased. Takes an eraser's login, which holds and
    releases nothing. Again with the same tokens it changes nothing and says when they were erased.

    \b
    esl-shield token erase 70123456789012 --tenant bank --case DSR-88 --reason "asked on 3 March" --certificate 88.json
    esl-shield token erase --file list.csv --tenant bank --case DSR-90 --reason "contract ended" --yes

    Ends with 1 if a token was held or unknown. Backups are not reached: see docs/tokens.md.
    """
    if file is None:
        name, why = checked(config, Name(token, alias), tenant, case, reason)
        names: Sequence[Name] = [name]
    elif token is None and alias is None:
        names, why = _listed(config, file, tenant), Case(*read_case(config, tenant, case, reason))
    else:
        message = "give a TOKEN, --alias or --file"
        raise click.UsageError(message)
    if not yes:
        confirm(f"Erase for good the number{'s' * (len(names) > 1)} behind {len(names)} token{'s' * (len(names) > 1)}?")
    signer = _signer(config) if path is not None else None
    done: list[Erasure] = []
    certificate_file = _certificate_file(path) if path is not None else contextlib.nullcontext()
    with certificate_file as write, _told_if_it_fails(done, format_):
        with (
            TokenLife(config.database, needs=ERASER) as life,
            Bar(len(names), quiet=quiet or file is None, unit="tokens") as bar,
        ):
            for erasure in life.erase(tenant, names, why):
                done.append(erasure)
                bar.show(len(done), len(done))
        if len(done) != len(names):
            raise CaseRejected(option="--tenant, --case or --reason", why="the database does not take it")
        gone = [erasure for erasure in done if erasure.outcome in (ERASED, ALREADY)]
        if signer is not None and write is not None and gone:
            write(signer.certify(tenant, gone, dt.datetime.now(dt.UTC)))
    _tell(done, format_)
    counts = Counter[str](erasure.outcome for erasure in done)
    if not quiet and file is not None:
        click.echo(", ".join(f"{counts[name]} {name}" for name in (ERASED, ALREADY, HELD, UNKNOWN)), err=True)
    if file is None and not gone:
        _refuse(config, tenant, done[0])
    return FINDING if counts[HELD] + counts[UNKNOWN] else 0


@click.group(cls=CarefulGroup)
def certificate() -> None:
    """Create the key of certificates of erasure, and verify certificates."""


@certificate.command()
@format_option
@pass_config
def init(config: Config, format_: Format) -> None:
    """Create the signing key ([erasure] key, mode 0400) unless there is one, and print the public key.

    Give the public key to those who verify, such as the auditor; keep a copy of the key itself with the KEK's.
    """
    uri = config.erasure.key
    if uri is None:
        raise SigningKeyUnusable(problem="the configuration names none")
    created = keys.create_kek(uri)
    signer = _signer(config)
    fields = {"key": fingerprint(signer.public), "created": created, "public_key": signer.public_pem}
    print_result(fields, signer.public_pem.splitlines(), format_)


@certificate.command("verify")
@click.argument("file", metavar="FILE.json", type=click.Path(path_type=Path))
@key_option
@format_option
@click.pass_context
def verify_(context: click.Context, file: Path, key: Path | None, format_: Format) -> None:
    r"""Verify a certificate of erasure; no database is asked, with --key no configuration is read either.

    \b
    esl-shield token certificate verify 88.json --key erasure.pem

    Ends with 1 if the key did not sign what stands there.
    """
    name = hide_numbers(str(file))
    public = (
        read_public_key(_read(key, "a public key"), hide_numbers(str(key)))
        if key is not None
        else _signer(_root(context).config).public
    )
    held = verify(_read(file, "a certificate of erasure"), public, name)
    fields = {
        "outcome": "valid", "key": fingerprint(public), "tenant": held["tenant"], "issued_at": held["issued_at"],
        "tokens": len(held["erasures"]),
    }  # fmt: skip
    line = f"valid: signed by key {fields['key']}, {fields['tokens']} tokens of {held['tenant']}, {held['issued_at']}"
    print_result(fields, [line], format_)


def _listed(config: Config, file: str, tenant: str) -> list[Name]:
    own = views.tenant(config.database, tenant)
    with open_source(file) as source:
        return read_list(source, prefix=own["token_prefix"], region=own["region"])


def _signer(config: Config) -> Signer:
    harden()
    return Signer(config.erasure.key)


@contextlib.contextmanager
def _told_if_it_fails(done: Sequence[Erasure], format_: Format) -> Iterator[None]:
    """Print what was done before an error goes on: it is done for good. Nobody reading stops no erasure."""
    try:
        yield
    except ShieldError:
        with contextlib.suppress(click.exceptions.Exit):
            _tell(done, format_)
        raise


def _tell(done: Sequence[Erasure], format_: Format) -> None:
    rows = (
        {
            "line": erasure.name.line, "token": erasure.token, "outcome": erasure.outcome,
            "erased_at": moment(erasure.erased_at) if erasure.erased_at else None, "erasure": erasure.id,
        }
        for erasure in done
    )  # fmt: skip
    print_stream(rows, WIDTHS, format_)


def _refuse(config: Config, tenant: str, erasure: Erasure) -> None:
    if erasure.outcome == UNKNOWN:
        raise TokenUnknown(tenant=tenant)
    where = {"tenant = %s": tenant, "token = %s": erasure.token, "(released_at IS NULL) = %s": True}
    cases = [row["case_id"] for row in views.read(config.database, "holds", ("case_id",), where=where, order="case_id")]
    raise TokenHeld(token=erasure.token, cases=", ".join(cases))


@contextlib.contextmanager
def _certificate_file(path: Path) -> Iterator[Callable[[str], None]]:
    """Make the certificate's file, before anything is erased; raises OutputRejected, and CertificateLost later."""
    with contextlib.ExitStack() as stack:
        try:
            put = stack.enter_context(new_file(path))
        except OSError as error:
            raise OutputRejected(path=hide_numbers(str(path)), problem=error.strerror) from None

        def write(text: str) -> None:
            try:
                put(text)
            except OSError as error:
                problem = error.strerror
            else:
                return
            raise CertificateLost(problem=problem)

        yield write


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CertificateUnreadable(path=hide_numbers(str(path)), what=what, problem=error.strerror) from None


def _root(context: click.Context) -> Context:
    found = context.find_object(Context)
    if found is None:
        message = "the root command was not run"
        raise RuntimeError(message)
    return found
