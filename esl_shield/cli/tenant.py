"""``esl-shield tenant``: enterprises, each with tokens, keys and caps of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
from phonenumbers import SUPPORTED_REGIONS

from esl_shield.cli import views
from esl_shield.cli.caps import tenant_caps
from esl_shield.cli.careful import CarefulGroup, may_be_number
from esl_shield.cli.context import pass_config
from esl_shield.cli.dialling import tenant_dialling
from esl_shield.cli.keys import configured_kek
from esl_shield.cli.output import Format, format_option, print_result, print_rows
from esl_shield.cli.prefixes import prefix
from esl_shield.errors.tenants import TenantRejected
from esl_shield.vault import tokens
from esl_shield.vault.masking import read_pattern
from esl_shield.vault.provisioning import NO_REGION, Caps, NewTenant, add_tenant, resize_tenant, set_label_mask
from esl_shield.vault.rows import check_label_name

if TYPE_CHECKING:
    from esl_shield.config import Config

COLUMNS = (
    "id", "name", "domain", "token_prefix", "token_length", "region", "tokens",
    "token_per_day", "agent_per_hour", "tenant_per_day", "created_at",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")


@click.group(cls=CarefulGroup)
def tenant() -> None:
    """Add and list tenants, their caps, their token prefixes and how their labels are shown."""


@tenant.command()
@click.argument("name")
@click.option("--domain", required=True, metavar="SIPDOMAIN", help="The SIP domain its agents register at.")
@click.option(
    "--prefix", metavar="P", help="First digits of its tokens, 1 to 8; without it a free one of two digits is chosen."
)
@click.option("--length", type=int, default=tokens.DEFAULT_LENGTH, show_default=True, help="Digits of its tokens.")
@click.option("--region", metavar="CC", help="ISO 3166 code whose numbers may come without country code, such as CN.")
@click.option("--token-per-day", metavar="N|none", help="Calls to one token in 24 hours.  [new tenant: 10]")
@click.option("--agent-per-hour", metavar="N|none", help="Calls of one agent in an hour.  [new tenant: 300]")
@click.option("--tenant-per-day", metavar="N|none", help="Calls of the tenant in a day.  [new tenant: none]")
@click.option("--data-key-in-device", is_flag=True, help="Keep its data key in the KEK's device, which then decrypts.")
@format_option
@pass_config
def add(
    config: Config, *, name: str, domain: str, prefix: str | None, length: int, region: str | None,
    token_per_day: str | None, agent_per_hour: str | None, tenant_per_day: str | None, data_key_in_device: bool,
    format_: Format,
) -> None:  # fmt: skip
    """Add a tenant with its keys and caps; the same again changes nothing.

    Needs the administrator's login and the KEK. If one cap is given, those not given are set to a new tenant's. Fewer
    than one in 10,000 possible tokens are given out: 14 digits with a prefix of two are enough for ten million tokens.
    """
    _check(name, domain, region)
    given = (token_per_day, agent_per_hour, tenant_per_day)
    wanted = NewTenant(
        name, domain, prefix, length, region or NO_REGION, _caps(*given) if any(given) else None, data_key_in_device
    )
    done = add_tenant(config.database, configured_kek(config), wanted)
    parts = ["created"] * done.created + ["caps set"] * done.caps_set
    parts += [f"{purpose} key created" for purpose in done.keys if not done.created]
    outcome = ", ".join(parts) or "unchanged"
    print_result(
        {"tenant": name, "outcome": outcome, "token_prefix": done.prefix, "token_length": length},
        [f"{outcome}: tenant {name}, tokens of {length} digits beginning with {done.prefix}"],
        format_,
    )


@tenant.command()
@click.argument("name")
@click.option("--length", type=int, required=True, help="Digits of its tokens from now on.")
@format_option
@pass_config
def resize(config: Config, name: str, length: int, format_: Format) -> None:
    """Give a tenant longer tokens, when imports say that its token space is full.

    Needs the administrator's login. Tokens the tenant has stay as they are; a shorter length is refused.
    """
    before = resize_tenant(config.database, name, length)
    outcome = "unchanged" if before == length else "resized"
    print_result(
        {"tenant": name, "outcome": outcome, "token_length_before": before, "token_length": length},
        [f"{outcome}: tenant {name}, new tokens have {length} digits"],
        format_,
    )


@tenant.command("list")
@format_option
@pass_config
def list_(config: Config, format_: Format) -> None:
    """List the tenants this login may see, how many tokens each has, and its caps."""
    print_rows(views.read(config.database, "tenants", COLUMNS, order="name"), COLUMNS, format_)


@tenant.command()
@click.argument("name", metavar="TENANT")
@click.option("--label", metavar="NAME", help="The label to say it of; without it they are listed.")
@click.option("--as", "pattern", metavar="KIND", help="How it is shown: a kind `esl-shield mask --help` names.")
@format_option
@pass_config
def mask(config: Config, name: str, label: str | None, pattern: str | None, format_: Format) -> None:
    r"""Say how a label of a tenant's tokens is shown, or list what was said; a label nobody spoke of is hidden.

    To change takes the administrator's login; a seeder's or an auditor's lists. Hidden again: `--as hidden`.

    \b
    esl-shield tenant mask bank --label city --as clear
    esl-shield tenant mask bank --label contract --as "keep 2 2"
    """
    if (label is None) != (pattern is None):
        message = "give --label with --as"
        raise click.UsageError(message)
    if label is None or pattern is None:
        views.tenant(config.database, name)
        where = {"tenant = %s": name}
        rows = views.read(config.database, "label_masks", ("label", "pattern"), where=where, order="label")
        print_rows(rows, ("label", "pattern"), format_)
        return
    check_label_name(label)
    kind = read_pattern(pattern).text
    outcome = set_label_mask(config.database, name, label, None if kind == "hidden" else kind)
    fields = {"tenant": name, "label": label, "pattern": kind, "outcome": outcome}
    print_result(fields, [f"{outcome}: label {label} of {name} is shown as {kind}"], format_)


tenant.add_command(tenant_caps)
tenant.add_command(tenant_dialling)
tenant.add_command(prefix)


def _check(name: str, domain: str, region: str | None) -> None:
    if not _NAME.fullmatch(name) or may_be_number(name):
        raise TenantRejected(problem="its name must be letters, digits, dots, dashes and underscores, and no number")
    if not _DOMAIN.fullmatch(domain):
        raise TenantRejected(problem="its domain must be the SIP domain its agents register at")
    if region is not None and region not in SUPPORTED_REGIONS:
        raise TenantRejected(problem="its region must be the ISO 3166 code of a place with numbers, such as CN")


def _caps(token_per_day: str | None, agent_per_hour: str | None, tenant_per_day: str | None) -> Caps:
    usual = Caps()
    return Caps(
        _cap(token_per_day, usual.token_per_day),
        _cap(agent_per_hour, usual.agent_per_hour),
        _cap(tenant_per_day, usual.tenant_per_day),
    )


def _cap(text: str | None, usual: int | None) -> int | None:
    if text is None:
        return usual
    if text == "none":
        return None
    if not re.fullmatch("[0-9]{1,9}", text):
        raise TenantRejected(problem="a cap is a whole number, or none")
    return int(text)
