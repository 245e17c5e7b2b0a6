"""The root command ``esl-shield``: finds the command, turns every error into one sentence and an exit code.

Invariants: nothing is ever printed as a traceback, because its lines may hold values; data goes to stdout and messages
to stderr; exit codes are 0, 1 a finding or a negative answer, 2 usage or
configuration, 3 a dependency is away, 130 interrupted. Command groups are imported when they are used, so that a
seeding command never loads gevent and ``--help`` is fast.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import traceback
from typing import NoReturn

import click

from esl_shield import __version__
from esl_shield.cli.context import Context
from esl_shield.config import CONFIG_VARIABLE
from esl_shield.errors import ShieldError
from esl_shield.errors.process import SystemRefused, Unexpected

INTERRUPTED = 130
MAX_PLACES = 6
_MAYBE_NUMBER = re.compile(r"[0-9]{5}")

# command -> (module under esl_shield.cli, one line of help)
COMMANDS = {
    "db": ("db", "Create and upgrade the database, its roles and logins."),
    "tenant": ("tenant", "Add and list tenants."),
    "did": ("did", "Say which called numbers are whose, and whom their callers reach."),
    "keys": ("keys", "Create and list the keys that protect numbers."),
    "token": ("token", "Import, add, show, revoke, expire, hold and erase tokens."),
    "policy": ("policy", "Say when and how often customers may be called."),
    "agent": ("agent", "List and unlock agents who were locked for guessing."),
    "dnc": ("dnc", "Keep the lists of numbers nobody may call."),
    "mask": ("mask", "Mask lines of standard input as outputs do."),
    "permission": ("permission", "Grant, list and revoke dial permissions."),
    "click": ("click", "Ring an agent and then call a token."),
    "call": ("call", "List call records."),
    "audit": ("audit", "Read the audit trail."),
    "reveal": ("reveals", "Look up a number, or a number's calls, for one case by two people."),
    "leakscan": ("leakscan", "Search files and streams for any number of the vault."),
    "serve": ("serve", "Keep workers, resolvers, sealer and housekeeper alive."),
    "worker": ("worker", "Run the worker FreeSWITCH parks calls into."),
    "resolver": ("resolver", "Run the resolver that exchanges permits for numbers."),
    "sealer": ("sealer", "Run the sealer that makes tampering with the audit trail show."),
    "intake": ("intake", "Run the intake of FreeSWITCH's call records."),
    "reaper": ("reaper", "Run the reaper that ends calls nobody else ends."),
    "webhook": ("webhook", "Say which addresses a tenant is told events at."),
    "dispatcher": ("dispatcher", "Run the dispatcher that posts events to webhooks."),
    "api": ("api", "Run the HTTP API of tenants' systems."),
    "tokeniser": ("api", "Run the process that makes tokens for the HTTP API."),
    "apikey": ("apikey", "Make, list, rotate and revoke keys of the HTTP API."),
    "top": ("top", "Show what running processes do, live."),
    "doctor": ("doctor", "Check the deployment and say what to change."),
    "backup": ("backup", "Check the backups; drill a restore into a verified vault."),
    "demo": ("demo", "Shield 200 calls on this machine and search for leaks."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command, None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"esl_shield.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is not repeated, because it may be a telephone number."""
        if args[0] not in COMMANDS:
            ctx.fail("no such command")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="esl-shield")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help=f"TOML configuration of this role (default: the file {CONFIG_VARIABLE} names).",
)
@click.pass_context
def root(ctx: click.Context, config_path: str | None) -> None:
    """Shield customers' telephone numbers: agents dial tokens, carriers get numbers, nobody in between sees one."""
    ctx.obj = Context(config_path)


def main() -> None:
    """Run the command line and exit with the contract's code."""
    try:
        result = root.main(prog_name="esl-shield", standalone_mode=False)
        sys.stdout.flush()
    except ShieldError as error:
        _end(error)
    except click.Abort:
        click.echo("esl-shield: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        _end(_refused(error))
    except Exception as error:  # noqa: BLE001 - the last net: Python would print the values in the traceback's lines
        _end(Unexpected(kind=type(error).__name__, places=_places(error)))
    sys.exit(result if isinstance(result, int) else 0)


def _end(error: ShieldError) -> NoReturn:
    """Say one sentence and exit; what stdout did not take is given up, or the interpreter would try again."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError):
        click.echo(f"esl-shield: {error}", err=True)
    sys.exit(error.exit_code)


def _refused(error: OSError) -> SystemRefused:
    """Say what the system said; a file's name only if no telephone number can be in it."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    place = f" at {name!r}" if name and not _MAYBE_NUMBER.search(name) else ""
    return SystemRefused(place=place, problem=error.strerror or type(error).__name__)


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_PLACES:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
