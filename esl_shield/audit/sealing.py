"""The sealer: events of finished transactions, in their order, into signed blocks; heads of blocks out of the machine.

Invariants: a block is added only behind the block this process verified and knows as the chain's end, by the one
session that holds the database's lock; nothing is remembered that the database and the file of heads do not hold, so a
process killed anywhere is followed by one that goes on. Transactions below the snapshot's horizon are finished, so what
is not there cannot appear later: nothing is missed. A chain that ends before a head that was exported is not continued
unless a person says so, and then the block says it too.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from esl_shield.audit import code, events, merkle
from esl_shield.audit.blocks import Block, Entries, Position, signed_message, write_header
from esl_shield.audit.heads import Head
from esl_shield.audit.signing import signed_by
from esl_shield.errors.sealing import ChainUnknown, CrossingTooLarge, HeadLost, NothingLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esl_shield.audit.heads import HeadFile
    from esl_shield.audit.signing import PublicKey, Signer
    from esl_shield.db.engine import Database

MOST_EVENTS = 10_000  # of one block; more waiting ones go into the next, at once
MOST_CROSSING = 500_000
MOST_HEADS = 1000
_KIND = 5  # among the columns of unsealed_events

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lag:
    """How old the oldest unsealed event is, how many wait, and how many of them for an open transaction."""

    seconds: float = 0.0
    waiting: int = 0
    held: int = 0


@dataclass(frozen=True)
class Step:
    """What one look at the database came to; ``mine`` is False for a stand-by, ``kinds`` counts what was sealed."""

    mine: bool
    sealed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    full: bool = False


class Sealer:
    """Seals over one connection; not safe to call from several greenlets."""

    def __init__(
        self, database: Database, signer: Signer, heads: HeadFile, *, most_events: int = MOST_EVENTS,
        clock: Callable[[], float] = time.time, restore_reason: str = "", older_keys: Sequence[PublicKey] = (),
    ) -> None:  # fmt: skip
        """Take a database whose pool has one connection: the lock is the session's.

        ``restore_reason`` accepts, once, that the chain ends before the head exported last; ``older_keys`` may have
        signed the chain's end as well as ``signer``.
        """
        self._database = database
        self._signer = signer
        self._heads = heads
        self._most = most_events
        self._clock = clock
        self._newest: Block | None = None
        self._code = ""
        self._restore_reason = restore_reason
        self._keys = {key.id: key for key in (*older_keys, signer.public)}

    @property
    def position(self) -> Position:
        """How far events are sealed, as far as is known."""
        return self._newest.position if self._newest else Position()

    def step(self) -> Step:
        """Seal the next block if there is anything to seal and it is ours to do.

        Raises DatabaseAway, DatabaseRefused, ChainUnknown, HeadLost, CrossingTooLarge.
        """
        mine, database, _, header, signature = self._database.call("sealing_state")[0]
        if not mine:
            self._newest = None
            return Step(mine=False)
        if header is None or self._newest is None or self._newest.header != header:
            self._newest = self._verified(header, signature)
        lost = self._lost()
        before = self.position
        crosses = before.database not in ("", database)
        rows = self._database.call(
            "unsealed_events", crosses, before.floor, before.top, str(before.xid), before.id, self._most
        )
        if not rows:
            return Step(mine=True)
        if crosses and len(rows) > MOST_CROSSING:
            raise CrossingTooLarge(count=len(rows), most=MOST_CROSSING)
        after = _position(before, database, rows, crosses=crosses)
        if not self._append(rows, after, lost):
            self._newest = None
            return Step(mine=True)
        kinds = Counter(str(row[_KIND]) for row in rows)
        return Step(mine=True, sealed=len(rows), kinds=kinds, full=len(rows) >= self._most)

    def lag(self) -> Lag:
        """Ask how far behind the seals are; raises DatabaseAway, DatabaseRefused."""
        p = self.position
        return Lag(*self._database.call("sealing_lag", p.floor, str(p.xid), p.id)[0])

    def export(self) -> int:
        """Write the heads that are not in the file yet; returns how many. Raises OSError, DatabaseAway."""
        count = 0
        while heads := read_heads_after(self._database, self._heads.written.number, self._signer.public.hex):
            self._heads.add(heads)
            count += len(heads)
        return count

    @property
    def newest(self) -> int:
        """The newest block's number, 0 while there is none or this is a stand-by."""
        return self._newest.number if self._newest else 0

    def _verified(self, header: str | None, signature: Any) -> Block | None:
        """Read the chain's end, which must be one of our own making."""
        if header is None:
            return None
        try:
            block = Block.parse(header, bytes(signature))
        except ValueError:
            raise ChainUnknown(block="?", problem="has no header of ours") from None
        if block.fields["key"] not in self._keys:
            problem = f"is signed by the key {block.fields['key']}, and this sealer's is {self._signer.public.id}"
            raise ChainUnknown(block=block.number, problem=problem)
        if not signed_by(self._keys, block.fields["key"], signed_message(header), block.signature):
            raise ChainUnknown(block=block.number, problem="has a wrong signature")
        return block

    def _lost(self) -> dict[str, Any] | None:
        """Hold the chain's end against the head exported last; raises HeadLost unless a restore was accepted."""
        written = self._heads.written
        there = self.newest
        lost = there < written.number or (
            self._newest is not None and there == written.number and self._newest.hash != written.hash
        )
        if not lost and there > written.number > 0:
            first = read_heads_after(self._database, written.number - 1, self._signer.public.hex, 1)[0].block
            lost = written.hash not in (first.hash, (first.fields["lost"] or {}).get("hash"))
        if lost and not self._restore_reason:
            raise HeadLost(block=written.number)
        if not lost:
            if self._restore_reason:
                raise NothingLost
            return None
        return {"block": written.number, "hash": written.hash, "reason": self._restore_reason}

    def _append(self, rows: list[tuple[Any, ...]], after: Position, lost: dict[str, Any] | None) -> bool:
        lines = [events.encode(row[1:]) for row in rows]
        entries, leaves = Entries.of(lines), merkle.leaf_hashes(lines)
        manifest = code.manifest((row[0], row[1]) for row in self._database.read(code.STATEMENT))
        code_hash = code.manifest_hash(manifest)
        number = max(self.newest, lost["block"] if lost else 0) + 1
        header = write_header(
            self._newest, after, entries, leaves, number=number, code=code_hash.hex(), key=self._signer.public.id,
            sealed_at=int(self._clock() * 1e6), lost=lost,
        )  # fmt: skip
        signature = self._signer.sign(signed_message(header))
        added = self._database.call(
            "append_block", header, signature, entries.pack(), leaves, code_hash, manifest
        )[0][0]  # fmt: skip
        if not added:
            return False
        if self._code and self._code != code_hash.hex():
            fields = {"block": number, "code": code_hash.hex()}
            LOG.warning("sealer.code_changed", extra={"fields": fields})
        self._newest, self._code = Block.parse(header, signature), code_hash.hex()
        self._restore_reason = "" if lost else self._restore_reason
        return True


def _position(before: Position, database: str, rows: list[tuple[Any, ...]], *, crosses: bool) -> Position:
    """Return how far events are sealed once these rows are, which stand in order."""
    horizon, ids = int(rows[0][0]), [row[1] for row in rows]
    top = max(before.top, *ids)
    if not crosses:
        return replace(before, database=database, xid=int(rows[-1][2]), id=ids[-1], top=top)
    foreign = [row[1] for row in rows if int(row[2]) >= horizon]
    return Position(database, floor=max([before.top, *foreign]), xid=horizon, id=0, top=top)


def read_heads_after(database: Database, number: int, public_key: str, most: int = MOST_HEADS) -> list[Head]:
    """Return the next heads after a block; raises DatabaseAway, DatabaseRefused."""
    rows = database.call("sealed_heads", number, most)
    return [Head(header, bytes(signature), public_key) for _, header, signature in rows]
