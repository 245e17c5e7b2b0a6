"""One search: files into parts, parts into windows, windows into hits, hits into findings.

Invariants: a finding is told once, when the vault has said which token it is; a window overlaps its neighbours by more
than the longest spelling, and each place belongs to one window, so a number across two is found once at its exact
offset; a name that holds a number is told with stars for its digits.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from esl_shield.audit.leakscan.contents import Closed, parts
from esl_shield.audit.leakscan.digits import Cutter, Shape
from esl_shield.audit.leakscan.parts import CHUNK_BYTES, Allowance, Unread
from esl_shield.audit.leakscan.spellings import Speller
from esl_shield.audit.leakscan.walk import File, Missing, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from esl_shield.audit.leakscan.parts import Part, Reader
    from esl_shield.audit.leakscan.spellings import Hit

# More than a spelled number and the reach of its sign, before and behind.
AHEAD_BYTES = 1024
BACK_BYTES = 256
MOST_PENDING = 2000
MEMBER = "!"
_HIDDEN = b"*"


class Leaked(Protocol):
    """The token a number of the vault has."""

    @property
    def tenant(self) -> str:
        """The tenant's name."""

    @property
    def token(self) -> str:
        """The token."""


class Suspect(Protocol):
    """What may be a number of the vault."""

    @property
    def answered(self) -> bool:
        """Whether the vault has said what it is."""

    @property
    def token(self) -> Leaked | None:
        """What it is, None for nothing."""


class Finder(Protocol):
    """Says which digits are a number of the vault."""

    @property
    def shape(self) -> Shape:
        """What the digits of its numbers look like."""

    @property
    def least(self) -> int:
        """The fewest digits a number has when nothing but digits is written."""

    def read(self, digits: bytes) -> Sequence[Any]:
        """Return the suspects a run of digits may be."""

    def ask(self, suspects: Collection[Any]) -> None:
        """Have them answered."""


class Finding(NamedTuple):
    """A number of the vault and where it stands: never the number.

    ``file`` names members of archives behind ``!``; ``line`` counts from 1 and is there for text; ``offset`` counts
    bytes of the part, unpacked, from 0; ``place`` is a packet or a row.
    """

    file: str
    line: int | None
    offset: int | None
    place: str | None
    spelling: str
    tenant: str
    token: str


@dataclass
class Totals:
    """What a search came to. ``bytes`` are those searched, unpacked; ``position`` those of the files themselves."""

    files: int = 0
    bytes: int = 0
    position: int = 0
    findings: int = 0
    unread: int = 0
    left_out: int = 0


