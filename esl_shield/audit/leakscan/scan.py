"""One search for leaks: what was seen in files is asked of the vault, and what the vault knows is told.

Invariants: a finding is told once, when the vault has said which token it is, in the order of the files, whoever
searched them; a name that holds a number is told with stars for its digits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from esl_shield.audit.leakscan.search import MEMBER, Done, Left, Lost, Named, Opened, Search, Task, Window
from esl_shield.audit.leakscan.tasks import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from esl_shield.audit.leakscan.digits import Run, Shape
    from esl_shield.audit.leakscan.parts import Reader
    from esl_shield.audit.leakscan.search import Message, Seen
    from esl_shield.audit.leakscan.workers import Workers

MOST_PENDING = 2000
_HIDDEN = b"*"
# A number seen with its country code and without is one; so far behind nothing is the same any more.
_FAR_BYTES = 1024


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


@dataclass
class _Pending:
    """What may be a finding, once its suspect is answered."""

    suspect: Any
    name: tuple[str, ...]
    seen: Seen
    lines: bool
    records: bool


@dataclass
class _Account:
    """What is to be told of one task when all before it was told.

    ``stretch`` is set for one that goes on where the task before ended.
    """

    stretch: bool
    items: list[_Pending | Named | Lost] = field(default_factory=list)
    unasked: int = 0
    lines: int = 0
    text: bool = True
    done: bool = False
    part: tuple[str, ...] = ()
    records: bool = False
    known: set[tuple[int, int]] = field(default_factory=set)


class Scan:
    """Searches paths and streams; ``found`` is told findings, ``unread`` a name and why, ``moved`` comes often.

    ``workers`` search files beside each other; without any it is done here.
    """

    def __init__(
        self, finder: Finder, found: Callable[[Finding], None], unread: Callable[[str, str], None],
        moved: Callable[[Totals], None] = lambda _: None, workers: Workers | None = None,
    ) -> None:  # fmt: skip
        self.totals = Totals()
        self._finder = finder
        self._search = Search(finder.shape, finder.least)
        self._found = found
        self._tell_unread = unread
        self._moved = moved
        self._workers = workers
        if workers:
            workers.start(finder.shape, finder.least)
        self._accounts: dict[int, _Account] = {}
        self._head = 0
        self._lines, self._text = 0, True

    def path(self, path: Path) -> None:
        """Search a file, or all files below a folder."""
        self._reckon(self._workers.run(self._opened(path)) if self._workers else self._here(path))

    def told(self, name: str) -> str:
        """Return a file's name as it is told: without the numbers of the vault in it."""
        return self._name((name,))

    def stream(self, source: Reader, name: str) -> None:
        """Search what comes out of a pipe, to its end."""
        self._accounts = {0: _Account(stretch=False)}
        self._reckon((0, message) for message in self._search.stream(source, name))

    def _opened(self, path: Path) -> Iterator[Task | list[Message]]:
        """Yield tasks, and open an account for each."""
        self._accounts = {}
        for number, task in enumerate(tasks(path)):
            self._accounts[number] = _Account(stretch=isinstance(task, Task) and task.begin > 0)
            yield task

    def _here(self, path: Path) -> Iterator[tuple[int, Message]]:
        for number, task in enumerate(self._opened(path)):
            for message in self._search.task(task) if isinstance(task, Task) else task:
                yield number, message

    def _reckon(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Take messages as they come and tell what they hold in the order of their tasks."""
        self._head = 0
        try:
            for number, message in messages:
                account = self._accounts[number]
                self._take(account, message)
                if account.unasked >= MOST_PENDING:
                    self._ask(account)
                if number == self._head and (account.done or account.unasked == 0):
                    self._advance()
        except KeyboardInterrupt:
            for _, account in sorted(self._accounts.items()):
                self._tell_all(account)
            raise

    def _take(self, account: _Account, message: Message) -> None:
        if isinstance(message, Window):
            self._window(account, message)
        elif isinstance(message, Opened):
            self.totals.files += 1
        elif isinstance(message, Left):
            self.totals.left_out += 1
        elif isinstance(message, Done):
            account.done = True
        else:
            account.items.append(message)

    def _window(self, account: _Account, window: Window) -> None:
        if account.part != window.name or account.records != window.records:
            account.part, account.records, account.known = window.name, window.records, set()
        account.known = {(place, suspect) for place, suspect in account.known if place > window.begin - _FAR_BYTES}
        for seen in window.seen:
            for suspect in self._finder.read(seen.digits):
                if suspect.answered and suspect.token is None:
                    continue
                if not _is_new(seen, id(suspect), account.known):
                    continue
                account.items.append(_Pending(suspect, window.name, seen, window.text, window.records))
                account.unasked += not suspect.answered
        account.lines, account.text = window.lines, window.text
        self.totals.bytes += window.size
        self.totals.position += window.moved
        self._moved(self.totals)

    def _advance(self) -> None:
        """Tell what the first task that is not done has for now, and all of those behind it that are."""
        while (account := self._accounts.get(self._head)) is not None:
            self._tell_all(account)
            if not account.done:
                return
            del self._accounts[self._head]
            self._head += 1

    def _ask(self, account: _Account) -> None:
        pending = [item for item in account.items if isinstance(item, _Pending)]
        self._finder.ask([item.suspect for item in pending if not item.suspect.answered])
        account.unasked = 0
        account.items = [
            item for item in account.items if not isinstance(item, _Pending) or item.suspect.token is not None
        ]

    def _tell_all(self, account: _Account) -> None:
        self._ask(account)
        items, account.items = account.items, []
        if not account.stretch:
            self._lines, self._text = 0, True
        told: dict[tuple[str, ...], str] = {}
        for item in items:
            if isinstance(item, Named):
                self._name(item.name, own=item.own)
                continue
            name = told.get(item.name) or told.setdefault(item.name, self._name(item.name))
            if isinstance(item, Lost):
                self.totals.unread += 1
                self._tell_unread(name, item.reason)
            else:
                self._tell(self._finding(item, name))
        if account.done:
            self._lines += account.lines
            self._text = self._text and account.text

    def _finding(self, item: _Pending, name: str) -> Finding:
        seen, token = item.seen, item.suspect.token
        line = self._lines + seen.line + 1 if item.lines and self._text and not item.records else None
        offset = None if seen.place else seen.start
        return Finding(name, line, offset, seen.place, seen.spelling, token.tenant, token.token)

    def _name(self, name: tuple[str, ...], own: int | None = None) -> str:
        """Return how a name is told: without the numbers of the vault in it; those from ``own`` on are findings."""
        shown = MEMBER.join(name)
        data = os.fsencode(shown)
        hits = list(self._search.speller.hits(data, 0, len(data)))
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


def _is_new(hit: Seen | Run, suspect: int, known: set[tuple[int, int]]) -> bool:
    """Whether a suspect was not found here before: once with its country code, once without, is once."""
    if any((place, suspect) in known for place in range(hit.start, hit.end)):
        return False
    known.update((place, suspect) for place in range(hit.start, hit.end))
    return True
