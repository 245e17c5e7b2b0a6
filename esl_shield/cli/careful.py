"""Commands that never repeat a telephone number somebody typed as an argument.

Invariants: a usage error shows no run of digits long enough to be a number; it is answered with the reason numbers are
not taken there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from esl_shield.cli import views
from esl_shield.errors import ShieldError
from esl_shield.errors.life import CaseRejected
from esl_shield.errors.tokens import CheckDigitWrong, NumberInArgument, TokenMalformed
from esl_shield.vault import lookalikes, tokens
from esl_shield.vault.numbers import plain

if TYPE_CHECKING:
    from esl_shield.config import Config

MAX_CASE = 64
MAX_REASON = 300
_MAY_BE_TOKEN = re.compile(rf"[0-9]{{{tokens.TOKEN_MIN_LENGTH},{tokens.TOKEN_MAX_LENGTH}}}")
_MAY_BE_NUMBER = re.compile(r"\+?[0-9](?:[0-9 ().\-/]*[0-9]){4,}")


def may_be_number(text: str) -> bool:
    """Whether text holds five digits or more that belong together."""
    return _MAY_BE_NUMBER.search(plain(text)) is not None


def hide_numbers(text: str) -> str:
    """Replace what may be a number, such as in the name of a file."""
    return _MAY_BE_NUMBER.sub("(hidden)", plain(text)) if may_be_number(text) else text


class CarefulCommand(click.Command):
    """A command whose usage errors hold no number."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        # click keeps the lines of a paragraph that begins with a backspace; in a raw docstring it is two characters.
        self.help = self.help and self.help.replace("\\b\n", "\b\n")

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Parse the arguments; raises NumberInArgument in place of a click.UsageError that would show one."""
        try:
            return super().make_context(*arguments, **more)
        except click.UsageError as error:
            raise _hidden(error) from None


class CarefulGroup(click.Group):
    """A group whose usage errors hold no number, and whose commands' do not either."""

    command_class = CarefulCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raises NumberInArgument in place of a click.UsageError that would show a number."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _hidden(error) from None


def read_token(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check a TOKEN argument (a click callback); raises NumberInArgument or TokenMalformed, without the text.

    As many digits as a token has pass, whatever their check digit: ``refuse_numbers`` knows the tenant and tells a
    mistyped token from a number.
    """
    del context
    if value is None or _MAY_BE_TOKEN.fullmatch(value):
        return value
    if may_be_number(value):
        raise NumberInArgument(argument=f"What was given as {parameter.human_readable_name}")
    raise TokenMalformed


def refuse_numbers(config: Config, tenant: str, *, token: str | None = None, alias: str | None = None) -> None:
    """Raise NumberInArgument before a number given as token or alias reaches the database's statements and its log.

    One number in ten has a token's check digit, so the tenant's prefix and length decide. Raises CheckDigitWrong for
    digits that only lack the check digit, TenantUnknown, and errors of the database, unless what was given as token has
    no check digit: then it may be a number whatever the tenant.
    """
    number = NumberInArgument(argument="What was given as TOKEN")
    checks = token is None or tokens.is_valid(token)
    try:
        own = views.tenant(config.database, tenant)
    except ShieldError:
        if checks:
            raise
        raise number from None
    if alias is not None and lookalikes.looks_like_number(alias, own["region"]):
        raise NumberInArgument(argument="What was given as --alias")
    if token is None or tokens.valid_for(token, own["token_prefix"], own["token_length"]):
        return
    if checks and views.has_token(config.database, tenant, token):
        return
    if lookalikes.looks_like_number(token, own["region"]):
        raise number
    if not checks:
        shaped = len(token) == own["token_length"] and token.startswith(own["token_prefix"])
        raise CheckDigitWrong(tenant=tenant) if shaped else number


def read_case(config: Config, tenant: str, case: str, reason: str) -> tuple[str, str]:
    """Check a case's id and a reason, which are kept for good; raises CaseRejected, or NumberInArgument without it."""
    region = views.tenant(config.database, tenant)["region"]
    for option, text, longest in (("--case", case, MAX_CASE), ("--reason", reason, MAX_REASON)):
        if not text.strip() or len(text.strip()) > longest or not text.isprintable():
            raise CaseRejected(option=option, why=f"it must be 1 to {longest} characters on one line")
        if lookalikes.looks_like_number(text, region) or lookalikes.looks_like_id_card(text):
            raise NumberInArgument(argument=f"What was given as {option}")
    return case.strip(), reason.strip()


def _hidden(error: click.UsageError) -> Exception:
    return NumberInArgument(argument="An argument") if may_be_number(error.message) else error
