"""Calls by click: a tenant's system asks, the agent's phone rings first, then the worker takes the leg as any other.

Invariants: the click's row, whose UUID the agent's leg is made with, is there before FreeSWITCH is asked, and whether
the customer may be called is decided by it when the agent has answered; a click FreeSWITCH was not asked for, or about
which it did not answer, is void before the error is told, so a leg that comes all the same gets no call. One key is one
call. No number and no key comes here; the event socket's password is in a file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from uuid import UUID, uuid4

from esl_shield.calls import dialstring
from esl_shield.config.secretfile import read_secret
from esl_shield.errors.config import ConfigError
from esl_shield.errors.dialling import (
    AgentUnreachable,
    ClickBlocked,
    ClickConflict,
    ClickRejected,
    ClickTooMany,
    ClickUnknown,
)
from esl_shield.errors.freeswitch import FreeSwitchAway, FreeSwitchRefused, UnsafeArgument
from esl_shield.esl.inbound import InboundSocket
from esl_shield.service.dialling import Dialling, check_business_id

if TYPE_CHECKING:
    from esl_shield.config import Config
    from esl_shield.config.clicks import ClicksConfig
    from esl_shield.db.engine import Database

SETTLE_S = 0.5  # by then FreeSWITCH has said that a phone is not registered
ANSWER_MARGIN_S = 2.0
Apart = Callable[[Callable[[], "str | None"]], "str | None"]
_KEY = re.compile(r"[!-~]{1,255}")
_CAUSE = re.compile(r"-ERR ([A-Z][A-Z_]{0,63})")


@dataclass(frozen=True)
class Click:
    """Who is to talk to whom: an agent, a token or its alias, the business ID of the call.

    The same ``key`` (1 to 255 printable characters) again is the same call, for 7 days.
    """

    agent: str
    token: str | None = None
    alias: str | None = None
    ref: str | None = None
    key: str | None = None


class Clicked(NamedTuple):
    """What became of a click: ``channel`` is the UUID of the agent's leg, and of ``dba.clicks``.

    ``outcome`` is ringing, answered, or repeated (its key's click was asked for before; ``state`` says how far it is).
    """

    channel: UUID
    token: str
    ref: str | None
    outcome: Literal["ringing", "answered", "repeated"]
    state: str


class Books(Protocol):
    """Where the clicks of one tenant are written down: who asks decides which functions of the database that are."""

    def region(self) -> str | None:
        """Return the country whose numbers the tenant's people write; None: no one country."""

    def begin(self, channel: UUID, click: Click, key: bytes | None) -> tuple[Any, ...]:
        """Return what ``begin_click`` answers."""

    def end(self, channel: UUID, state: str, cause: str | None) -> None:
        """Say that the agent's leg will not come."""


class _TenantsBooks:
    """Those of a tenant this login may name."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    def region(self) -> str | None:
        """Return the tenant's country; raises TenantUnknown."""
        return Dialling(self._database).region(self._tenant)

    def begin(self, channel: UUID, click: Click, key: bytes | None) -> tuple[Any, ...]:
        """Write the click down."""
        wanted = (self._tenant, channel, click.agent, click.token, click.alias, click.ref, key)
        return self._database.call("begin_click", *wanted)[0]

    def end(self, channel: UUID, state: str, cause: str | None) -> None:
        """Say that the agent's leg will not come."""
        self._database.call("end_click", self._tenant, channel, state, cause)


def _here(conversation: Callable[[], str | None]) -> str | None:
    return conversation()


class Clicks:
    """Rings agents through one FreeSWITCH, over a ``database`` with a dialler's login or ``books``."""

    def __init__(self, database: Database, config: ClicksConfig, *, apart: Apart = _here) -> None:
        """Read the password; raises ConfigError. Connects to nothing.

        ``apart`` runs the conversation with FreeSWITCH, which blocks: a gevent process gives its thread pool's
        ``apply``.
        """
        self._database = database
        self._apart = apart
        self._config = config
        self._password = read_secret("password", config.password, table="[clicks] ").decode()

    @classmethod
    def from_config(cls, config: Config, database: Database) -> Clicks:
        """Raise ConfigError unless the file has a [clicks] with a password that can be read."""
        if config.clicks is None:
            raise ConfigError(source="file", problem="it has no [clicks], which calls by click need")
        return cls(database, config.clicks)

    @property
    def whole_s(self) -> float:
        """How long, in seconds, it takes at most until an agent has answered or has not."""
        return self._config.ring_s + ANSWER_MARGIN_S

    def click(self, tenant: str, click: Click, *, wait_s: float = SETTLE_S) -> Clicked:
        """Ring the agent's phone; returns after ``wait_s`` seconds at most, or when it was answered.

        Raises FreeSwitchAway and FreeSwitchRefused (no call is made, and the key may be used again), AgentUnreachable
        (the phone's side ended it within ``wait_s``), ClickTooMany, ClickUnknown, ClickConflict, ClickRejected,
        ClickBlocked, BusinessIdRejected, TenantUnknown, DatabaseAway, DatabaseRefused.
        """
        return self.click_by(_TenantsBooks(self._database, tenant), click, tenant=tenant, wait_s=wait_s)

    def click_by(self, books: Books, click: Click, *, tenant: str, wait_s: float = SETTLE_S) -> Clicked:
        """Do the same for whoever's ``books``; ``tenant`` is for errors only."""
        check_business_id("ref", click.ref, books.region())
        if (click.token is None) == (click.alias is None):
            raise ClickRejected(problem="it takes a token or an alias")
        if click.key is not None and not _KEY.fullmatch(click.key):
            raise ClickRejected(problem="its key is 1 to 255 printable characters without blanks")
        key = None if click.key is None else hashlib.sha256(click.key.encode()).digest()
        verdict, channel, state, domain, token, shown, ref = books.begin(uuid4(), click, key)
        _refuse(verdict, tenant, click)
        if verdict == "REPEATED":
            return Clicked(channel, token, ref, "repeated", state)
        said = self._ring(books, channel, (click.agent, domain, dialstring.showable(shown, token), ref), wait_s)
        if said is not None and not said.startswith("+OK"):
            cause = match[1] if (match := _CAUSE.match(said)) else "NORMAL_UNSPECIFIED"
            books.end(channel, "FAILED", cause)
            raise AgentUnreachable(agent=click.agent, cause=cause)
        return Clicked(channel, token, ref, "answered" if said else "ringing", state)

    def _ring(self, books: Books, channel: UUID, leg: tuple[str, str, str, str | None], wait_s: float) -> str | None:
        """Have FreeSWITCH make the leg; returns what it came to, None when the phone still rings."""
        agent, domain, shown, ref = leg
        try:
            ring_s = self._config.ring_s
            command = dialstring.ring_for_click(agent, domain, channel, shown=shown, ref=ref, ring_s=ring_s)
            return self._apart(lambda: self._converse(command, wait_s))
        except (FreeSwitchAway, FreeSwitchRefused, UnsafeArgument):
            books.end(channel, "VOID", None)
            raise

    def _converse(self, command: str, wait_s: float) -> str | None:
        config = self._config
        with InboundSocket(config.address, self._password, timeout_s=config.timeout_s, user=config.user) as socket:
            socket.listen("BACKGROUND_JOB")
            job = socket.begin(command)
            try:
                return socket.outcome(job, wait_s)
            except FreeSwitchAway:
                return None  # it was asked, and said yes: the phone rings


def _refuse(verdict: str, tenant: str, click: Click) -> None:
    """Raise what a verdict other than ASKED and REPEATED means."""
    if verdict == "NOT_FOUND":
        raise ClickUnknown(tenant=tenant)
    if verdict == "CONFLICT":
        raise ClickConflict
    if verdict == "BLOCKED":
        raise ClickBlocked
    if verdict == "TOO_MANY":
        raise ClickTooMany(agent=click.agent)
    if verdict == "REFUSED":
        raise ClickRejected(problem="the agent's name is 1 to 64 of letters, digits, dot, dash, plus and underscore")
