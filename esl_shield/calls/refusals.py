"""What the phone of a call that is not taken is answered.

Invariants: the answer is equal for every reason behind one verdict; the reason is never told to the phone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from esl_shield.calls.parked import GOODBYE_S
from esl_shield.errors.freeswitch import EslError, SessionGone

if TYPE_CHECKING:
    from esl_shield.calls.observer import Observer
    from esl_shield.esl.session import Session

log = logging.getLogger(__name__)

UNAVAILABLE = "503 Service Unavailable"
_FORBIDDEN = "403 Forbidden"
_ANSWERS = {"NOT_FOUND": "404 Not Found", "FORBIDDEN": _FORBIDDEN}


def refuse_verdict(session: Session, observe: Observer, verdict: str, domain: str = "") -> None:
    """Answer as the database decided."""
    refuse(session, observe, _ANSWERS.get(verdict, _FORBIDDEN), verdict.lower(), domain)


def refuse(session: Session, observe: Observer, answer: str, reason: str, domain: str = "") -> None:
    """Answer the phone and stay until FreeSWITCH closes the socket, which it does once the channel is gone."""
    observe.count("refused", reason, domain)
    try:
        session.execute("respond", answer)
        session.next_event(GOODBYE_S)
    except SessionGone:
        return
    except EslError as error:
        log.warning("handoff.refusal_lost", extra={"fields": {"error_id": error.error_id}})
