"""``esl-shield tenant prefix``: what a tenant's tokens begin with and how they are decrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.config.private_file import read_line
from esl_shield.errors.methods import PrefixRejected
from esl_shield.vault import tokens
from esl_shield.vault.keys import KEY_BYTES, Key
from esl_shield.vault.prefixes import FF1, METHODS, MOBILE, TokenPrefix
from esl_shield.vault.prefixing import add_prefix, retire_prefix

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = (
    "tenant", "prefix", "method", "length", "key_version", "countries", "ranges", "line_types", "created_at",
    "retired_at",
)  # fmt: skip
tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
prefix_option = click.option("--prefix", required=True, metavar="P", help="First digits of its tokens, 1 to 8.")


@click.group(cls=CarefulGroup)
def prefix() -> None:
    """Token prefixes whose tokens need no row here: computed (ff1), or asked of the tenant's service (crm)."""


@prefix.command()
@tenant_option
@prefix_option
@click.option("--method", required=True, type=click.Choice(METHODS), help="How its tokens are decrypted.")
@click.option(
    "--length", type=int, default=tokens.TOKEN_MAX_LENGTH, show_default=True,
    help="Digits of a token; each one more makes a guess ten times as rare.",
)  # fmt: skip
@click.option("--country", "countries", multiple=True, metavar="CC", help="ISO 3166 code of its numbers; repeatable.")
@click.option("--range", "ranges", multiple=True, metavar="DIGITS", help="What its numbers begin with, such as 86138.")
@click.option(
    "--line-type", "line_types", multiple=True, metavar="KIND", default=MOBILE, show_default=True,
    help="Line types of its numbers; repeatable.",
)  # fmt: skip
@click.option("--key-file", metavar="FILE", help="ff1: take this key (64 hex digits) in place of one drawn here.")
@format_option
@pass_config
def add(
    config: Config, *, tenant: str, prefix: str, method: str, length: int, countries: tuple[str, ...],
    ranges: tuple[str, ...], line_types: tuple[str, ...], key_file: str | None, format_: Format,
) -> None:  # fmt: skip
    r"""Give a tenant a prefix; the same again changes nothing, and no prefix ever changes.

    The tenant must require dial permissions. Takes the administrator's login, for ff1 the KEK too. Another key is
    another prefix: add it, have the CRM use it, then remove the old one. With --key-file the CRM has the key as well
    and computes tokens itself; without it `esl-shield token compute` does.

    \b
    esl-shield tenant prefix add --tenant bank --prefix 71 --method ff1 --country CN
    esl-shield tenant prefix add --tenant bank --prefix 72 --method crm --country CN --country HK
    """
    if key_file is not None and method != FF1:
        message = "--key-file goes with --method ff1"
        raise click.UsageError(message)
    wanted = TokenPrefix(tenant, prefix, method, length, None, countries, ranges, line_types)
    wanted.check()
    key = _read_key(key_file) if key_file is not None else None
    keks = configured_kek(config) if method == FF1 else None
    new, version = add_prefix(config.database, keks, wanted, key)
    outcome = "added" if new else "unchanged"
    fields = {"tenant": tenant, "prefix": prefix, "method": method, "key_version": version, "outcome": outcome}
    print_result(fields, [f"{outcome}: tokens of {tenant} beginning with {prefix}, method {method}"], format_)


@prefix.command("list")
@click.option("--tenant", metavar="T", help="Of this tenant only.")
@format_option
@pass_config
def list_(config: Config, tenant: str | None, format_: Format) -> None:
    """List prefixes, each tenant's own of stored tokens too, and retired ones. Takes an auditor's or a seeder's login.

    esl-shield tenant prefix list --tenant bank
    """
    where = {"tenant = %s": tenant}
    print_rows(
        views.read(config.database, "token_prefixes", COLUMNS, where=where, order="tenant, prefix"), COLUMNS, format_
    )


@prefix.command()
@tenant_option
@prefix_option
@format_option
@pass_config
def remove(config: Config, tenant: str, prefix: str, format_: Format) -> None:
    """Retire a prefix, for good: none of its tokens is called any more, and it is never given out again.

    Takes the administrator's login.

      esl-shield tenant prefix remove --tenant bank --prefix 71
    """
    outcome = "retired" if retire_prefix(config.database, tenant, prefix) else "unchanged"
    line = f"{outcome}: tokens of {tenant} beginning with {prefix} stand for nobody"
    print_result({"tenant": tenant, "prefix": prefix, "outcome": outcome}, [line], format_)


def _read_key(path: str) -> Key:
    content = read_line(path, 2 * KEY_BYTES, key="--key-file")
    try:
        return Key(bytes.fromhex(content.decode("ascii")))
    except ValueError:
        problem = f"the key file must hold {2 * KEY_BYTES} hex digits, as `openssl rand -hex {KEY_BYTES}` prints them"
    raise PrefixRejected(problem=problem)
