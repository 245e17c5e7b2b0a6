"""How a tenant's tokens are dialled and what is shown of a call, as an administrator sets it.

Invariants: what is shown is a word, or digits too few for a telephone number of the tenant's country that are no
emergency number either; what was given in its place is in no error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phonenumbers import shortnumberinfo

from esl_shield.errors.dialling import ShownRejected
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.vault.numbers import read_valid
from esl_shield.vault.provisioning import NO_REGION, administering

if TYPE_CHECKING:
    from esl_shield.config.database import DatabaseConfig

_SHOWS = re.compile(r"token|alias|ref|[0-9]{2,6}")


def set_dialling(
    database: DatabaseConfig, tenant: str, *, requires_permission: bool | None = None, shows: str | None = None,
    clicks_per_minute: int | None = None,
) -> str:  # fmt: skip
    """Change how a tenant's tokens are dialled, with an administrator's login; None leaves a setting as it is.

    Returns changed or unchanged. Raises ShownRejected, TenantUnknown, DatabaseAway, DatabaseRefused.
    """
    with administering(database, tenant) as connection:
        region = connection.exec_driver_sql("SELECT region FROM dba.tenants WHERE name = %s", (tenant,)).scalar()
        if region is None:
            raise TenantUnknown(tenant=tenant)
        if shows is not None:
            _check_shows(shows, None if region == NO_REGION else region)
        values = (tenant, requires_permission, shows, clicks_per_minute)
        done: str = connection.exec_driver_sql("SELECT shield_api.set_dialling(%s, %s, %s, %s)", values).scalar_one()
        return done


def _check_shows(shows: str, region: str | None) -> None:
    if not _SHOWS.fullmatch(shows):
        raise ShownRejected
    if shows.isdigit() and (
        read_valid(shows, region) is not None
        or (region is not None and shortnumberinfo.connects_to_emergency_number(shows, region))
    ):
        raise ShownRejected
