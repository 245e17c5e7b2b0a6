"""The search after the calls: files that came to rest, for every number of the vault and for the canaries' exactly.

Invariants: the scanner first has to find the canaries in a text that holds them; each file is told with the size and
SHA-256 of what was searched; a canary's exact number is searched for in more forms than any number can be, and told
once for a file.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esl_shield.audit.leakscan.scan import Finding, Scan
from esl_shield.audit.leakscan.walk import File, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from esl_shield.audit.leakscan.scan import Totals
    from esl_shield.service.canary.needles import Needles
    from esl_shield.vault.leaks import Leaks

_POLL_S = 0.2
_PIECE_BYTES = 1 << 20
_DIGITS = re.compile(r"[0-9]{5,}")
_UNREAD = "it changed or could not be read while it was searched"


@dataclass(frozen=True)
class Searched:
    """A file: its name without numbers, bytes searched and their SHA-256; ``changed`` while it was searched."""

    file: str
    bytes: int
    sha256: str
    changed: bool


@dataclass
class Outcome:
    """What a search came to: ``traces`` counts files that hold a token, by token."""

    files: list[Searched] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    traces: dict[str, int] = field(default_factory=dict)
    control: frozenset[str] = frozenset()
    on_the_wire: frozenset[str] | None = None
    quiet: bool = True


def settle(paths: Iterable[str], quiet_s: float, within_s: float) -> bool:
    """Wait until no file below the paths changed for ``quiet_s``; False when ``within_s`` was not enough."""
    end = time.monotonic() + within_s
    before, since = _state(paths), time.monotonic()
    while (now := time.monotonic()) - since < quiet_s:
        if now >= end:
            return False
        time.sleep(_POLL_S)
        state = _state(paths)
        if state != before:
            before, since = state, time.monotonic()
    return True


def _state(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    found = {}
    for path in _regular(paths):
        try:
            state = path.stat()
        except OSError:
            continue  # rotated away; the search says what it cannot read
        found[str(path)] = (state.st_size, state.st_mtime_ns)
    return found


class Search:
    """One search; ``moved`` is called often, ``outcome`` grows while it runs, so an interruption loses nothing."""

    def __init__(self, leaks: Leaks, needles: Needles, moved: Callable[[Totals], None]) -> None:
        self.outcome = Outcome()
        self._leaks, self._needles, self._moved = leaks, needles, moved
        self._names: dict[str, str] = {}

    def control(self) -> None:
        """Search a text that holds the canaries' numbers."""
        found: set[str] = set()
        scan = Scan(self._leaks, lambda finding: found.add(finding.token), lambda *_: None)
        scan.stream(io.BytesIO(self._needles.control()), "control")
        self.outcome.control = frozenset(found & set(self._needles.tokens))

    def paths(self, paths: Sequence[str]) -> Totals:
        """Search for every number of the vault, then for the canaries'."""
        outcome = self.outcome
        scan = Scan(
            self._leaks, outcome.findings.append, lambda name, why: outcome.unread.append((name, why)), self._moved
        )
        before = [(path, *hashed) for path in _regular(paths) if (hashed := self._hashed(path))]
        for path in paths:
            scan.path(Path(path))
        self._names = {str(file): scan.told(str(file)) for file, _, _ in before}
        self._exactly(paths)
        for file, state, sha256 in before:
            self._note(file, state, sha256)
        return scan.totals

    def wire(self, paths: Sequence[str]) -> None:
        """Look for the canaries in captures of the carrier's side, where they must be."""
        found: set[str] = set()
        scan = Scan(
            self._leaks, lambda finding: found.add(finding.token),
            lambda name, why: self.outcome.unread.append((name, why)), self._moved,
        )  # fmt: skip
        for path in paths:
            scan.path(Path(path))
        self.outcome.on_the_wire = frozenset(found & set(self._needles.tokens))

    def _exactly(self, paths: Sequence[str]) -> None:
        known = {(finding.file.partition("!")[0], finding.token) for finding in self.outcome.findings}
        traces: dict[str, set[str]] = {token: set() for token in self._needles.tokens}
        for path in paths:
            try:
                for raw, offset, token, form in self._needles.in_tree(Path(path), traces):
                    name = self._names.get(raw) or _DIGITS.sub("*", raw)
                    if (name, token) not in known:
                        known.add((name, token))
                        self.outcome.findings.append(Finding(name, None, offset, None, form, "", token))
            except OSError as error:
                self.outcome.unread.append((_DIGITS.sub("*", path), error.strerror or _UNREAD))
        self.outcome.traces = {token: len(files) for token, files in traces.items()}

    def _hashed(self, path: Path) -> tuple[os.stat_result, str] | None:
        """Return a file's state and the SHA-256 of what it holds now; None if it cannot be read, which Scan tells."""
        digest, left = hashlib.sha256(), 0
        try:
            with path.open("rb") as stream:
                state = os.fstat(stream.fileno())
                left = state.st_size
                while left and (piece := stream.read(min(_PIECE_BYTES, left))):
                    digest.update(piece)
                    left -= len(piece)
        except OSError:
            return None
        return state, digest.hexdigest()

    def _note(self, path: Path, before: os.stat_result, sha256: str) -> None:
        """Tell a file, and whether what was hashed is what was searched: appended to is, replaced or cut is not."""
        name = self._names[str(path)]
        try:
            after = path.stat()
        except OSError:
            after = None
        if after is None or after.st_ino != before.st_ino or after.st_size < before.st_size:
            self.outcome.unread.append((name, _UNREAD))
        changed = after is None or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
        self.outcome.files.append(Searched(name, before.st_size, sha256, changed))


def _regular(paths: Iterable[str]) -> Iterator[Path]:
    """Yield each file once."""
    seen: set[Path] = set()
    for path in paths:
        for entry in walk(Path(path)):
            if isinstance(entry, File) and entry.regular and entry.path not in seen:
                seen.add(entry.path)
                yield entry.path


def as_fields(finding: Finding) -> dict[str, Any]:
    """Return a finding as it stands in a report."""
    return finding._asdict()
