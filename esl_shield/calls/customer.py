"""A customer who talks on when the leg we hold has stopped: who with, until when, and how it ends.

Invariants: the number never comes here. Of the customer's leg only events without channel variables pass the filter
(in direct delivery the variables hold the number), and of other legs only variables named here are asked for, none of
which a carrier or a phone can write. An agent is who FreeSWITCH authenticated, or the registered user it called itself.
The state is asked for, an event only says when to ask: what was missed before the subscription is found all the same.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import gevent

from esl_shield.calls import signs
from esl_shield.calls.states import Cause, cause_of
from esl_shield.errors.freeswitch import CommandRefused

if TYPE_CHECKING:
    from esl_shield.calls.records import CallRecord, Ledger
    from esl_shield.esl.session import Session

log = logging.getLogger(__name__)

SOON_S = (0.1, 0.5, 1.0)  # after an event: a bridge is made a moment after the states that announce it
MEETS_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # after an answer
SELDOM_S = 5.0
IN_CONFERENCE_S = 1.0  # who comes and goes there changes no state of the customer's leg
_LEG = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CONFERENCE = re.compile(r"[A-Za-z0-9._@\-]{1,128}")
_AGENT = re.compile(r"[A-Za-z0-9._+\-]{1,64}")
_GONE = "-ERR"


class End(NamedTuple):
    """When the customer's leg ended, and why."""

    at: datetime
    cause: Cause


class Customer:
    """One customer's leg, followed over the session of the leg that called it."""

    def __init__(self, session: Session, ledger: Ledger, record: CallRecord, *, leg: str, company: set[str]) -> None:
        """``company`` are the legs known to talk to the customer, whose agents the ledger was told of."""
        self._session = session
        self._ledger = ledger
        self._record = record
        self._leg = leg
        self._agents: dict[str, str] = {}  # legs we have asked about -> agent, empty for nobody's
        self._company = company
        self._in_conference = False

    def meets(self) -> str:
        """Wait a moment for who talks to the customer, who was just answered; the agent's name, empty if nobody's."""
        for pause_s in MEETS_S:
            now = self._now()
            if now is None:
                break
            if names := [name for leg in sorted(now) if (name := self._agent_of(leg))]:
                return names[0]
            gevent.sleep(pause_s)
        return ""

    def talks_on(self) -> bool:
        """Whether the leg is still up; listens to it from then on. Raises CommandRefused."""
        (reply,) = self._session.request(f"api uuid_getvar {self._leg} bridge_uuid")
        if reply.body.startswith(_GONE):
            return False
        heard = self._session.request(
            signs.NO_CUSTOMERS_VARIABLES,
            f"event plain {' '.join(signs.CUSTOMERS_EVENTS)}",
            f"filter Unique-ID {self._leg}",
        )
        if not all(reply.ok for reply in heard):
            raise CommandRefused(command="filter")
        return True

    def follow(self, limit_s: float) -> End:
        """Wait for the leg's end, noting who talks to it; gives up after ``limit_s`` seconds."""
        deadline = monotonic() + limit_s
        waits, at = iter(SOON_S), datetime.now(UTC)
        while monotonic() < deadline:
            if not self.look(at):
                return End(datetime.now(UTC), cause_of("NORMAL_CLEARING"))
            pause_s = next(waits, IN_CONFERENCE_S if self._in_conference else SELDOM_S)
            event = self._session.next_event(pause_s)
            at = datetime.now(UTC)
            if event is not None and event.get("Unique-ID") == self._leg:
                if signs.is_ending(event):
                    return End(signs.stamp(event), cause_of(event.get("Hangup-Cause", "")))
                waits, at = iter(SOON_S), signs.stamp(event)
        return End(datetime.now(UTC), cause_of("ALLOTTED_TIMEOUT"))

    def look(self, at: datetime) -> bool:
        """Compare who talks to the customer now with who did; returns whether the customer is still there."""
        now = self._now()
        if now is None:
            return False
        for leg in sorted(self._company - now):
            self._ledger.left(self._record, leg, at)
        for leg in sorted(now - self._company):
            if agent := self._agent_of(leg):
                self._ledger.joined(self._record, agent, leg, at)
        self._company = now
        return True

    def _now(self) -> set[str] | None:
        """Return the legs that talk to the customer; None when the customer's leg is gone."""
        bridged, conference = self._session.request(
            f"api uuid_getvar {self._leg} bridge_uuid", f"api uuid_getvar {self._leg} conference_name"
        )
        if bridged.body.startswith(_GONE) or conference.body.startswith(_GONE):
            return None
        return self._members(conference.body.strip()) or self._partner(bridged.body.strip())

    def _partner(self, leg: str) -> set[str]:
        """Return the leg at the other end; the variable stays when a bridge ends, so both ends must say so."""
        if not _LEG.fullmatch(leg):
            return set()
        (reply,) = self._session.request(f"api uuid_getvar {leg} bridge_uuid")
        return {leg} if reply.body.strip() == self._leg else set()

    def _members(self, conference: str) -> set[str]:
        """Return the other legs in the customer's conference; none when it is in none, or was in one once."""
        self._in_conference = False
        if not _CONFERENCE.fullmatch(conference) or conference == "_undef_":
            return set()
        (reply,) = self._session.request(f"api conference {conference} list")
        rows = (line.split(";") for line in reply.body.splitlines())
        legs = {row[2] for row in rows if len(row) > 2 and _LEG.fullmatch(row[2])}  # noqa: PLR2004
        self._in_conference = self._leg in legs
        return legs - {self._leg} if self._in_conference else set()

    def _agent_of(self, leg: str) -> str:
        if leg not in self._agents:
            authorized, username, dialled, side = self._session.request(
                f"api uuid_getvar {leg} sip_authorized",
                f"api uuid_getvar {leg} sip_auth_username",
                f"api uuid_getvar {leg} dialed_user",
                f"api uuid_getvar {leg} shield_side",
            )
            name = username.body.strip() if authorized.body.strip() == "true" else dialled.body.strip()
            if side.body.strip() == "customer" or name == "_undef_" or not _AGENT.fullmatch(name):
                name = ""
            self._agents[leg] = name
        return self._agents[leg]
