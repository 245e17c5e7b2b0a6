"""``esl-shield keys``: the KEK and the tenants' keys it wraps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.errors.config import ConfigError
from esl_shield.service.hardening import harden
from esl_shield.vault.keys import Kek, open_kek
from esl_shield.vault.provisioning import init_keys

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = ("tenant", "purpose", "version", "kek_id", "created_at")


@click.group(cls=CarefulGroup)
def keys() -> None:
    """Create and list the keys that protect numbers. No command shows a key."""


@keys.command()
@format_option
@pass_config
def init(config: Config, format_: Format) -> None:
    """Create the KEK ([keys] kek = "file:PATH", mode 0400) if there is none yet, and the keys tenants lack.

    Nothing is ever overwritten. If the database holds keys already, a missing KEK is an error: a new one could open
    none of them. Keep a copy of the KEK apart from the database's backups: without it no number can be read again.
    """
    harden()
    uri = _kek_uri(config)
    created, added = init_keys(config.database, uri)
    kek = open_kek(uri).id
    new = [{"tenant": tenant, "purpose": purpose} for tenant, purpose in added]
    lines = [f"created KEK {kek} at {uri}" if created else f"KEK {kek} at {uri} was there"]
    lines += [f"created the {key['purpose']} key of tenant {key['tenant']}" for key in new]
    print_result({"kek_id": kek, "kek": uri, "kek_created": created, "keys_created": new}, lines, format_)


@keys.command("list")
@format_option
@pass_config
def list_(config: Config, format_: Format) -> None:
    """List which keys there are and which KEK wraps them; never the keys."""
    print_rows(views.read(config.database, "keys", COLUMNS, order="tenant, purpose, version"), COLUMNS, format_)


def configured_kek(config: Config) -> Kek:
    """Open the KEK the configuration names, once this process is hardened.

    Raises ConfigError, NotHardened or one of the vault's errors.
    """
    harden()
    return open_kek(_kek_uri(config))


def _kek_uri(config: Config) -> str:
    if config.keys is None:
        raise ConfigError(source="file", problem="it has no [keys] kek, which this command needs")
    return config.keys.kek
