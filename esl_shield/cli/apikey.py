"""``esl-shield apikey``: who may use the HTTP API for a tenant."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from esl_shield.api.callers import client_hash, new_key
from esl_shield.api.operations import SCOPES
from esl_shield.cli import times
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, moment, print_record, print_result, print_rows
from esl_shield.db.apikeys import ApiKeys
from esl_shield.errors.api import ApiKeyRejected

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = ("id", "name", "kind", "scopes", "state", "created_at", "expires_at", "last_used_at", "replaces")
DEFAULT_OVERLAP = "24h"

tenant_option = click.option("--tenant", required=True, metavar="T", help="The tenant's name.")
expiry_option = click.option("--expires-in", metavar="TIME", help="Refuse it after this, such as 12h, 90d; else never.")


@click.group(cls=CarefulGroup)
def apikey() -> None:
    """Make, list, rotate and revoke keys of the HTTP API. A key is shown once and kept nowhere."""


@apikey.command()
@click.argument("name")
@tenant_option
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(list(SCOPES)),
    help="What it may do; may be repeated.",
)  # fmt: skip
@expiry_option
@click.option("--client", metavar="ID", help="Instead of a key: let this client of [oauth] issuer in.")
@format_option
@pass_config
def add(
    config: Config, *, name: str, tenant: str, scopes: tuple[str, ...], expires_in: str | None, client: str | None,
    format_: Format,
) -> None:  # fmt: skip
    """Make a key for one of a tenant's systems and print it, once. Needs the administrator's login.

    esl-shield apikey add crm --tenant bank --scope tokens:write --scope tokens:read > crm.key
    """
    keys = ApiKeys(config.database, tenant)
    ends = times.from_now("--expires-in", expires_in) if expires_in else None
    wanted = list(dict.fromkeys(scopes))
    if client is not None:
        if config.oauth is None:
            raise ApiKeyRejected(problem="--client needs an [oauth] in the configuration, for its issuer")
        made = keys.add(client_hash(config.oauth.issuer, client, tenant), name, wanted, ends, kind="oauth")
        print_result({"id": made, "client": client}, [f"client {made} registered"], format_)
        return
    key, hashed = new_key()
    _show(keys.add(hashed, name, wanted, ends), key, format_)


@apikey.command()
@click.argument("key", type=int, metavar="ID")
@tenant_option
@click.option(
    "--overlap", default=DEFAULT_OVERLAP, show_default=True, metavar="TIME",
    help="How long the old one goes on; 0m: not at all.",
)  # fmt: skip
@expiry_option
@format_option
@pass_config
def rotate(config: Config, *, key: int, tenant: str, overlap: str, expires_in: str | None, format_: Format) -> None:
    """Make a key with the name and scopes of another, print it, and let the other end after the overlap."""
    now = dt.datetime.now(dt.UTC)
    old_ends = now if overlap == "0m" else times.from_now("--overlap", overlap)
    ends = times.from_now("--expires-in", expires_in) if expires_in else None
    new, hashed = new_key()
    _show(
        ApiKeys(config.database, tenant).rotate(key, hashed, ends, old_ends), new, format_, replaced=key, ends=old_ends
    )


@apikey.command()
@click.argument("key", type=int, metavar="ID")
@tenant_option
@format_option
@pass_config
def revoke(config: Config, *, key: int, tenant: str, format_: Format) -> None:
    """Refuse a key at once and for good."""
    outcome = "revoked" if ApiKeys(config.database, tenant).revoke(key) else "unchanged"
    print_result({"id": key, "outcome": outcome}, [f"{outcome}: key {key} of {tenant}"], format_)


@apikey.command("list")
@tenant_option
@format_option
@pass_config
def list_(config: Config, *, tenant: str, format_: Format) -> None:
    """List a tenant's keys: names, scopes, when they were last used; never the keys. An auditor's login will do."""
    print_rows(ApiKeys(config.database, tenant).rows(), COLUMNS, format_)


def _show(
    made: int, key: str, format_: Format, *, replaced: int | None = None, ends: dt.datetime | None = None
) -> None:
    """Print the key on stdout, what is to know about it on stderr."""
    if format_ == "json":
        record: dict[str, Any] = {"id": made, "key": key}
        if replaced is not None:
            record |= {"replaces": replaced, "replaced_ends": ends}
        print_record(record, format_)
        return
    click.echo(key)
    until = f"; key {replaced} ends at {moment(ends)}" if replaced is not None and ends is not None else ""
    click.echo(f"This is key {made}; it is shown this once{until}.", err=True)
