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
from esl_shield.vault.keys import Kek, create_kek, open_kek
from esl_shield.vault.provisioning import init_keys

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.resolver import KeysConfig

COLUMNS = ("tenant", "purpose", "version", "kek_id", "created_at")


@click.group(cls=CarefulGroup)
def keys() -> None:
    """Create and list the keys that protect numbers. No command shows a key."""


@keys.command()
@click.option("--data-keys-in-device", is_flag=True, help="Make data keys that tenants lack inside the KEK's device.")
@click.option("--kek-only", is_flag=True, help="Ask no database; make a KEK for keys rewrap to move to.")
@format_option
@pass_config
def init(config: Config, *, data_keys_in_device: bool, kek_only: bool, format_: Format) -> None:
    """Create the KEK where [keys] kek says if there is none yet, and the keys tenants lack.

    "file:PATH" makes a file of mode 0400, "pkcs11:..." a key in the device that never leaves it.

    Nothing is ever overwritten. If the database holds keys already, a missing KEK is an error: a new one could open
    none of them. Keep a copy of the KEK apart from the database's backups: without it no number can be read again.
    """
    harden()
    section = _keys_section(config)
    uri = section.kek
    added: list[tuple[str, str]] = []
    if kek_only:
        created = create_kek(uri, section.device)
        kek = open_kek(uri, section.device).id
    else:
        created, opened, added = init_keys(config.database, section, data_keys_in_device=data_keys_in_device)
        kek = opened.id
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
    section = _keys_section(config)
    return open_kek(section.kek, section.device)


def _keys_section(config: Config) -> KeysConfig:
    if config.keys is None:
        raise ConfigError(source="file", problem="it has no [keys] kek, which this command needs")
    return config.keys
