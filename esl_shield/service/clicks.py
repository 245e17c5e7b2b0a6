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
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID, uuid4

from esl_shield.calls import dialstring
from esl_shield.config.secretfile import read_secret
from esl_shield.errors.config import ConfigError
from esl_shield.errors.dialling import AgentUnreachable, ClickConflict, ClickRejected, ClickTooMany, ClickUnknown
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
_KEY = re.compile(r"[!-~]{1,128}")
_CAUSE = re.compile(r"-ERR ([A-Z][A-Z_]{0,63})")


@dataclass(frozen=True)
class Click:
    """Who is to talk to whom: an agent, a token or its alias, the business ID of the call.

    The same ``key`` (1 to 128 printable characters) again is the same call, for 7 days.
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


def _here(conversation: Callable[[], str | None]) -> str | None:
    return conversation()


class Clicks:
    """Rings agents through one FreeSWITCH, over a ``database`` with an API's login."""

    def __init__(self, database: Database, config: ClicksConfig, *, apart: Apart = _here) -> None:
        """Read the password; raises ConfigError. Connects to nothing.

        ``apart`` runs the conversation with FreeSWITCH, which blocks: a gevent process gives its thread pool's
        ``apply``.
        """
        self._database = database
        self._apart = apart
        self._config = config
        self._password = read_secret("password", config.password, table="[clicks] ").decode()
        self._dialling = Dialling(database)

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
        BusinessIdRejected, TenantUnknown, DatabaseAway, DatabaseRefused.
        """
        check_business_id("ref", click.ref, self._dialling.region(tenant))
        if (click.token is None) == (click.alias is None):
            raise ClickRejected(problem="it takes a token or an alias")
        if click.key is not None and not _KEY.fullmatch(click.key):
            raise ClickRejected(problem="its key is 1 to 128 printable characters without blanks")
        key = None if click.key is None else hashlib.sha256(click.key.encode()).digest()
        wanted = (tenant, uuid4(), click.agent, click.token, click.alias, click.ref, key)
        verdict, channel, state, domain, token, shown, ref = self._database.call("begin_click", *wanted)[0]
        _refuse(verdict, tenant, click)
        if verdict == "REPEATED":
            return Clicked(channel, token, ref, "repeated", state)
        said = self._ring(tenant, channel, (click.agent, domain, dialstring.showable(shown, token), ref), wait_s)
        if said is not None and not said.startswith("+OK"):
            cause = match[1] if (match := _CAUSE.match(said)) else "NORMAL_UNSPECIFIED"
            self._database.call("end_click", tenant, channel, "FAILED", cause)
            raise AgentUnreachable(agent=click.agent, cause=cause)
        return Clicked(channel, token, ref, "answered" if said else "ringing", state)

    def _ring(self, tenant: str, channel: UUID, leg: tuple[str, str, str, str | None], wait_s: float) -> str | None:
        """Have FreeSWITCH make the leg; returns what it came to, None when the phone still rings."""
        agent, domain, shown, ref = leg
        try:
            ring_s = self._config.ring_s
            command = dialstring.ring_for_click(agent, domain, channel, shown=shown, ref=ref, ring_s=ring_s)
            return self._apart(lambda: self._converse(command, wait_s))
        except (FreeSwitchAway, FreeSwitchRefused, UnsafeArgument):
            self._database.call("end_click", tenant, channel, "VOID", None)
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
    if verdict == "TOO_MANY":
        raise ClickTooMany(agent=click.agent)
    if verdict == "REFUSED":
        raise ClickRejected(problem="the agent's name is 1 to 64 of letters, digits, dot, dash, plus and underscore")
