"""A sealed block against the events that are there: which was edited, removed, inserted, swapped, reordered.

Invariants: leaves that lead to the signed root are believed, and entries whose hash the header holds; where one of both
was replaced the other still names events, and where both were, the block is named.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from esl_shield.audit import merkle
from esl_shield.audit.blocks import Block, Entries
from esl_shield.audit.events import checksums
from esl_shield.audit.findings import Finding, differing, present_event, sealed_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esl_shield.audit.source import Row, Source


class Sealed:
    """A stored block, and what of it is as signed."""

    def __init__(self, row: Row, block: Block) -> None:
        self.block = block
        self.leaves = row.leaves
        self.leaves_hold = len(row.leaves) == merkle.SIZE * block.count and (
            merkle.root(row.leaves).hex() == block.fields["root"]
        )
        self.entries: Entries | None = None
        if sha256(row.entries).hexdigest() == block.fields["entries"]:
            self.entries = Entries.unpack(row.entries)

    def leaves_since(self, since_us: int | None) -> bytes:
        """Return the leaves of the events from a moment on."""
        if since_us is None or self.entries is None:
            return self.leaves
        kept = [n for n, at in enumerate(self.entries.ats) if at >= since_us]
        return b"".join(self.leaves[n * merkle.SIZE : (n + 1) * merkle.SIZE] for n in kept)

    def storage_findings(self) -> Iterator[Finding]:
        """Yield what of the stored block itself was replaced."""
        number = self.block.number
        if self.entries is None:
            yield Finding("block_replaced", f"the entries of block {number} are not those it signed", number)
        if not self.leaves_hold:
            yield Finding("block_replaced", f"the leaf hashes of block {number} do not lead to its root", number)


def compare(sealed: Sealed, lines: Sequence[bytes], source: Source, since_us: int | None) -> Iterator[Finding]:
    """Yield what differs between a block and the events in its place, the first first."""
    number, entries = sealed.block.number, sealed.entries
    if merkle.leaf_hashes(lines) and merkle.root(merkle.leaf_hashes(lines)).hex() == sealed.block.fields["root"]:
        return
    if entries is None:
        yield from _without_entries(sealed, lines)
        return
    there = {int(line.split(b"\t", 1)[0]): line for line in lines}
    places = {event: n for n, event in enumerate(entries.ids)}
    edited = [
        n for event, n in places.items()
        if event in there and not _as_sealed(sealed, entries, n, there[event])
    ]  # fmt: skip
    swapped = dict(_swapped(entries, edited, there))
    findings = [
        (entries.xids[n], event, _gone(sealed, entries, n, source)) for event, n in places.items()
        if event not in there and (since_us is None or entries.ats[n] >= since_us)
    ]  # fmt: skip
    findings += [(entries.xids[n], entries.ids[n], _edited(number, entries, n, there, swapped)) for n in edited]
    for event in there.keys() - places.keys():
        xid = int(there[event].split(b"\t", 2)[1])
        what = f"event {event} stands among the events of block {number}, which did not seal it"
        findings.append((xid, event, present_event("inserted", what, number, there[event])))
    for _, _, finding in sorted(findings, key=lambda found: found[:2]):
        yield finding


def _as_sealed(sealed: Sealed, entries: Entries, index: int, line: bytes) -> bool:
    if sealed.leaves_hold:
        at = index * merkle.SIZE
        return sealed.leaves[at : at + merkle.SIZE] == merkle.leaf_hashes([line])
    return not differing(entries, index, line)


def _swapped(entries: Entries, edited: Sequence[int], there: dict[int, bytes]) -> Iterator[tuple[int, int]]:
    """Yield pairs of edited events, each of which has what was sealed of the other."""
    sealed = {tuple(column[n] for column in entries.checks): n for n in edited}
    for n in edited:
        now = tuple(checksums(there[entries.ids[n]]))
        other = sealed.get(now)
        if other is not None and other != n:
            back = tuple(checksums(there[entries.ids[other]]))
            if sealed.get(back) == n:
                yield n, other


def _gone(sealed: Sealed, entries: Entries, n: int, source: Source) -> Finding:
    event, number = entries.ids[n], sealed.block.number
    line = source.event(event)
    if line is None:
        return sealed_event("removed", f"event {event} of block {number} is gone", number, entries, n)
    columns = ", ".join(differing(entries, n, line)) or "order"
    what = f"event {event} of block {number} stands at another place: its {columns} changed"
    return sealed_event("reordered", what, number, entries, n)


def _edited(
    number: int, entries: Entries, n: int, there: dict[int, bytes], swapped: dict[int, int]
) -> Finding:  # fmt: skip
    event = entries.ids[n]
    if n in swapped:
        other = entries.ids[swapped[n]]
        what = f"event {event} of block {number} has what was sealed as event {other}: they were swapped"
        return sealed_event("swapped", what, number, entries, n)
    columns = differing(entries, n, there[event])
    kind = "reordered" if "xid" in columns else "edited"
    told = f"its {', '.join(columns)} changed" if columns else "its text changed"
    return sealed_event(kind, f"event {event} of block {number} is not as it was sealed: {told}", number, entries, n)


def _without_entries(sealed: Sealed, lines: Sequence[bytes]) -> Iterator[Finding]:
    """Name the first event that differs by its place alone."""
    number, leaves = sealed.block.number, merkle.leaf_hashes(lines)
    if sealed.leaves_hold:
        for n, line in enumerate(lines):
            at = n * merkle.SIZE
            if leaves[at : at + merkle.SIZE] != sealed.leaves[at : at + merkle.SIZE]:
                what = f"event {n + 1} of {sealed.block.count} in block {number} is not the one that was sealed there"
                yield present_event("edited", what, number, line)
                return
    count = f"{len(lines)} events stand where {sealed.block.count} were sealed"
    yield Finding("edited", f"the events of block {number} are not those it sealed ({count}), nor is its list", number)
