"""Places canary calls and follows each to its record: what became of it, and whether that proves anything.

Invariants: a call counts as gone through only when its number was handed out and the carrier's side gave a sign of its
own; what failed is named, never left out; nothing here holds a number.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.calls.states import State
from esl_shield.db.engine import Database
from esl_shield.errors.tenants import TenantUnknown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence

    from esl_shield.config.canary import CanaryConfig
    from esl_shield.service.canary.phone import Attempt, Phone

APPLICATION = "esl_shield canary"
PATIENCE_S = 30.0
_POLL_S = 0.2
_NOT_LET_IN = (401, 403, 407)
# The carrier's side ends such a call itself: the edge answers none of these once it has the number.
_CARRIERS = frozenset({State.BUSY, State.REJECTED, State.UNREACHABLE})

WENT_THROUGH = ("answered", "rang", "refused")
WHY = {
    "answered": "the carrier's side answered",
    "rang": "the carrier's side rang",
    "refused": "the carrier's side refused it",
    "not_taken": "FreeSWITCH gave the telephone no final answer",
    "not_let_in": "FreeSWITCH did not let the telephone in",
    "no_record": "there is no call record: the call did not reach a worker, or the database is not the workers'",
    "unfinished": "its call record was not finished in time",
    "not_redeemed": "its number was never handed out, so no carrier saw the call",
    "not_carried": "no carrier gave a sign of it",
    "not_on_the_wire": "its number is not in the captures of the carrier's side",
}


class Record(NamedTuple):
    """A row of ``shield_api.canary_calls``; moments are aware."""

    call: uuid.UUID
    token: str
    state: str
    hangup_cause: str | None
    sip_code: int | None
    gateway: str | None
    delivery: str | None
    attempts: int
    started_at: dt.datetime
    ringing_at: dt.datetime | None
    answered_at: dt.datetime | None
    ended_at: dt.datetime | None
    redeemed: bool


@dataclass
class CanaryCall:
    """One call: what the telephone saw and its record, None without one."""

    token: str
    attempt: Attempt
    record: Record | None = None
    outcome: str = "no_record"
    heard: list[bytes] = field(default_factory=list, repr=False)

    @property
    def went_through(self) -> bool:
        """Whether a carrier saw it."""
        return self.outcome in WENT_THROUGH


class Records:
    """The canary's login to the database. Close it yourself."""

    def __init__(self, config: CanaryConfig) -> None:
        patient = replace(
            config.database, pool_size=1, statement_timeout_s=max(config.database.statement_timeout_s, PATIENCE_S)
        )
        self._config = config
        self._database = Database(patient, application_name=APPLICATION, needs="a canary")
        self.run = uuid.uuid4()
        self._tenant_id, self._after, self._started_at = 0, 0, None

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def start(self, calls: int) -> None:
        """Note in the audit trail that canary calls start; raises TenantUnknown, RightMissing, DatabaseAway."""
        rows = self._database.call("start_canary", self._config.tenant, str(self.run), calls)
        if not rows:
            raise TenantUnknown(tenant=self._config.tenant)
        self._tenant_id, self._after, self._started_at = rows[0]

    def of(self, tokens: Iterable[str]) -> list[Record]:
        """Return the records of calls to these tokens since the start, oldest first."""
        rows = self._database.call(
            "canary_calls", self._tenant_id, self._config.agent, list(tokens), self._after, self._started_at
        )
        return [Record(*row) for row in rows]


def place(
    phone: Phone, records: Records, tokens: Sequence[str], look: Callable[[str], None], done: Callable[[], None]
) -> list[CanaryCall]:
    """Dial each token once, one after the other, then wait for the records; ``look`` is called while a call is up."""
    records.start(len(tokens))
    calls = []
    for token in tokens:
        attempt = phone.call(token, lambda token=token: look(token))  # type: ignore[misc]
        calls.append(CanaryCall(token, attempt, heard=attempt.heard))
        done()
    _follow(records, calls, phone.config.record_s)
    return calls


def _follow(records: Records, calls: Sequence[CanaryCall], within_s: float) -> None:
    end = time.monotonic() + within_s
    while True:
        found = {record.token: record for record in records.of(call.token for call in calls)}
        for call in calls:
            call.record = found.get(call.token)
            call.outcome = judge(call.attempt, call.record)
        waiting = [call for call in calls if call.outcome == "unfinished" or _may_come(call)]
        if not waiting or time.monotonic() >= end:
            return
        time.sleep(_POLL_S)


def _may_come(call: CanaryCall) -> bool:
    """Whether a worker may still write the record of a call the telephone saw through."""
    return call.outcome == "no_record" and (call.attempt.answered or call.attempt.rang)


def judge(attempt: Attempt, record: Record | None) -> str:
    """Return the outcome, a key of WHY."""
    if record is None:
        refused = "not_let_in" if attempt.status in _NOT_LET_IN else "no_record"
        return refused if attempt.status else "not_taken"
    state = State(record.state) if record.state in State.__members__ else None
    if state is None or not state.is_terminal:
        return "unfinished"
    if not record.redeemed:
        return "not_redeemed"
    if record.answered_at or record.ringing_at:
        return "answered" if record.answered_at else "rang"
    return "refused" if state in _CARRIERS else "not_carried"
