"""Numbers that come over HTTP, made into tokens: the rules of an import, one request at a time.

Invariants: whose tokens are made is decided by the caller's key, in SQL, before a number is looked at; a request with
an idempotency key reserves it, is done once and answered the same again; of a request with numbers only an HMAC under
the tenant's index key is kept, since a plain hash of it could be tried out; a refusal shows a number masked.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from esl_shield.errors import DependencyAway
from esl_shield.errors.api import (
    ApiForbidden,
    ApiInProgress,
    ApiRepeatedOtherwise,
    ApiRowRejected,
    ApiUnauthorized,
)
from esl_shield.errors.tokens import LabelRejected
from esl_shield.vault import masking, numbers
from esl_shield.vault.rows import Refused, Row, check_label_name, read_row
from esl_shield.vault.seeder import Seeder
from esl_shield.vault.seeding import ALIAS_TAKEN
from esl_shield.vault.seedkeys import open_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esl_shield.vault.keks import Keks
    from esl_shield.vault.seeder import Outcome
    from esl_shield.vault.store import Store

    _Answered = tuple[dict[str, Any], Sequence[Outcome]]

LOG = logging.getLogger(__name__)

SCOPE = "tokens:write"
MAX_TENANTS = 256
KEPT_S = 300.0  # how long a tenant's opened keys are kept; rotated ones are noticed by the database at once
ROWS_AT_A_TIME = 50  # looked at before others have their turn


class _Known(NamedTuple):
    """A tenant's seeder, the key its requests are remembered under, until when (monotonic) both are kept."""

    seeder: Seeder
    memory_key: bytes
    until: float


class Request(NamedTuple):
    """Whose request it is, the idempotency key it has, and its bytes."""

    key: bytes
    name: str | None
    raw: bytes


