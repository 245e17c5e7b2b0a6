"""The tenants' own numbers (DIDs): which tenant a called number is of, and whom its callers reach.

Invariants: a DID is one tenant's; a list is taken whole or not at all; numbers are kept as E.164, however they were
spelled. DIDs are no secret, but text given in a DID's place may be somebody's number: errors name its line only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy.exc import DBAPIError

from esl_shield.errors.tenants import DidRejected, DidTaken, TenantUnknown
from esl_shield.errors.tokens import NumberRejected
from esl_shield.vault import numbers
from esl_shield.vault.provisioning import NO_REGION, administering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from esl_shield.config.database import DatabaseConfig
    from esl_shield.vault.csvfile import Source

MAX_DESTINATIONS = 3
DEFAULT_MASKS_PER_MINUTE = 600
MAX_DIDS = 100_000
COLUMNS = ("did", "destinations", "enabled", "masks_per_minute")
_DESTINATION = re.compile(r"queue:[A-Za-z0-9._@-]{1,64}|[A-Za-z0-9._+-]{1,64}")
_TAKEN = "ES007"
_YES, _NO = ("", "true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Did:
    """A DID as somebody spelled it; ``masks_per_minute`` None is no limit; ``place`` names its line in errors."""

    text: str
    destinations: tuple[str, ...]
    enabled: bool = True
    masks_per_minute: int | None = DEFAULT_MASKS_PER_MINUTE
    place: str = ""

    def check(self) -> None:
        """Raise DidRejected unless somebody is rung."""
        if not 1 <= len(self.destinations) <= MAX_DESTINATIONS:
            raise DidRejected(place=self.place, problem=f"it takes 1 to {MAX_DESTINATIONS} destinations")
        if not all(map(_DESTINATION.fullmatch, self.destinations)):
            raise DidRejected(place=self.place, problem="a destination is an agent's name or queue:NAME")


def set_dids(database: DatabaseConfig, tenant: str, dids: Sequence[Did]) -> list[tuple[str, str]]:
    """Set a tenant's DIDs, all or none; returns each as E.164 with created, changed or unchanged.

    Raises DidRejected, DidTaken, TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    done: dict[str, str] = {}
    with administering(database, tenant) as connection:
        region = _region(connection, tenant)
        for did in dids:
            did.check()
            number = _number(did, region)
            if number in done:
                raise DidRejected(place=did.place, problem="it stands there twice")
            done[number] = _set(connection, tenant, number, did)
    return list(done.items())


def remove_did(database: DatabaseConfig, tenant: str, text: str) -> str | None:
    """Take a DID from a tenant; returns it as E.164, None when the tenant has no such.

    Raises DidRejected, TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant) as connection:
        number = _number(Did(text, ()), _region(connection, tenant))
        statement = "SELECT shield_api.remove_did(%s, %s)"
        return number if connection.exec_driver_sql(statement, (tenant, number)).scalar() else None


def read_csv(source: Source) -> Iterator[Did]:
    """Read a file of DIDs; raises CsvRejected, DidRejected.

    Its first row names the columns: ``did`` and ``destinations`` (separated by blanks) are required, ``enabled``
    (true, false) and ``masks_per_minute`` (a number, none) may be there.
    """
    records = source.records()
    names = [name.strip().casefold() for name in next(records, (0, []))[1]]
    if not {"did", "destinations"} <= set(names) <= set(COLUMNS) or len(set(names)) != len(names):
        raise source.rejected(f"its first row must name the columns did and destinations, and may name {COLUMNS[2:]}")
    for count, (line, record) in enumerate(records):
        place = f" in line {line}"
        if len(record) != len(names) or count >= MAX_DIDS:
            raise DidRejected(place=place, problem="the line has more or fewer cells than the first, or is too many")
        yield _read(dict(zip(names, map(str.strip, record), strict=True)), place)


def read_limit(text: str, place: str = "") -> int | None:
    """Read how many callers are masked in a minute; ``none`` is no limit. Raises DidRejected."""
    if text == "none":
        return None
    if not re.fullmatch("[0-9]{1,6}", text):
        raise DidRejected(place=place, problem="masks_per_minute is a whole number, or none")
    return int(text)


def _read(cells: dict[str, str], place: str) -> Did:
    enabled = cells.get("enabled", "").casefold()
    if enabled not in (*_YES, *_NO):
        raise DidRejected(place=place, problem="enabled is true or false")
    limit = cells.get("masks_per_minute", "") or str(DEFAULT_MASKS_PER_MINUTE)
    return Did(cells["did"], tuple(cells["destinations"].split()), enabled in _YES, read_limit(limit, place), place)


def _region(connection: Connection, tenant: str) -> str | None:
    region = connection.exec_driver_sql("SELECT region FROM dba.tenants WHERE name = %s", (tenant,)).scalar()
    if region is None:
        raise TenantUnknown(tenant=tenant)
    return None if region == NO_REGION else str(region)


def _number(did: Did, region: str | None) -> str:
    try:
        return numbers.own_number(did.text, region)
    except NumberRejected as error:
        raise DidRejected(place=did.place, problem=str(error.fields["why"])) from None


def _set(connection: Connection, tenant: str, number: str, did: Did) -> str:
    values = (tenant, number, list(did.destinations), did.enabled, did.masks_per_minute)
    try:
        done: str = connection.exec_driver_sql("SELECT shield_api.set_did(%s, %s, %s, %s, %s)", values).scalar_one()
    except DBAPIError as error:
        if isinstance(error.orig, psycopg2.Error) and error.orig.pgcode == _TAKEN:
            raise DidTaken(did=number) from None
        raise
    return done
