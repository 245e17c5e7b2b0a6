"""Four calls, each held at another moment of its life while something befalls a part; and what must be true of them."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, NamedTuple, Self

import fix_site
import gevent
from fix_site import BANK, NUMBERS
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.esl.double import Carrier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fix_site import CallCentre, Tenant

    from esl_shield.esl.double import Redeem, Result

    Place = Callable[[int, Carrier, Redeem | None], Result]

PARKED, REDEEMING, RINGING, TALKING = "before authorisation", "redeeming", "ringing", "talking"
MOMENTS = (PARKED, REDEEMING, RINGING, TALKING)
OPEN = {"AUTHORIZED", "ANSWERED"}
RINGS_S = 6.0
WITHIN_S = 60.0  # on a machine that has other things to do

eventually = functools.partial(fix_site.eventually, within_s=WITHIN_S)


class End(NamedTuple):
    """What the phone heard (0: it was left silent), and what the record says; None when there is none."""

    status: int
    state: str | None


WELL, UNKNOWN, REFUSED, UNHEARD = End(200, "COMPLETED"), End(200, "LOST"), End(503, "FAILED"), End(503, None)
NEVER_STARTED = {REFUSED, UNHEARD}


class Held:
    """Calls to the customers ``at`` to ``at + 3``; a context manager, within which each waits at its moment.

    ``place(position, carrier, redeem)`` has an agent call; ``redeem`` is how the edge or the script learn the number.
    """

    def __init__(self, centre: CallCentre, at: int, place: Place, redeem: Redeem, tenant: Tenant = BANK) -> None:
        self._centre, self._at, self._place, self._redeem, self._tenant = centre, at, place, redeem, tenant
        self._asked, self._may_redeem, self._knows = Event(), Event(), Event()
        self._stack = contextlib.ExitStack()
        self._playing: dict[str, gevent.Greenlet[..., Result]] = {}
        self.results: dict[str, Result] = {}

    def __enter__(self) -> Self:
        self._spawn(REDEEMING, Carrier(after_s=0.5), self._wait_and_redeem)
        self._spawn(RINGING, Carrier(after_s=RINGS_S), self._redeem_and_tell)
        self._spawn(TALKING, Carrier(after_s=0.0))
        assert self._asked.wait(WITHIN_S)
        assert self._knows.wait(WITHIN_S)
        self._until("SELECT FROM dba.calls WHERE state = 'ANSWERED' AND token = %s", TALKING)
        self._stack.enter_context(nobody_authorizes(self._centre, self._tenant, self._token(PARKED)))
        self._spawn(PARKED, Carrier(after_s=0.0))
        self._until("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        gevent.killall(list(self._playing.values()))

    def go_on(self) -> None:
        """Hold them no longer."""
        self._stack.close()
        self._may_redeem.set()

    def is_over(self, *moments: str) -> bool:
        """Whether FreeSWITCH has ended the calls held at these moments."""
        return all(self._playing[moment].ready() for moment in moments)

    def ends(self) -> dict[str, End]:
        """How each ended; fails unless each has one record at most, a final one, and what it bought was let through."""
        self.results = {moment: self._playing[moment].get(timeout=WITHIN_S) for moment in MOMENTS}
        return {moment: self._end(result) for moment, result in self.results.items()}

    def _end(self, result: Result) -> End:
        records = settled(self._centre, result.uuid)
        assert len(records) <= 1
        bought = self._centre.query(
            "SELECT FROM dba.audit_events e JOIN dba.calls c ON c.id = e.call"
            " WHERE e.kind = 'permit.redeemed' AND c.channel = %s", result.uuid,
        )  # fmt: skip
        assert len(result.wire) <= len(bought)
        return End(result.status, records[0]["state"] if records else None)

    def _spawn(self, moment: str, carrier: Carrier, redeem: Redeem | None = None) -> None:
        position = self._at + MOMENTS.index(moment)
        self._playing[moment] = gevent.spawn(self._place, position, carrier, redeem or self._redeem)

    def _wait_and_redeem(self, redemption: object) -> tuple[int, str]:
        self._asked.set()
        self._may_redeem.wait()
        return self._redeem(redemption)

    def _redeem_and_tell(self, redemption: object) -> tuple[int, str]:
        answer = self._redeem(redemption)
        self._knows.set()
        return answer

    def _token(self, moment: str) -> str:
        return self._centre.token(self._tenant, self._at + MOMENTS.index(moment))

    def _until(self, statement: str, moment: str = "") -> None:
        values = [self._token(moment)] if moment else []
        found = eventually(lambda: self._centre.query(statement, *values) or any(p.ready() for p in self._early()))
        assert found is not True, {name: vars(p.value) for name, p in self._playing.items() if p.ready()}

    def _early(self) -> list[gevent.Greenlet[..., Result]]:
        return [self._playing[moment] for moment in (PARKED, REDEEMING, RINGING) if moment in self._playing]


def settled(centre: CallCentre, channel: str) -> list[dict[str, object]]:
    """The records of a call once they are final and its permits are gone."""

    def look() -> list[dict[str, object]] | None:
        rows = centre.query("SELECT id, state FROM dba.calls WHERE channel = %s", channel)
        left = centre.query("SELECT FROM dba.permits_unredeemed WHERE call = ANY(%s)", [row["id"] for row in rows])
        return None if left or OPEN & {row["state"] for row in rows} else [*rows, {}]

    return eventually(look)[:-1]


@contextlib.contextmanager
def nobody_authorizes(centre: CallCentre, tenant: Tenant, token: str) -> Iterator[None]:
    """Hold what an authorisation of a token waits for; the database may die meanwhile."""
    engine = sqlalchemy_engine(DatabaseConfig(centre.site.postgres.url()))
    connection = engine.connect()
    lock = "SELECT pg_advisory_lock(hashtextextended(%s, id)) FROM shield.tenants WHERE name = %s"
    connection.exec_driver_sql(lock, (token, tenant.name))
    try:
        yield
    finally:
        with contextlib.suppress(SQLAlchemyError):
            connection.invalidate()
            connection.close()
        engine.dispose()


def numbers_in(folder: Path, *more: Path) -> list[str]:
    """Which customers' numbers stand in a folder's logs, or in further files."""
    written = "".join(path.read_text(errors="replace") for path in (*folder.glob("*.log"), *more))
    return [number for number in NUMBERS if number[-9:] in written]
