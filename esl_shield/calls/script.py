"""The greenlet that takes a parked call: who is it, may it, and then either a refusal or a bridge.

Invariants: FreeSWITCH gets an answer to every parked call; until the call is prepared for its first attempt the
dialplan's own ``sched_hangup`` stays armed, so that a worker that hangs cannot hold an agent in silence; a refusal is
decided by the database and its reason is never told to the phone; what nobody has time for, here or in the database, is
refused before the database is asked, so that calls it let through go on.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

from esl_shield.calls import arrivals, handoff, routing, states
from esl_shield.calls.following import Following
from esl_shield.calls.inbound import Inbound
from esl_shield.calls.parked import GOODBYE_S, ParkedLeg
from esl_shield.calls.permits import Permit
from esl_shield.calls.records import ALLOWED, CallRecord, Ledger
from esl_shield.calls.refusals import UNAVAILABLE, refuse, refuse_verdict
from esl_shield.calls.states import State, cause_of
from esl_shield.errors.calls import HandoffRejected
from esl_shield.errors.database import DatabaseAway, DatabaseRefused
from esl_shield.errors.freeswitch import EslError, SessionGone
from esl_shield.esl.commands import Execute

if TYPE_CHECKING:
    from uuid import UUID

    from esl_shield.calls.handoff import Handoff
    from esl_shield.calls.observer import Observer
    from esl_shield.calls.routing import Route
    from esl_shield.config import Config
    from esl_shield.esl.session import Session

log = logging.getLogger(__name__)


class Script:
    """One call; ``run`` is the greenlet's body."""

    def __init__(self, session: Session, config: Config, ledger: Ledger, observe: Observer) -> None:
        self._session = session
        self._config = config
        self._ledger = ledger
        self._observe = observe
        self._record = CallRecord()
        self._began = session.arrived

    def run(self) -> None:
        """Take the call from ``connect`` to its CDR."""
        try:
            channel_data = self._session.connect()
            arrival = arrivals.read(channel_data) if arrivals.is_arrival(channel_data) else None
            parked = None if arrival else handoff.read(channel_data, self._config.handoff)
        except HandoffRejected as error:
            log.warning("handoff.rejected", extra={"fields": {"error_id": error.error_id}})
            self._refuse(UNAVAILABLE, "bad_handoff")
        except SessionGone:
            self._observe.count("gone", "before_connect")
        except EslError as error:
            self._observe.count("gone", "bad_frame")
            log.warning("handoff.failed", extra={"fields": {"error_id": error.error_id}})
        else:
            if self._comes_too_late():
                self._refuse(UNAVAILABLE, "overloaded")
            elif arrival:
                Inbound(self._leg(arrival.channel), self._config.inbound, arrival).run()
            elif parked:
                self._take(parked)

    def _comes_too_late(self) -> bool:
        """Whether the call waited too long by now, or would wait for the database."""
        timeout_s = self._config.esl.admission_timeout_s
        return monotonic() - self._began > timeout_s or self._ledger.overloaded(timeout_s)

    def _leg(self, channel: UUID) -> ParkedLeg:
        return ParkedLeg(
            self._session, self._config.calls, self._ledger, self._observe, self._record, channel, self._began
        )

    def _take(self, parked: Handoff) -> None:
        ways = self._ways(parked, parked.dialled.token)
        permit, sip_call_id = Permit(), uuid4()
        # Without a way of its own the caller is not a tenant we serve; the database says so and keeps the audit row.
        gateway = ways[0].gateway if ways else self._config.gateways[0]
        try:
            allowed = self._ledger.authorize(self._record.id, parked, gateway, permit, sip_call_id)
        except (DatabaseAway, DatabaseRefused) as error:
            log.warning("handoff.not_authorized", extra={"fields": {"error_id": error.error_id}})
            self._refuse(UNAVAILABLE, "database_away")
            self._close_as("NORMAL_TEMPORARY_FAILURE")
            self._ledger.finish_orphan(self._record)
            return
        if allowed.verdict != ALLOWED:
            refuse_verdict(self._session, self._observe, allowed.verdict, parked.domain or "")
            return
        self._record.allowed = allowed
        self._record.domain = parked.domain or ""
        self._observe.count("authorized", gateway.delivery, self._record.domain)
        if not ways:
            self._give_up(parked)
            return
        if allowed.region or not parked.dialled.token:  # of an alias, or a click, the token was not known before
            ways = self._ways(parked, allowed.token, allowed.region or "")
        talk = self._config.policy.of(parked.domain or "")
        Following(self._leg(parked.channel), parked, talk).run(ways, permit, sip_call_id)

    def _ways(self, parked: Handoff, token: str | None, region: str = "") -> list[Route]:
        # A transferred customer's leg may be one whose variables the script must not be run beside.
        gateways = [
            gateway for gateway in self._config.gateways if not parked.transferred or gateway.delivery == "edge"
        ]
        most = self._config.calls.max_attempts
        return routing.routes(gateways, domain=parked.domain or "", token=token or "", max_attempts=most, region=region)

    def _give_up(self, parked: Handoff) -> None:
        """End a call of a tenant that no gateway is configured for."""
        log.error("handoff.no_gateway", extra={"fields": {"domain": parked.domain}})
        self._close_as("NO_ROUTE_DESTINATION")
        self._ledger.finish(self._record)
        self._refuse(UNAVAILABLE, "no_gateway")

    def _close_as(self, cause: str) -> None:
        """Close the record of a call that was never attempted."""
        self._record.state = states.advance(self._record.state, State.FAILED)
        self._record.cause, self._record.sip_code = cause, cause_of("NORMAL_TEMPORARY_FAILURE").sip
        self._record.ended_at = datetime.now(UTC)

    def _refuse(self, answer: str, reason: str) -> None:
        refuse(self._session, self._observe, answer, reason, self._record.domain)


def refuse_overflow(session: Session, observe: Observer, reason: str) -> None:
    """Answer a call there is no room or time for: ``respond 503``, so that the dialplan goes on to its refusal."""
    observe.count("refused", reason)
    try:
        session.dismiss(Execute("respond", UNAVAILABLE), GOODBYE_S)
    except EslError:
        observe.count("gone", "before_connect")
