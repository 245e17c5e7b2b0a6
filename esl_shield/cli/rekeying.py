"""``esl-shield keys reencrypt|reindex|retire``: the commands that bring rows from an older key to the newest."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import click

from esl_shield.cli import views
from esl_shield.cli.careful import CarefulCommand
from esl_shield.cli.context import pass_config
from esl_shield.cli.output import Format, format_option, print_result
from esl_shield.cli.progress import Bar
from esl_shield.db.engine import Database
from esl_shield.errors.config import ConfigError
from esl_shield.errors.keys import KeysChanged, RowsLeft
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.resolver.rekeying import Due, Progress, Rate, Rekeyer, Work
from esl_shield.service.hardening import harden
from esl_shield.vault import keylife
from esl_shield.vault.keks import open_keks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esl_shield.config import Config

DEFAULT_ROWS_PER_S = 2000
LEFT, INTERRUPTED = 1, 130
BATCH_TIMEOUT_S = 60.0
_MAX_ROTATIONS = 5


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        format_option,
        click.option("--quiet", is_flag=True, help="No progress."),
        click.option("--again", is_flag=True, help="From the first token on, also if it was finished."),
        click.option(
            "--rate", type=click.IntRange(min=0), default=DEFAULT_ROWS_PER_S, show_default=True,
            metavar="ROWS_PER_S", help="At most so many rows in a second; 0 is no limit.",
        ),
        click.option("--tenant", metavar="T", help="Only this tenant; default: every tenant this login sees."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(cls=CarefulCommand)
@_options
@pass_config
def reencrypt(  # noqa: PLR0917 - click passes by name
    config: Config, tenant: str | None, rate: int, again: bool, quiet: bool, format_: Format
) -> int:
    """Encrypt numbers anew under their tenant's newest data key, in the background of live calls.

    Run it on the resolver's machine after `keys rotate`, with a rekeyer's login and the KEK. It can be killed and run
    again at any time and goes on where it was; a row somebody changes meanwhile is left to them. Ends with 1 when rows
    were left because they cannot be decrypted.

    \b
      esl-shield --config rekeyer.toml keys reencrypt --tenant bank --rate 500
    """  # noqa: D301 - click's \b
    return _run(config, "reencrypt", tenant, rate=rate, again=again, quiet=quiet, format_=format_)


@click.command(cls=CarefulCommand)
@_options
@pass_config
def reindex(  # noqa: PLR0917 - click passes by name
    config: Config, tenant: str | None, rate: int, again: bool, quiet: bool, format_: Format
) -> int:
    """Index numbers under their tenant's newest index key too, in the background of live calls and imports.

    Run it on the resolver's machine after `keys rotate --purpose index`, with a rekeyer's login and the KEK. Until
    `keys retire` look-ups use both keys, so a number keeps its token throughout. It can be killed and run again.

    \b
      esl-shield --config rekeyer.toml keys reindex --tenant bank
    """  # noqa: D301 - click's \b
    return _run(config, "reindex", tenant, rate=rate, again=again, quiet=quiet, format_=format_)


@click.command(cls=CarefulCommand)
@click.option("--tenant", required=True, metavar="T", help="Whose older index key.")
@click.option("--quiet", is_flag=True, help="No progress.")
@format_option
@pass_config
def retire(config: Config, tenant: str, quiet: bool, format_: Format) -> int:
    """End the older index key of a tenant: look-ups use the newest alone, the rows under the older one are removed.

    Refused before `keys reindex` is through. It can be killed and run again. Afterwards the key can be destroyed. Run
    by an administrator.

    \b
      esl-shield --config admin.toml keys retire --tenant bank
    """  # noqa: D301 - click's \b
    found = views.read(
        config.database, "keys", ("version", "state"), order="version",
        where={"tenant = %s": tenant, "purpose = %s": "index"},
    )  # fmt: skip
    if not found:
        raise TenantUnknown(tenant=tenant)
    old = [row["version"] for row in found if row["state"] in ("older", "retired")]
    if not old:
        click.echo(f"tenant {tenant} has no older index key", err=True)
    for version in old:
        key = keylife.find_key(config.database, tenant, "index", version)
        keylife.retire(config.database, key)
        removed = 0
        try:
            with Bar(None, quiet=quiet) as bar:
                for seen, removed in keylife.remove_refs(config.database, key):  # noqa: B007
                    bar.show(0, seen)
        except KeyboardInterrupt:
            return _interrupted(f"look-ups use the newest index key, {removed} rows of the older one are removed")
        line = f"the index key version {version} of tenant {tenant} is retired, {removed} rows under it were removed"
        print_result({"tenant": tenant, "version": version, "removed": removed}, [line], format_)
    return 0


def _run(
    config: Config, work: Work, tenant: str | None, *, rate: int, again: bool, quiet: bool, format_: Format
) -> int:
    if config.keys is None:
        raise ConfigError(source="file", problem="it has no [keys] kek, which this command needs")
    harden()
    keks = open_keks(config.keys)
    code = 0
    with _database(config) as database:
        rekeyer = Rekeyer(database, keks, work, Rate(rate or None))
        for due in rekeyer.due(tenant, again=again):
            done = Progress()
            try:
                for done in _passes(rekeyer, due, quiet=quiet):  # noqa: B007
                    pass
            except RowsLeft as error:
                click.echo(f"esl-shield: {error}", err=True)
                code = LEFT
            except KeyboardInterrupt:
                return _interrupted(f"{done.changed} rows of tenant {due.tenant} are done")
            _report(work, due, done, format_)
    return code


def _passes(rekeyer: Rekeyer, due: Due, *, quiet: bool) -> Iterator[Progress]:
    """Do one tenant; when its key is rotated again meanwhile, go on with the newer one."""
    for _ in range(_MAX_ROTATIONS):
        if not due.due:
            return
        try:
            with Bar(due.tokens, quiet=quiet) as bar:
                for progress in rekeyer.run(due):
                    bar.show(min(due.tokens, due.done + progress.seen), progress.seen)
                    yield progress
        except KeysChanged:
            due = rekeyer.due(due.tenant)[0]
        else:
            return
    raise KeysChanged(tenant=due.tenant)


def _report(work: Work, due: Due, done: Progress, format_: Format) -> None:
    fields = {
        "tenant": due.tenant, "work": work, "version": done.version or due.version, "changed": done.changed,
        "left": len(done.left),
    }  # fmt: skip
    doing = "encrypted anew under data" if work == "reencrypt" else "indexed under index"
    line = f"tenant {due.tenant}: nothing to do"
    if due.due:
        line = f"tenant {due.tenant}: {done.changed} rows {doing} key version {done.version}, {len(done.left)} left"
    print_result(fields, [line], format_)


@contextlib.contextmanager
def _database(config: Config) -> Iterator[Database]:
    patient = dataclasses.replace(
        config.database, pool_size=1, statement_timeout_s=max(config.database.statement_timeout_s, BATCH_TIMEOUT_S)
    )
    with contextlib.closing(Database(patient, application_name="esl-shield rekeying", needs="a rekeyer")) as database:
        yield database


def _interrupted(what: str) -> int:
    click.echo(f"esl-shield: interrupted: {what}; run the same command again to go on", err=True)
    return INTERRUPTED