class Tokeniser:
    """Makes tokens for whoever has a key; safe to call from many greenlets. ``pause`` gives way to them."""

    def __init__(
        self, store: Store, keks: Keks, *, pause: Callable[[], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Load the tables that say where a number is from now, so that no request waits for them."""
        numbers.load_tables()
        self._store = store
        self._keks = keks
        self._pause = pause
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def ready(self) -> None:
        """Return if requests could be answered; raises CryptoError, DatabaseRefused, DatabaseAway."""
        self._store.database.call("api_tokenising", bytes(32))
        self._keks.check()

    def one(self, request: Request, item: dict[str, Any]) -> dict[str, Any]:
        """Give one number a token.

        Raises ApiUnauthorized, ApiForbidden, ApiRepeatedOtherwise, ApiInProgress, ApiRowRejected, SpaceFull,
        CryptoError, KeysChanged, DatabaseAway, DatabaseRefused.
        """

        def make(seeder: Seeder) -> _Answered:
            row = _read(item, seeder, dt.datetime.now(dt.UTC))
            if isinstance(row, Refused):
                raise ApiRowRejected(reason=row.reason, masked=row.masked)
            outcome = seeder.seed(seeder.prepare([row]))[0]
            if outcome.token is None:
                raise ApiRowRejected(reason=ALIAS_TAKEN, masked=masking.phone(item["number"]))
            return _made(outcome), [outcome]

        return self._once(request, make)

    def many(self, request: Request, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Give numbers tokens, each row answered in its place; raises as ``one`` does, except for rows."""
        return self._once(request, lambda seeder: self._make_many(seeder, items))

    def _once(self, request: Request, make: Callable[[Seeder], _Answered]) -> dict[str, Any]:
        """Reserve the idempotency key, do it, keep the answer; what could not be done gives the key back."""
        known = self._tenant(request.key)
        digests, kept = self._begin(known, request)
        if kept is not None:
            return kept
        try:
            answer, outcomes = make(known.seeder)
            return self._end(request, digests, answer, outcomes)
        except Exception:
            if digests[0] is not None:
                self._give_back(request, digests)
            raise

    def _give_back(self, request: Request, digests: tuple[bytes | None, bytes]) -> None:
        try:
            self._store.database.call("api_tokenising_failed", request.key, *digests)
        except DependencyAway:  # what went wrong before is what is told; the key is free in a minute by itself
            LOG.warning("api.key_reserved")

    def _make_many(self, seeder: Seeder, items: Sequence[dict[str, Any]]) -> _Answered:
        rows = self._read_all(items, seeder)
        sound = [row for row in rows if isinstance(row, Row)]
        outcomes = seeder.seed(seeder.prepare(sound)) if sound else []
        coming = iter(outcomes)
        answered = [
            _rejected(row) if isinstance(row, Refused) else _answer(next(coming), item["number"])
            for row, item in zip(rows, items, strict=True)
        ]
        created = sum(outcome.created for outcome in outcomes)
        made = sum(outcome.token is not None for outcome in outcomes)
        answer = {
            "rows": answered, "created": created, "existing": made - created, "rejected": len(rows) - made,
        }  # fmt: skip
        return answer, outcomes

    def _read_all(self, items: Sequence[dict[str, Any]], seeder: Seeder) -> list[Row | Refused]:
        now, rows = dt.datetime.now(dt.UTC), []
        for position, item in enumerate(items):
            if position % ROWS_AT_A_TIME == ROWS_AT_A_TIME - 1:
                self._pause()
            rows.append(_read(item, seeder, now))
        return rows

    def _tenant(self, key: bytes) -> _Known:
        verdict, tenant = self._store.database.call("api_tokenising", key)[0]
        _require(verdict)
        known = self._known.get(tenant)
        if known is None or known.until < self._clock():
            seeder = Seeder(self._store, self._keks, tenant)
            memory_key = open_keys(self._keks, seeder.tenant).index.raw
            known = self._known[tenant] = _Known(seeder, memory_key, self._clock() + KEPT_S)
            if len(self._known) > MAX_TENANTS:
                self._known.popitem(last=False)
        return known

    def _begin(self, known: _Known, request: Request) -> tuple[tuple[bytes | None, bytes], dict[str, Any] | None]:
        """Return what the request is remembered by, and the answer it had before."""
        tenant = known.seeder.tenant.id
        digests = (
            None if request.name is None else _digest(known.memory_key, tenant, b"name", request.name.encode()),
            _digest(known.memory_key, tenant, b"request", request.raw),
        )
        return digests, self._keep(request, digests, None, {}) if digests[0] else None

    def _end(
        self, request: Request, digests: tuple[bytes | None, bytes], answer: dict[str, Any],
        outcomes: Sequence[Outcome],
    ) -> dict[str, Any]:  # fmt: skip
        created = sum(outcome.created for outcome in outcomes)
        made = sum(outcome.token is not None for outcome in outcomes)
        counts = {"created": created, "existing": made - created}
        return self._keep(request, digests, answer, counts) or answer

    def _keep(
        self, request: Request, digests: tuple[bytes | None, bytes], answer: dict[str, Any] | None,
        counts: dict[str, int],
    ) -> dict[str, Any] | None:  # fmt: skip
        verdict, kept = self._store.database.call("api_tokenised", request.key, *digests, answer, counts)[0]
        if verdict == "OTHER":
            raise ApiRepeatedOtherwise
        if verdict == "RUNNING":
            raise ApiInProgress
        if verdict == "REPEATED":
            found: dict[str, Any] = kept
            return found
        _require(verdict)
        return None


def _require(verdict: str) -> None:
    if verdict == "UNKNOWN_KEY":
        raise ApiUnauthorized
    if verdict == "NO_SCOPE":
        raise ApiForbidden(scope=SCOPE)


def _read(item: dict[str, Any], seeder: Seeder, now: dt.datetime) -> Row | Refused:
    labels: dict[str, str] = item.get("labels", {})
    try:
        for name in labels:
            check_label_name(name)
    except LabelRejected as error:
        return Refused(f"label.{error.fields['reason']}", masking.phone(item["number"]))
    cells = {"number": item["number"], "alias": item.get("alias", ""), "expires_at": item.get("expires_at", "")}
    return read_row({**cells, **labels}, seeder.tenant, now, None)


def _answer(outcome: Outcome, number: str) -> dict[str, Any]:
    if outcome.token is None:
        return _rejected(Refused(ALIAS_TAKEN, masking.phone(number)))
    return _made(outcome)


def _made(outcome: Outcome) -> dict[str, Any]:
    return {"token": outcome.token, "created": outcome.created}


def _rejected(row: Refused) -> dict[str, Any]:
    return {"rejected": {"reason": row.reason, "number": row.masked}}


def _digest(key: bytes, tenant_id: int, what: bytes, text: bytes) -> bytes:
    """HMAC-SHA-256, apart from the blind index's by what comes first."""
    return hmac.new(key, b"esl_shield api %s\0%d\0%s" % (what, tenant_id, text), hashlib.sha256).digest()
