"""Processes that search files beside each other, without a key and without the database.

A worker is forked before keys are opened and is told what the digits of a number look like; it answers with what may be
numbers, and whose they are is asked by the process that started it: rate, audit and findings stay in one place.

Invariants: a worker that ends before its task does leaves that task unread, never clean; a worker ends when the process
that started it does, and leaves interruptions to it; how far workers are ahead of what was told is bounded.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.audit.leakscan.search import Done, Lost, Search, Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

    from esl_shield.audit.leakscan.digits import Shape
    from esl_shield.audit.leakscan.search import Message

_AHEAD = 16
_DIED = "the process that searched it died; search it again with --jobs 1"
_NONE_LEFT = "no process was left to search it"


class _Worker(NamedTuple):
    process: Any
    link: Connection


class Workers:
    """``count`` processes. Enter before keys and connections are opened, ``start`` when the shape is known."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("fork")
        for _ in range(self._count):
            ours, theirs = context.Pipe()
            inherited = [worker.link for worker in self._workers] + [ours]
            process = context.Process(target=_serve, args=(theirs, inherited), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.link.close()
        for worker in self._workers:
            worker.process.join()

    @property
    def processes(self) -> list[int]:
        """The processes' identifiers."""
        return [worker.process.pid for worker in self._workers]

    def start(self, shape: Shape, least: int) -> None:
        """Say what the digits of a number look like."""
        self._workers = [worker for worker in self._workers if _sent(worker, (shape, least))]

    def run(self, tasks: Iterator[Task | list[Message]]) -> Iterator[tuple[int, Message]]:
        """Have tasks searched; yield messages as they come, each with the number (from 0) of its task."""
        waiting = enumerate(tasks)
        busy: dict[_Worker, int] = {}
        names: dict[int, Path] = {}
        number, more = -1, True
        while more or busy:
            while more and self._room(number, busy):
                number, task = next(waiting, (number, None))
                if task is None:
                    more = False
                elif isinstance(task, list):
                    yield from ((number, message) for message in task)
                elif (worker := self._hand(task, busy)) is not None:
                    busy[worker], names[number] = number, task.path
                else:
                    yield number, Lost((str(task.path),), _NONE_LEFT)
                    yield number, Done()
            for worker in self._ready(busy):
                message = _received(worker)
                if message is None:
                    self._workers.remove(worker)
                    yield busy[worker], Lost((str(names[busy[worker]]),), _DIED)
                    message = Done()
                yield busy[worker], message
                if isinstance(message, Done):
                    del names[busy.pop(worker)]

    def _room(self, number: int, busy: dict[_Worker, int]) -> bool:
        """Whether somebody is free and not too far ahead; or nobody is left, and what remains is to be said."""
        return not busy or (len(busy) < len(self._workers) and number - min(busy.values()) < _AHEAD * self._count)

    def _hand(self, task: Task, busy: dict[_Worker, int]) -> _Worker | None:
        """Give a task to a worker that is free; return it, None if none is alive."""
        for worker in [worker for worker in self._workers if worker not in busy]:
            if _sent(worker, task):
                return worker
            self._workers.remove(worker)
        return None

    @staticmethod
    def _ready(busy: dict[_Worker, int]) -> list[_Worker]:
        ready = wait([worker.link for worker in busy]) if busy else []
        return [worker for worker in busy if worker.link in ready]


def _sent(worker: _Worker, what: object) -> bool:
    try:
        worker.link.send(what)
    except OSError:
        return False
    return True


def _received(worker: _Worker) -> Message | None:
    """Return what a worker says, None if it is dead."""
    try:
        message: Message = worker.link.recv()
    except (EOFError, OSError):
        return None
    return message


def _serve(link: Connection, inherited: list[Connection]) -> None:
    """Search what comes over the link until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        other.close()
    with contextlib.suppress(EOFError, ConnectionError):  # whoever started it has ended
        search = Search(*link.recv())
        while True:
            _answer(link, search, link.recv())


def _answer(link: Connection, search: Search, task: Task) -> None:
    try:
        for message in search.task(task):
            link.send(message)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - a traceback could quote what was searched; the class cannot
        link.send(Lost((str(task.path),), f"the search failed on it ({type(error).__name__})"))
        link.send(Done())
