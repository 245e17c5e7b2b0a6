"""Short ways to call the SQL functions in tests: calls as the worker makes them, redemptions as the resolver does."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esl_shield.db.engine import Database

TOKEN = "91000000000018"


@dataclass
class Attempt:
    """The arguments of one ``authorize_call``."""

    domain: str | None = "acme.example"
    agent: str | None = "1001"
    token: str | None = TOKEN
    dialled_class: str | None = None
    dialled_length: int | None = None
    gateway: str = "carrier"
    delivery: str = "edge"
    sip_call_id: str | None = None
    call: uuid.UUID = field(default_factory=uuid.uuid4)
    permit: bytes = field(default_factory=lambda: hashlib.sha256(uuid.uuid4().bytes).digest())

    def authorize(self, worker: Database) -> tuple[Any, ...]:
        """Ask; the answered row is (verdict,)."""
        return worker.call(
            "authorize_call",
            self.call,
            self.domain,
            self.agent,
            self.token,
            self.dialled_class,
            self.dialled_length,
            self.permit,
            self.gateway,
            self.delivery,
            self.sip_call_id,
            uuid.uuid4(),
        )[0]

    def redeem(self, resolver: Database, **changed: object) -> list[tuple[Any, ...]]:
        """Redeem the call's permit alone, with some arguments changed; the row without its place."""
        rows = redeem_batch(resolver, [self.asked(**changed)], wait=True)
        return [row[1:] for row in rows]

    def asked(self, **changed: object) -> tuple[object, ...]:
        """What a redeemer of the call's permit names, with some of it changed."""
        arguments = {
            "permit": self.permit,
            "token": self.token,
            "gateway": self.gateway,
            "delivery": self.delivery,
            "sip_call_id": self.sip_call_id,
            **changed,
        }
        return tuple(arguments.values())

    def next_permit(self, worker: Database, **changed: object) -> str:
        """Ask for one more permit, which replaces ``permit``; the verdict."""
        self.permit = hashlib.sha256(uuid.uuid4().bytes).digest()
        arguments = {"gateway": self.gateway, "delivery": self.delivery, **changed}
        return worker.call("next_permit", self.call, self.permit, *arguments.values(), self.sip_call_id)[0][0]

    def finish(self, worker: Database, state: str = "COMPLETED", cause: str = "NORMAL_CLEARING") -> bool:
        """End the call."""
        values = (state, cause, 200, self.gateway, 1, None, None, None)
        return worker.call("finish_call", self.call, *values)[0][0]


def redeem_batch(
    resolver: Database, asked: Sequence[tuple[object, ...]], *, wait: bool = False
) -> list[tuple[Any, ...]]:
    """Redeem several permits in one statement; the answered rows."""
    return resolver.call("redeem_permits", *map(list, zip(*asked, strict=True)), wait)


def reasons(database: Any, kind: str) -> list[str | None]:
    """The reasons in the audit events of this kind, oldest first."""
    rows = database.query("SELECT detail ->> 'reason' FROM shield.audit_events WHERE kind = %s ORDER BY id", kind)
    return [row[0] for row in rows]
