"""Proving a range of the audit trail from what was exported, without trusting the database.

Invariants: what is trusted is given from outside: exported heads, public keys, hashes of accepted code; a block that
could not be proved is a finding, never passed over; memory holds a group of blocks at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from esl_shield.audit import code, merkle
from esl_shield.audit.blocks import Block, Position
from esl_shield.audit.chain import Chain
from esl_shield.audit.compare import Sealed, compare
from esl_shield.audit.decrypts import TOLERANCE_S
from esl_shield.audit.findings import Finding, Report, present_event
from esl_shield.audit.heads import read_heads
from esl_shield.audit.signing import PublicKey
from esl_shield.errors.sealing import EvidenceUnreadable, NothingSealed, TrustMissing, ViewIncomplete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esl_shield.audit.chain import CodeChange
    from esl_shield.audit.decrypts import Redemptions
    from esl_shield.audit.heads import Head
    from esl_shield.audit.source import Sealing, Source

GROUP_EVENTS = 20_000
GROUP_BLOCKS = 512
LATE_S = 60.0
LAST = 2**62


@dataclass(frozen=True)
class Trust:
    """What is believed: files of exported heads, public keys, hashes of code that was put there on purpose."""

    heads: str | None = None
    keys: tuple[PublicKey, ...] = ()
    code: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Extent:
    """Which blocks are proved; events from before ``since_us`` were detached on purpose."""

    first: int = 1
    last: int = LAST
    since_us: int | None = None


@dataclass
class Verification:
    """One verification over one source; ``show`` is told how many events were compared."""

    source: Source
    trust: Trust
    extent: Extent = field(default_factory=Extent)
    redemptions: Redemptions | None = None
    show: Callable[[int], None] = lambda events: None  # noqa: ARG005
    report: Report = field(default_factory=Report)

    def run(self) -> Report:
        """Verify; raises TrustMissing, ViewIncomplete, NothingSealed, EvidenceUnreadable, DatabaseAway."""
        if not self.trust.heads and not self.trust.keys:
            raise TrustMissing
        sealing = self.source.sealing()
        if not sealing.sees_all:
            raise ViewIncomplete
        if sealing.blocks is None and self.trust.heads is None:
            raise NothingSealed(problem="no event is sealed yet; is esl-shield sealer running?")
        chain = self._walk_headers()
        self._compare_events(chain)
        self._judge_code(chain.changes)
        if self.redemptions is not None:
            self._judge_decrypts(chain, self.redemptions)
        if self.extent.last == LAST:
            self._judge_end(sealing, chain.previous.position if chain.previous else Position())
        return self.report

    def _walk_headers(self) -> Chain:
        keys = self.trust.keys or tuple(_keys_of(self.trust.heads or ""))
        chain = Chain(self.report, {key.id: key for key in keys}, self._heads_in_extent())
        before = self.source.block_before(self.extent.first)
        chain.begin(Block.parse(before.header, before.signature) if before else None)
        for _ in chain.walk(self.source.headers(self.extent.first, self.extent.last)):
            self.report.blocks += 1
        if self.extent.last == LAST:
            chain.end()
        return chain

    def _heads_in_extent(self) -> Iterator[Head]:
        if self.trust.heads:
            for head in read_heads(self.trust.heads):
                if self.extent.first <= head.block.number <= self.extent.last:
                    yield head

    def _compare_events(self, chain: Chain) -> None:
        before = self.source.block_before(self.extent.first)
        last = Block.parse(before.header, before.signature) if before else None
        position = last.position if last else Position()  # up to which events were compared
        end, number = position, last.number if last else 0  # of the block before
        group: list[Sealed] = []
        for sealed in self._sealed_blocks():
            crosses = end.database not in ("", sealed.block.fields["database"])
            gap = sealed.block.number != number + 1 and not sealed.block.fields["lost"]
            if group and (crosses or gap or len(group) >= GROUP_BLOCKS or _events(group) >= GROUP_EVENTS):
                self._compare_group(chain, position, group)
                position, group = end, []
            if gap and sealed.entries and not crosses:  # events of blocks that are missing are nobody's here
                position = replace(
                    sealed.block.position, xid=sealed.entries.xids[0], id=sealed.entries.ids[0] - 1
                )  # fmt: skip
            group.append(sealed)
            end, number = sealed.block.position, sealed.block.number
            if crosses:
                self._compare_group(chain, position, group)
                position, group = end, []
        if group:
            self._compare_group(chain, position, group)

    def _sealed_blocks(self) -> Iterator[Sealed]:
        for row in self.source.blocks(self.extent.first, self.extent.last):
            try:
                block = Block.parse(row.header, row.signature)
            except (ValueError, KeyError, TypeError):
                continue  # the walk over the headers told
            sealed = Sealed(row, block)
            for finding in sealed.storage_findings():
                self.report.find(finding)
            yield sealed

    def _compare_group(self, chain: Chain, before: Position, group: Sequence[Sealed]) -> None:
        """Hold the events between two positions against the blocks that sealed them, all at once if they agree."""
        after, since_us = group[-1].block.position, self.extent.since_us
        ceiling = next((top for block, top in chain.ceilings if block > group[-1].block.number), None)
        lines = self.source.lines(before, after, since_us=since_us, ceiling=ceiling)
        expected = b"".join(sealed.leaves_since(since_us) for sealed in group)
        if merkle.leaf_hashes(lines) != expected or not all(s.leaves_hold and s.entries for s in group):
            self._compare_each(before, group, lines)
        self.report.events += len(lines)
        if self.redemptions is not None:
            self.redemptions.take(lines)
        self.show(self.report.events)

    def _compare_each(self, before: Position, group: Sequence[Sealed], lines: list[bytes]) -> None:
        """Give each block the events in its place."""
        at = 0
        for sealed in group:
            start, upto = at, (sealed.block.position.xid, sealed.block.position.id)
            crosses = before.database not in ("", sealed.block.fields["database"])
            while at < len(lines) and (crosses or _order(lines[at]) <= upto):
                at += 1
            before = sealed.block.position
            for finding in compare(sealed, lines[start:at], self.source, self.extent.since_us):
                self.report.find(finding)

    def _judge_decrypts(self, chain: Chain, redemptions: Redemptions) -> None:
        """Compare up to a few seconds ago, with the events that are not sealed yet."""
        if chain.previous is not None:
            redemptions.take(self.source.unsealed(chain.previous.position))
        since = (self.extent.since_us or 0) // 1_000_000
        if chain.first_previous is not None:
            since = max(since, chain.first_previous.fields["sealed_at"] // 1_000_000)
        redemptions.compare(since + TOLERANCE_S, self.source.now() - 2 * TOLERANCE_S)

    def _judge_code(self, changes: Sequence[CodeChange]) -> None:
        manifests = self.source.manifests()
        for change in changes:
            if code.manifest_hash(manifests.get(change.after, "")).hex() != change.after:
                what = f"what block {change.block} says functions and rights were is not in the database any more"
                self.report.find(Finding("code_unknown", what, change.block, at=change.sealed_at))
            elif change.before and change.after not in self.trust.code:
                self._judge_change(change, manifests)
        if changes and self.extent.last == LAST:
            self._judge_code_now(changes[-1], manifests.get(changes[-1].after, ""))

    def _judge_change(self, change: CodeChange, manifests: dict[str, str]) -> None:
        for thing, how in code.differences(manifests.get(change.before, ""), manifests[change.after]):
            what = f"{thing} {how}, since block {change.block}, sealed {change.sealed_at} (code {change.after})"
            self.report.find(Finding("code_changed", what, change.block, at=change.sealed_at))

    def _judge_code_now(self, last: CodeChange, sealed: str) -> None:
        now = self.source.manifest_now()
        for thing, how in code.differences(sealed, now):
            what = f"{thing} {how}, since the last block"
            self.report.find(Finding("code_changed", what))
        if code.manifest_hash(now).hex() not in self.trust.code:
            for thing in code.foreign_functions(now):
                what = f"{thing} is not what this release ships, since block {last.block} at the latest"
                self.report.find(Finding("code_foreign", what, last.block, at=last.sealed_at))

    def _judge_end(self, sealing: Sealing, end: Position) -> None:
        for line in self.source.unbegun(sealing.next_xid, end.floor):
            what = "an event claims a transaction that has not begun"
            self.report.find(present_event("inserted", what, None, line))
        if sealing.waiting:
            late = (sealing.lag_s or 0) > LATE_S
            word = "the sealer is late or stopped: " if late else ""
            self.report.notices.append(
                f"{word}{sealing.waiting} events are not sealed yet, the oldest for {sealing.lag_s or 0:.0f} s"
            )


def read_public_key(path: str) -> PublicKey:
    """Read a public key's file, 64 hex digits; raises SealingKeyUnusable, EvidenceUnreadable."""
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise EvidenceUnreadable(source=path, what="a public key", problem=problem) from None
    return PublicKey.parse(text, source=path)


def _keys_of(path: str) -> Iterator[PublicKey]:
    """Yield the keys the exported heads name."""
    for spelled in {head.public_key: None for head in read_heads(path)}:
        yield PublicKey.parse(spelled, source=path)


def _events(group: Sequence[Sealed]) -> int:
    return sum(sealed.block.count for sealed in group)


def _order(line: bytes) -> tuple[int, int]:
    event, xid, _ = line.split(b"\t", 2)
    return int(xid), int(event)
