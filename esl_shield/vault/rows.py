"""One row of an import, or one addition by hand: what may go in and what is refused.

Invariants: an alias or label never holds its number in any spelling, nor a telephone number, ID card or bank card of
anyone; every refusal is an ``area.reason`` word and a masked number, so that it can be written to a file.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.tokens import AliasRejected, ExpiryRejected, LabelRejected, NumberRejected
from esl_shield.vault import lookalikes, masking, numbers, starts, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esl_shield.vault.numbers import Derived, SubscriberNumber
    from esl_shield.vault.seedkeys import SeedingTenant

MAX_LABEL = 512
MAX_LABEL_NAME = 64
MAX_LABEL_NAME_DIGITS = 6
# The database takes 8 kB of labels a token, as JSON text.
MAX_LABELS_BYTES = 8000
KNOWN_COLUMNS = ("number", "alias", "expires_at")
_KNOWN = frozenset(KNOWN_COLUMNS)
_RESERVED = _KNOWN | {"token"}
_ALIAS = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What ``check_alias`` takes whatever the number and the tenant: fewer digits than tokens, numbers and cards have.
_PLAIN_ALIAS = re.compile(r"[A-Za-z._-]{0,58}[0-9]{0,6}")
# Control characters, except those a cell of several lines holds.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_WHY = {
    "spelling": "it must be 1 to 64 letters, digits, dots, dashes and underscores",
    "token": "it has the form of a token of this tenant",
    "holds_number": "it holds the number it would stand for",
    "is_number": "it is or holds a telephone number",
    "is_id_card": "it is or holds an ID card's number",
    "is_bank_card": "it is or holds a bank card's number",
    "too_long": f"it is longer than {MAX_LABEL} characters",
    "too_much": f"the row's labels are more than {MAX_LABELS_BYTES} bytes together",
    "unprintable": "it holds control characters",
    "name": f"a label's name is 1 to {MAX_LABEL_NAME} printable characters with few digits and not a column of our own",
    "moment": "it is no ISO 8601 moment such as 2030-01-31T18:00:00Z",
    "past": "it is not in the future",
}


class Row(NamedTuple):
    """What is to be seeded; ``expires_at`` is in UTC, ``token`` the one that gets the number, None for a new one."""

    number: SubscriberNumber
    derived: Derived
    alias: str | None
    expires_at: dt.datetime | None
    labels: Mapping[str, str]
    token: str | None = None


@dataclass(frozen=True)
class Refused:
    """Why a row was not taken, fit for a file: ``reason`` as ``area.reason``, the number masked."""

    reason: str
    masked: str


def read_row(
    cells: Mapping[str, str], tenant: SeedingTenant, now: dt.datetime, default_expiry: dt.datetime | None
) -> Row | Refused:
    """Check one row; ``cells`` holds the known columns the file has and the labels asked for."""
    text = cells["number"]
    try:
        number, derived = starts.reader(tenant.region)(text)
        alias = cells["alias"].strip() or None if "alias" in cells else None
        if alias is not None and not _PLAIN_ALIAS.fullmatch(alias):
            check_alias(alias, tenant, number)
        labels: dict[str, str] = {}
        if not _KNOWN.issuperset(cells):
            labels = {name: value for name, value in cells.items() if name not in _KNOWN and value}
            for value in labels.values():
                check_label(value, tenant.region, number)
            check_labels(labels)
        moment = cells["expires_at"].strip() if "expires_at" in cells else ""
        expires_at = read_expiry(moment, now) if moment else default_expiry
    except NumberRejected as error:
        return Refused(f"number.{error.fields['reason']}", masking.phone(text))
    except AliasRejected as error:
        return Refused(f"alias.{error.fields['reason']}", masking.phone(text))
    except LabelRejected as error:
        return Refused(f"label.{error.fields['reason']}", masking.phone(text))
    except ExpiryRejected as error:
        return Refused(f"expires_at.{error.fields['reason']}", masking.phone(text))
    return Row(number, derived, alias, expires_at, labels)


def check_alias(alias: str, tenant: SeedingTenant, number: SubscriberNumber | None = None) -> None:
    """Raise AliasRejected unless this tenant may use the alias (for this number)."""
    if not _ALIAS.fullmatch(alias):
        reason = "spelling"
    elif tokens.valid_for(alias, tenant.token_prefix, tenant.token_length):
        reason = "token"
    else:
        reason = _discloses(alias, tenant.region, number)
    if reason:
        raise AliasRejected(reason=reason, why=_WHY[reason])


def check_label(value: str, region: str | None, number: SubscriberNumber) -> None:
    """Raise LabelRejected if the value is too long, unprintable or discloses somebody's number."""
    if len(value) > MAX_LABEL:
        reason = "too_long"
    elif not value.isprintable() and _UNPRINTABLE.search(value):
        reason = "unprintable"
    else:
        reason = _discloses(value, region, number)
    if reason:
        raise LabelRejected(reason=reason, why=_WHY[reason])


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise LabelRejected if one row's labels are too much together."""
    if len(json.dumps(dict(labels), ensure_ascii=False).encode()) > MAX_LABELS_BYTES:
        raise LabelRejected(reason="too_much", why=_WHY["too_much"])


def check_label_name(name: str) -> None:
    """Raise LabelRejected unless a column may be kept under this name."""
    sound = 0 < len(name) <= MAX_LABEL_NAME and name.isprintable() and name.strip() == name
    if not sound or name.casefold() in _RESERVED or len(numbers.squeeze(name)) > MAX_LABEL_NAME_DIGITS:
        raise LabelRejected(reason="name", why=_WHY["name"])


def read_expiry(text: str, now: dt.datetime) -> dt.datetime:
    """Read an ISO 8601 moment, UTC if it names no zone; raises ExpiryRejected unless it is after ``now``."""
    moment = read_moment(text)
    if moment <= now:
        raise ExpiryRejected(reason="past", why=_WHY["past"])
    return moment


def read_moment(text: str) -> dt.datetime:
    """Read an ISO 8601 moment, past or future, as UTC; raises ExpiryRejected."""
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ExpiryRejected(reason="moment", why=_WHY["moment"]) from None


def _discloses(text: str, region: str | None, number: SubscriberNumber | None) -> str:
    if lookalikes.is_too_short(text):
        return ""
    if number is not None and lookalikes.holds_number(text, number):
        return "holds_number"
    if lookalikes.is_worded(text):
        return ""
    if lookalikes.looks_like_number(text, region):
        return "is_number"
    if lookalikes.looks_like_id_card(text):
        return "is_id_card"
    return "is_bank_card" if lookalikes.looks_like_bank_card(text) else ""