class Scan:
    """Searches paths and streams; ``found`` is told findings, ``unread`` a name and why, ``moved`` comes often.

    ``searched`` is told each file: its path, its name without numbers, the open descriptor, its state before.
    """

    def __init__(
        self, finder: Finder, found: Callable[[Finding], None], unread: Callable[[str, str], None],
        moved: Callable[[Totals], None] = lambda _: None,
        searched: Callable[[str, str, int, os.stat_result], None] = lambda *_: None,
    ) -> None:  # fmt: skip
        self.totals = Totals()
        self._finder = finder
        self._speller = Speller(Cutter(finder.shape, finder.least))
        self._found = found
        self._tell_unread = unread
        self._moved = moved
        self._tell_searched = searched
        self._pending: list[tuple[Any, Finding]] = []

    def path(self, path: Path) -> None:
        """Search a file, or all files below a folder."""
        for entry in walk(path):
            if isinstance(entry, Missing):
                self._unread(self._name((str(entry.path),)), entry.reason)
                continue
            before = self.totals.position
            self._entry(entry)
            self.totals.position = before + entry.size
            self._moved(self.totals)

    def stream(self, source: Reader, name: str) -> None:
        """Search what comes out of a pipe, to its end."""
        self.totals.files += 1
        self._parts((name,), source, Allowance.of(1 << 62), None)

    def _entry(self, entry: File) -> None:
        path = str(entry.path)
        name = (f"{path} -> {entry.target}",) if entry.target else (path,)
        told = self._name(name, own=len(path) - len(entry.path.name))
        if not entry.regular:
            self.totals.left_out += not entry.target and not entry.path.is_dir()
            return
        try:
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # rotated away meanwhile
        except OSError as error:
            self._unread(self._name(name), error.strerror or "it cannot be opened")
            return
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            state = os.fstat(descriptor)
            if stat.S_ISREG(state.st_mode):
                self.totals.files += 1
                # What is written to it from now on is the next search's: a file that grows faster would never end.
                source = _Counted(stream, state.st_size, self.totals)
                self._parts(name, source, Allowance.of(state.st_size), entry.path)
                self._tell_searched(path, told, descriptor, state)

    def _parts(self, name: tuple[str, ...], source: Reader, allowance: Allowance, path: Path | None) -> None:
        last, told = name, ""
        try:
            for part in parts(name, source, allowance, path):
                if part.name != last:
                    self._name(part.name, own=len(MEMBER.join(part.name[:-1])))
                    last = part.name
                told = self._searched(part)
        except Unread as error:
            if not told:  # else the archive ends where its last member did
                self._unread(self._name(last), str(error))
        except OSError as error:
            self._unread(self._name(last), error.strerror or "it cannot be read")

    def _searched(self, part: Part | Closed) -> str:
        """Search a part; return why it could not be read to its end, if so."""
        if isinstance(part, Closed):
            self._unread(self._name(part.name), part.reason)
            return part.reason
        try:
            self._part(part)
        except Unread as error:
            self._unread(self._name(part.name), str(error))
            return str(error)
        finally:
            self._flush()
        return ""

    def _part(self, part: Part) -> None:
        name, line, text = "", 1, True
        for data, base, begin, end in _windows(part.source):
            text = text and b"\0" not in data
            known: set[tuple[int, int]] = set()
            for hit in self._speller.hits(data, begin, end):
                for suspect in self._finder.read(hit.digits):
                    if suspect.answered and suspect.token is None:
                        continue
                    if not _is_new(hit, id(suspect), known):
                        continue
                    name = name or self._name(part.name)
                    offset = base + hit.start
                    number = line + data.count(b"\n", begin, hit.start) if text and part.place is None else None
                    place = part.place(offset) if part.place else None
                    self._suspect(
                        suspect, Finding(name, number, None if place else offset, place, hit.spelling, "", "")
                    )
            line += data.count(b"\n", begin, end)
            self.totals.bytes += end - begin
            self._moved(self.totals)

    def _suspect(self, suspect: Any, finding: Finding) -> None:
        self._pending.append((suspect, finding))
        if suspect.answered or len(self._pending) >= MOST_PENDING:
            self._flush()

    def _flush(self) -> None:
        """Have what is pending answered and tell what was found; in the order it was found."""
        pending, self._pending = self._pending, []
        self._finder.ask([suspect for suspect, _ in pending if not suspect.answered])
        for suspect, finding in pending:
            if suspect.token is not None:
                self._tell(finding._replace(tenant=suspect.token.tenant, token=suspect.token.token))

    def _name(self, name: tuple[str, ...], own: int | None = None) -> str:
        """Return how a name is told: without the numbers of the vault in it; those from ``own`` on are findings."""
        shown = MEMBER.join(name)
        data = os.fsencode(shown)
        hits = list(self._speller.hits(data, 0, len(data)))
        suspects = [(hit, suspect) for hit in hits for suspect in self._finder.read(hit.digits)]
        self._finder.ask([suspect for _, suspect in suspects if not suspect.answered])
        masked, known, found = bytearray(data), set[tuple[int, int]](), []
        for hit, suspect in suspects:
            if suspect.token is not None and _is_new(hit, id(suspect), known):
                masked[hit.start : hit.end] = _HIDDEN * (hit.end - hit.start)
                if own is not None and hit.start >= own:
                    found.append((hit.spelling, suspect.token))
        told = os.fsdecode(bytes(masked))
        for spelling, token in found:
            self._tell(Finding(told, None, None, "name", spelling, token.tenant, token.token))
        return told

    def _tell(self, finding: Finding) -> None:
        self.totals.findings += 1
        self._found(finding)

    def _unread(self, name: str, reason: str) -> None:
        self.totals.unread += 1
        self._tell_unread(name, reason)


class _Counted:
    """A file up to the size it had when it was opened."""

    def __init__(self, stream: Any, size: int, totals: Totals) -> None:
        self._stream = stream
        self._left = size
        self._size = size
        self._totals = totals

    def read(self, size: int, /) -> bytes:
        data: bytes = self._stream.read(min(size, self._left))
        self._left -= len(data)
        self._totals.position += len(data)
        return data


def _windows(source: Reader) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield bytes, the offset of the first, and from where to where places are this window's.

    Raises Unread after all that could be read was given.
    """
    data, base, begin = b"", 0, 0
    while True:
        piece, damage = _piece(source)
        more = len(piece) >= CHUNK_BYTES
        data += piece
        end = max(begin, len(data) - AHEAD_BYTES) if more else len(data)
        if end > begin:
            yield data, base, begin, end
        if damage is not None:
            raise damage
        if not more:
            return
        cut = max(0, end - BACK_BYTES)
        data, base, begin = data[cut:], base + cut, end - cut


def _piece(source: Reader) -> tuple[bytes, Unread | None]:
    """Read a chunk, or less where the source ends or is damaged."""
    parts_, length = [], 0
    try:
        while length < CHUNK_BYTES and (part := source.read(CHUNK_BYTES - length)):
            parts_.append(part)
            length += len(part)
    except Unread as damage:
        return b"".join(parts_), damage
    return b"".join(parts_), None


def _is_new(hit: Hit, suspect: int, known: set[tuple[int, int]]) -> bool:
    """Whether a suspect was not found here before: once with its country code, once without, is once."""
    if any((place, suspect) in known for place in range(hit.start, hit.end)):
        return False
    known.update((place, suspect) for place in range(hit.start, hit.end))
    return True
