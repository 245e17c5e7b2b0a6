"""The chain of headers: numbers, hashes, signatures, exported heads.

Invariants: a header is believed when a trusted head or a trusted key's signature vouches for it or for one behind it,
for each holds the hash of the one before. So a signature in every SIGNATURES_EVERY headers, at the ends and wherever
the key changes is enough, and when one is wrong all since the last right one are checked, to name the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.audit.blocks import Block, signed_message
from esl_shield.audit.events import moment
from esl_shield.audit.findings import Finding
from esl_shield.audit.signing import signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from esl_shield.audit.findings import Report
    from esl_shield.audit.heads import Head
    from esl_shield.audit.signing import PublicKey
    from esl_shield.audit.source import Row

SIGNATURES_EVERY = 64


@dataclass(frozen=True)
class CodeChange:
    """From which block on the functions and rights were others."""

    block: int
    sealed_at: str
    before: str
    after: str


class Chain:
    """Walks headers in order and notes what is wrong with them."""

    def __init__(self, report: Report, keys: Mapping[str, PublicKey], heads: Iterable[Head]) -> None:
        self._report = report
        self._keys = keys
        self._heads = _Heads(heads)
        self._unchecked: list[Block] = []
        self.previous: Block | None = None
        self.first_previous: Block | None = None
        self.changes: list[CodeChange] = []
        self.ceilings: list[tuple[int, int]] = []  # (block that begins another cluster, highest id sealed before)

    def begin(self, before: Block | None) -> None:
        """Start behind a block, which the next one's hash vouches for."""
        self.previous = self.first_previous = before

    def walk(self, rows: Iterable[Row]) -> Iterator[Block]:
        """Yield every header that can be read, once it was held against its neighbours and the heads."""
        for row in rows:
            block = self._read(row)
            if block is None:
                continue
            self._follow(block)
            self._hold_against_head(block)
            self._check_signature(block)
            self.previous = block
            yield block
        self._check_all()

    def end(self) -> None:
        """Find heads of blocks beyond the last one."""
        last = self.previous.number if self.previous else 0
        beyond = list(self._heads.beyond(last))
        if beyond:
            first, newest = beyond[0], beyond[-1]
            at = moment(newest.fields["sealed_at"])
            what = f"the chain ends with block {last}, and block {newest.number}, sealed {at}, was exported"
            self._report.find(Finding("truncated", what, first.number, at=moment(first.fields["sealed_at"])))

    def _read(self, row: Row) -> Block | None:
        try:
            block = Block.parse(row.header, row.signature)
        except (ValueError, KeyError, TypeError):
            self._report.find(Finding("block_replaced", f"block {row.number} has no header of ours", row.number))
            return None
        if block.number != row.number:
            what = f"what stands as block {row.number} is block {block.number}"
            self._report.find(Finding("block_replaced", what, row.number))
        return block

    def _follow(self, block: Block) -> None:
        last, lost = self.previous, block.fields["lost"]
        expected = (last.number if last else 0) + 1
        if lost:
            what = f"blocks {expected} to {lost['block']} were lost in a restore, accepted with block {block.number}"
            self._report.notices.append(f"{what}: {lost['reason']}")
        elif block.number > expected:
            one = block.number == expected + 1
            which = f"block {expected} is" if one else f"blocks {expected} to {block.number - 1} are"
            self._report.find(Finding("block_missing", f"{which} missing", expected))
        if (last.hash if last else "") != block.fields["previous"] and block.number <= expected:
            what = f"block {block.number} does not follow the block {expected - 1} that is there: one was replaced"
            self._report.find(Finding("chain_broken", what, block.number, at=moment(block.fields["sealed_at"])))
        if last is None or last.fields["code"] != block.fields["code"]:
            at = moment(block.fields["sealed_at"])
            before = last.fields["code"] if last else ""
            self.changes.append(CodeChange(block.number, at, before, block.fields["code"]))
        if last is not None and last.fields["database"] != block.fields["database"]:
            self.ceilings.append((block.number, last.fields["top"]))

    def _hold_against_head(self, block: Block) -> None:
        for missing in self._heads.before(block.number):
            at = moment(missing.fields["sealed_at"])
            lost = block.fields["lost"]
            why = f"lost in the restore that was accepted with block {block.number}" if lost else "not in the database"
            what = f"block {missing.number}, sealed {at}, was exported and is {why}"
            self._report.find(Finding("restored" if lost else "block_missing", what, missing.number, at=at))
        head = self._heads.at(block.number)
        if head is not None and head.hash != block.hash:
            at = moment(head.fields["sealed_at"])
            what = f"block {block.number} is not the one whose head was exported: the chain was forked or rolled back"
            self._report.find(Finding("forked", what, block.number, at=at))

    def _check_signature(self, block: Block) -> None:
        new_key = self.previous is None or self.previous.fields["key"] != block.fields["key"]
        if new_key:
            self._check_all()
        self._unchecked.append(block)
        if new_key or len(self._unchecked) >= SIGNATURES_EVERY:
            self._check_all()

    def _check_all(self) -> None:
        """Check the newest of the unchecked; when it fails, name the first that does."""
        waiting, self._unchecked = self._unchecked, []
        if not self._keys or not waiting or self._is_signed(waiting[-1]):
            return
        first = next(block for block in waiting if not self._is_signed(block))
        known = first.fields["key"] in self._keys
        why = "has a wrong signature" if known else f"is signed by the key {first.fields['key']}, which is not trusted"
        at = moment(first.fields["sealed_at"])
        self._report.find(Finding("signature_wrong", f"block {first.number} {why}", first.number, at=at))

    def _is_signed(self, block: Block) -> bool:
        return signed_by(self._keys, block.fields["key"], signed_message(block.header), block.signature)


class _Heads:
    """Exported heads in the order of their blocks; the same head may come twice."""

    def __init__(self, heads: Iterable[Head]) -> None:
        self._heads = (head.block for head in heads)
        self._next = next(self._heads, None)

    def before(self, number: int) -> Iterator[Block]:
        while self._next is not None and self._next.number < number:
            yield self._take()

    def at(self, number: int) -> Block | None:
        return self._take() if self._next is not None and self._next.number == number else None

    def beyond(self, number: int) -> Iterator[Block]:
        while self._next is not None:
            head = self._take()
            if head.number > number:
                yield head

    def _take(self) -> Block:
        """Return the next head and go on to one of a later block."""
        taken = self._next
        assert taken is not None  # noqa: S101 - callers asked
        self._next = next((head for head in self._heads if head.number > taken.number), None)
        return taken
