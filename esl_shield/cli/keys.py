"""``esl-shield keys``: the KEK and the tenants' keys it wraps, from their making to their end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from esl_shield.cli import times, views
from esl_shield.cli.careful import CarefulGroup
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, moment, print_result, print_rows
from esl_shield.cli.prompts import confirm_typed
from esl_shield.cli.rekeying import reencrypt, reindex, retire
from esl_shield.errors.config import ConfigError
from esl_shield.service.hardening import harden
from esl_shield.vault import keylife
from esl_shield.vault.keks import Keks, open_keks
from esl_shield.vault.keyring import PURPOSES
from esl_shield.vault.keys import create_kek, open_kek
from esl_shield.vault.provisioning import init_keys

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.resolver import KeysConfig
    from esl_shield.vault.keyring import Purpose

COLUMNS = ("tenant", "purpose", "version", "state", "kek_id", "created_at")
USE_COLUMNS = ("tenant", "purpose", "version", "state", "kek_id", "rows")
INTERRUPTED = 130
CLEAR, ALREADY = "CLEAR", "ALREADY"

purpose_option = click.option(
    "--purpose", type=click.Choice(PURPOSES), default="data", show_default=True,
    help="data: the key numbers are encrypted with. index: the key numbers are found by.",
)  # fmt: skip


@click.group(cls=CarefulGroup)
def keys() -> None:
    """Create, list, change and destroy the keys that protect numbers. No command shows a key.

    \b
    A tenant's data key:    rotate, then reencrypt, then destroy the older version
    A tenant's index key:   rotate --purpose index, then reindex, then retire, then destroy the older version
    The KEK that wraps all: make a new one, tell every process of both, then rewrap

    docs/keys.md says when, in which order, and what to do when a key is known to others.
    """  # noqa: D301 - click's \b


for command in (reencrypt, reindex, retire):
    keys.add_command(command)


@keys.command()
@click.option("--data-keys-in-device", is_flag=True, help="Make data keys that tenants lack inside the KEK's device.")
@click.option("--kek-only", is_flag=True, help="Ask no database, and make the KEK alone.")
@format_option
@pass_config
def init(config: Config, *, data_keys_in_device: bool, kek_only: bool, format_: Format) -> None:
    """Create the KEK where [keys] kek says if there is none yet, and the keys tenants lack.

    "file:PATH" makes a file of mode 0400, "pkcs11:..." a key in the device that never leaves it.

    Nothing is ever overwritten. If the database holds keys already, a missing KEK is an error unless every key opens
    under one of [keys] previous: a new one could open none of them. Keep a copy of the KEK apart from the database's
    backups: without it no number can be read again.
    """
    harden()
    section = _section(config)
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
@click.option("--rows", is_flag=True, help="Count the rows under each key too; takes a scan of the tables.")
@format_option
@pass_config
def list_(config: Config, rows: bool, format_: Format) -> None:
    """List which keys there are, in which state, and which KEK wraps them; never the keys.

    newest: written under. older: read, until every row left it. retired: an index key no look-up uses. destroyed.
    """
    view, columns = ("key_use", USE_COLUMNS) if rows else ("keys", COLUMNS)
    print_rows(views.read(config.database, view, columns, order="tenant, purpose, version"), columns, format_)


@keys.command()
@click.option("--tenant", metavar="T", help="This tenant's key.")
@click.option("--all", "all_", is_flag=True, help="Every tenant's key.")
@purpose_option
@click.option(
    "--older-than", metavar="TIME", help="Only keys made longer ago than this, such as 90d: for a timer, or to go on."
)
@click.option(
    "--in-device/--not-in-device",
    default=None,
    help="Where a new data key lives: in the KEK's device or not. Without it, where the one before does.",
)
@format_option
@pass_config
def rotate(  # noqa: PLR0917 - click passes by name
    config: Config,
    tenant: str | None,
    all_: bool,
    purpose: Purpose,
    older_than: str | None,
    in_device: bool | None,
    format_: Format,
) -> int:
    """Give tenants a new key version, which new rows are written under at once.

    Imports and resolvers that run take it up by themselves. Old rows stay readable under the older version until
    `keys reencrypt` (data) or `keys reindex` and `keys retire` (index) brought them to the new one. Run by an
    administrator.

    \b
      esl-shield --config admin.toml keys rotate --tenant bank
      esl-shield --config admin.toml keys rotate --all --older-than 90d
    """  # noqa: D301 - click's \b
    if (tenant is None) != all_:
        message = "give --tenant T or --all"
        raise click.UsageError(message)
    if in_device is not None and purpose == "index":
        message = "an index key is never in a device; --in-device and --not-in-device are for data keys"
        raise click.UsageError(message)
    before = times.since("--older-than", older_than) if older_than else None
    keks = configured_kek(config)
    found = keylife.newest_keys(config.database, purpose, tenant, before)
    for done, key in enumerate(found):
        try:
            new = keylife.rotate(config.database, keks, key, in_device=in_device)
        except KeyboardInterrupt:
            return _interrupted(f"{done} of {len(found)} keys are rotated; go on with --older-than 1h")
        fields = {"tenant": new.tenant, "purpose": purpose, "version": new.version, "kek_id": keks.id}
        line = f"tenant {new.tenant} writes under {purpose} key version {new.version}"
        print_result(fields, [line], format_)
    return 0


@keys.command()
@click.option("--previous", metavar="URI", multiple=True, help="An earlier KEK, besides [keys] previous; repeatable.")
@format_option
@pass_config
def rewrap(config: Config, previous: tuple[str, ...], format_: Format) -> int:
    """Wrap every tenant's keys under the KEK of [keys] kek; tokens and ciphertexts are not touched.

    Before it, let every resolver, seeder and scanner run with the new KEK in [keys] kek and the old one in [keys]
    previous: then they open keys before, during and after. Each key is changed by itself; what is done is not done
    again. Run by an administrator.

    \b
      [keys]
      kek = "file:/etc/esl-shield/admin-2.kek"
      previous = ["file:/etc/esl-shield/admin.kek"]
    """  # noqa: D301 - click's \b
    keks = configured_kek(config, *previous)
    done = total = 0
    try:
        for done, (key, total) in enumerate(keylife.rewrap(config.database, keks), 1):  # noqa: B007
            fields = {"tenant": key.tenant, "purpose": key.purpose, "version": key.version, "kek_id": keks.id}
            line = f"the {key.purpose} key version {key.version} of tenant {key.tenant} is under KEK {keks.id}"
            print_result(fields, [line], format_)
    except KeyboardInterrupt:
        return _interrupted(f"{done} of {total or 'the'} keys are rewrapped; run the same command again to go on")
    if not done:
        click.echo(f"every key is under KEK {keks.id} already", err=True)
    return 0


@keys.command()
@click.option("--tenant", required=True, metavar="T", help="Whose key.")
@click.option("--version", "version", required=True, type=click.IntRange(min=1), metavar="N", help="Which version.")
@purpose_option
@click.option(
    "--backups",
    type=click.Choice(["gone", "abandoned"]),
    required=True,
    help="What becomes of backups that hold rows under this key. gone: there are none any more. abandoned: nobody will "
    "read their numbers again.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
@pass_config
def destroy(  # noqa: PLR0917 - click passes by name
    config: Config, tenant: str, version: int, purpose: Purpose, backups: str, yes: bool, format_: Format
) -> None:
    """Destroy an older version of a tenant's key, for good; its row stays as a tombstone.

    Refused while a row is under it, while look-ups use it, and while a call that was authorised under it may be under
    way. What backups hold under it can then be read by nobody. Copies of the wrapped key are left in backups and in
    PostgreSQL's files: they end with the KEK (docs/keys.md). Run by an administrator.

    \b
      esl-shield --config admin.toml keys destroy --tenant bank --version 3 --backups gone
    """  # noqa: D301 - click's \b
    key = keylife.find_key(config.database, tenant, purpose, version)
    found = keylife.dependents(config.database, key)
    if found.verdict not in (CLEAR, ALREADY):
        raise keylife.kept(key, found)
    if found.verdict == CLEAR:
        inside = keylife.outside(configured_kek(config), key, found) if key.in_device else None
        since = moment(found.since) if found.since else "it was made"
        if not yes:
            click.echo(f"No row is under it since {since}. Backups from before: {backups}.", err=True)
            confirm_typed(f"{tenant}/{purpose}/{version}")
        keylife.destroy(config.database, key, backups, inside)
    outcome = "destroyed" if found.verdict == CLEAR else "unchanged"
    line = f"the {purpose} key version {version} of tenant {tenant} is destroyed"
    print_result({"tenant": tenant, "purpose": purpose, "version": version, "outcome": outcome}, [line], format_)


def configured_kek(config: Config, *previous: str) -> Keks:
    """Open the KEKs the configuration names, and those of further URIs, once this process is hardened.

    Raises ConfigError, NotHardened or one of the vault's errors.
    """
    harden()
    return open_keks(_section(config), *previous)


def _section(config: Config) -> KeysConfig:
    if config.keys is None:
        raise ConfigError(source="file", problem="it has no [keys] kek, which this command needs")
    return config.keys


def _interrupted(what: str) -> int:
    click.echo(f"esl-shield: interrupted: {what}", err=True)
    sys.stdout.flush()
    return INTERRUPTED
