"""Who may dial what, said by a tenant's own systems: dial permissions.

Invariants: one method is one call of one ``shield_api`` function, after its text was checked: a business ID or
campaign that could be a telephone number is refused before it reaches a statement. Nothing here takes a key, or returns
more than tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

from esl_shield.errors.dialling import BusinessIdRejected, PermissionRejected, PermissionUnknown
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.errors.tokens import TokenUnknown
from esl_shield.vault import lookalikes

if TYPE_CHECKING:
    import datetime as dt

    from esl_shield.db.engine import Database

REFUSED = "its id is another permission's, or its time is over, empty or longer than 366 days"
_NO_COUNTRY = "001"  # of a tenant whose people write numbers of no one country
MAX_CALLS = 10_000
_BUSINESS_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AGENT = re.compile(r"[A-Za-z0-9._+\-]{1,64}")


@dataclass(frozen=True)
class Permission:
    """A dial permission to grant; the token is named by itself or by its alias.

    ``agent`` None is every agent; ``calls`` None is as many as the caps allow. Without ``valid_from`` it is good at
    once, without ``valid_until`` for a day. The same ``id`` again, with the same values, changes nothing.
    """

    token: str | None = None
    alias: str | None = None
    agent: str | None = None
    valid_from: dt.datetime | None = None
    valid_until: dt.datetime | None = None
    calls: int | None = 1
    campaign: str | None = None
    ref: str | None = None
    id: UUID = field(default_factory=uuid4)


class Granted(NamedTuple):
    """A permission as it stands; ``new`` is false when it was granted before."""

    id: UUID
    token: str
    valid_from: dt.datetime
    valid_until: dt.datetime
    new: bool


class Dialling:
    """A dialler's side of the database, over a ``database`` with such a login; safe to share between greenlets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def grant(self, tenant: str, permission: Permission) -> Granted:
        """Grant a dial permission.

        Raises PermissionRejected, BusinessIdRejected, TokenUnknown, TenantUnknown, DatabaseAway, DatabaseRefused.
        """
        wanted = permission
        check_permission(wanted, self.region(tenant))
        rows = self._database.call(
            "grant_permission", tenant, wanted.id, wanted.token, wanted.alias, wanted.agent, wanted.valid_from,
            wanted.valid_until, wanted.calls, wanted.campaign, wanted.ref,
        )  # fmt: skip
        verdict, token, valid_from, valid_until = rows[0]
        if verdict == "UNKNOWN":
            raise TokenUnknown(tenant=tenant)
        if verdict == "REFUSED":
            raise PermissionRejected(problem=REFUSED)
        return Granted(wanted.id, token, valid_from, valid_until, verdict == "GRANTED")

    def revoke(self, tenant: str, permission: UUID) -> bool:
        """End a permission now; returns whether it stood. Raises PermissionUnknown, DatabaseAway, DatabaseRefused."""
        verdict = self._database.call("revoke_permission", tenant, permission)[0][0]
        if verdict == "UNKNOWN":
            raise PermissionUnknown(permission=permission)
        return bool(verdict == "REVOKED")

    def region(self, tenant: str) -> str | None:
        """Return the country whose numbers the tenant's people write; raises TenantUnknown, DatabaseAway."""
        rows = self._database.read("SELECT region FROM dba.tenants WHERE name = %s", tenant)
        if not rows:
            raise TenantUnknown(tenant=tenant)
        return None if rows[0][0] == _NO_COUNTRY else str(rows[0][0])


def check_business_id(option: str, text: str | None, region: str | None) -> None:
    """Raise BusinessIdRejected unless the text may travel with a call: in file names, SIP headers and the CDR."""
    if text is not None and (not _BUSINESS_ID.fullmatch(text) or lookalikes.looks_like_number(text, region)):
        raise BusinessIdRejected(option=option)


def check_permission(permission: Permission, region: str | None) -> None:
    """Raise PermissionRejected or BusinessIdRejected for what the database is not even asked."""
    for option, text in (("campaign", permission.campaign), ("ref", permission.ref)):
        check_business_id(option, text, region)
    problem = ""
    if (permission.token is None) == (permission.alias is None):
        problem = "it takes a token or an alias"
    elif permission.agent is not None and not _AGENT.fullmatch(permission.agent):
        problem = "an agent's name is 1 to 64 of letters, digits, dot, dash, plus and underscore"
    elif permission.calls is not None and not 1 <= permission.calls <= MAX_CALLS:
        problem = f"it is for 1 to {MAX_CALLS} calls, or for any number"
    elif any(at is not None and at.tzinfo is None for at in (permission.valid_from, permission.valid_until)):
        problem = "its times need an offset from UTC"
    if problem:
        raise PermissionRejected(problem=problem)
