"""The steps of a reveal as a person's command takes them: the database decides, the resolver tells.

Invariants: whatever the database or the resolver refuses is one error without a reason; what a login could learn inside
a transaction of its own and then roll back is nothing: answers come from the resolver, for a ticket that is committed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from esl_shield.config.secretfile import read_secret
from esl_shield.db.engine import Database
from esl_shield.errors.config import ConfigError
from esl_shield.errors.reveals import RevealRefused
from esl_shield.resolver.asking import ResolverClient, Ticket

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterator

    from esl_shield.config import Config
    from esl_shield.vault.numbers import SubscriberNumber

_ALLOWED = "ALLOWED"
_DENIED = "DENIED"


class Requested(NamedTuple):
    """A request and when it is over."""

    id: uuid.UUID
    expires_at: dt.datetime


class Opened(NamedTuple):
    """A reveal that is used now, and the ticket for its answer."""

    ticket: Ticket
    opened_at: dt.datetime


class Desk:
    """One person's login at work."""

    def __init__(self, database: Database, client: ResolverClient) -> None:
        self._database = database
        self._client = client

    def request_number(self, tenant: str, token: str, case: str, reason: str) -> Requested:
        """Ask for the number behind a token; raises RevealRefused, DatabaseAway."""
        return self._request(tenant, "number", token, case, reason, None)

    def request_calls(self, tenant: str, number: SubscriberNumber, case: str, reason: str) -> Requested:
        """Ask for the calls of a number; raises RevealRefused, DatabaseAway, ResolverAway."""
        self._client.require_well()
        ticket = Ticket()
        requested = self._request(tenant, "calls", None, case, reason, ticket.hash)
        self._client.bind(ticket, number)
        return requested

    def approve(self, reveal: uuid.UUID, number: SubscriberNumber | None) -> None:
        """Approve; ``number`` for a reveal of a number's calls. Raises RevealRefused, DatabaseAway, ResolverAway."""
        ticket = Ticket() if number else None
        self._require(_ALLOWED, "approve_reveal", reveal, ticket and ticket.hash)
        if ticket and number:
            self._client.bind(ticket, number)

    def deny(self, reveal: uuid.UUID) -> None:
        """Deny, or withdraw one's own; raises RevealRefused, DatabaseAway."""
        self._require(_DENIED, "deny_reveal", reveal)

    def open(self, reveal: uuid.UUID) -> Opened:
        """Use a reveal, if the resolver is well; raises RevealRefused, DatabaseAway, ResolverAway."""
        self._client.require_well()
        ticket = Ticket()
        return Opened(ticket, self._require(_ALLOWED, "open_reveal", reveal, ticket.hash)[1])

    def answer(self, opened: Opened) -> dict[str, Any]:
        """Fetch the answer, once; raises RevealRefused, ResolverAway."""
        return self._client.redeem(opened.ticket)

    def _request(self, *arguments: object) -> Requested:
        _, reveal, expires_at = self._require(_ALLOWED, "request_reveal", *arguments)
        return Requested(reveal, expires_at)

    def _require(self, verdict: str, function: str, *arguments: object) -> tuple[Any, ...]:
        rows = self._database.call(function, *arguments)
        if rows[0][0] != verdict:
            raise RevealRefused
        return rows[0]


@contextlib.contextmanager
def desk(config: Config) -> Iterator[Desk]:
    """Open what a step needs; raises ConfigError."""
    if config.reveals.secret is None:
        raise ConfigError(source="file", problem="it has no [reveals] secret, which this command needs")
    secret = read_secret("secret", config.reveals.secret, table="[reveals] ")
    database = Database(config.database, application_name="esl-shield reveal", needs="a revealer")
    with contextlib.closing(database):
        yield Desk(database, ResolverClient(config.reveals.resolver, secret))
