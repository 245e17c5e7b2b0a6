"""Files searched by several processes: the same report, and no clean result from a process that died."""

from __future__ import annotations

import gzip
import os
import signal

import pytest
from leak_finder import Numbers

from esl_shield.audit.leakscan import tasks
from esl_shield.audit.leakscan.scan import Scan
from esl_shield.audit.leakscan.search import Search
from esl_shield.audit.leakscan.workers import Workers

NUMBER = b"13800138001"
STRETCH = 64 << 10


def _scan(path, count=None):
    found, unread = [], []
    finder = Numbers("8613800138001")
    if count is None:
        scan = Scan(finder, found.append, lambda *what: unread.append(what))
        scan.path(path)
    else:
        with Workers(count) as workers:
            scan = Scan(finder, found.append, lambda *what: unread.append(what), workers=workers)
            scan.path(path)
    return found, unread, scan.totals


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Small files, packed ones, one that cannot be read, and a large one with numbers where it is split."""
    monkeypatch.setattr(tasks, "STRETCH_BYTES", STRETCH)
    for number in range(30):
        (tmp_path / f"{number:02}.log").write_bytes(b"line\n" * number * 99 + NUMBER + b"\n")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x\n" + NUMBER))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(os.urandom(999))[:-9])
    (tmp_path / NUMBER.decode()).mkdir()
    text = bytearray(b"some text here.\n" * (STRETCH // 16 * 5))
    for stretch, shift in enumerate((-20, -11, -5, 0), 1):
        at = stretch * STRETCH + shift
        text[at : at + 13] = b" " + NUMBER + b" "
    (tmp_path / "large").write_bytes(text)
    return tmp_path


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_report_is_the_same_whoever_searches(folder, count):
    """Findings, their order, lines and offsets do not depend on how many processes search."""
    alone = _scan(folder)
    assert len(alone[0]) == 30 + 1 + 1 + 4
    assert _scan(folder, count) == alone


def test_a_large_file_is_read_where_it_is_split(folder, monkeypatch):
    """In stretches, a number is found once, at the line and offset it has when the file is read in one go."""
    split = _scan(folder / "large")
    monkeypatch.setattr(tasks, "STRETCH_BYTES", 1 << 30)
    assert _scan(folder / "large") == split
    assert len(split[0]) == 4


def test_a_worker_that_dies_leaves_its_file_unread(folder, monkeypatch):
    """The file a process died on is told as not searched; the others go on with what is left."""
    search = Search.task

    def task(self, what):
        if what.path.name == "07.log":
            os.kill(os.getpid(), signal.SIGKILL)
        return search(self, what)

    monkeypatch.setattr(Search, "task", task)
    found, unread, totals = _scan(folder, 2)
    assert [name for name, _ in unread] == [str(folder / "07.log"), str(folder / "cut.gz")]
    assert "died" in unread[0][1]
    assert totals.unread == 2
    assert len(found) == 35


def test_nothing_is_clean_when_no_worker_is_left(folder, monkeypatch):
    """Every file that nobody was left to search is told."""
    monkeypatch.setattr(Search, "task", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    found, unread, totals = _scan(folder, 2)
    assert {name for name, _ in unread} >= {str(folder / f"{number:02}.log") for number in range(30)}
    assert totals.files == 0
    assert [finding.place for finding in found] == ["name"]


def test_a_search_that_fails_quotes_nothing(folder, monkeypatch, capfd):
    """An error of the search itself is told by its class, because its text could be a line of what was searched."""

    def task(self, what):
        raise ValueError(NUMBER)

    monkeypatch.setattr(Search, "task", task)
    _, unread, _ = _scan(folder, 2)
    assert {reason for _, reason in unread} == {"the search failed on it (ValueError)"}
    assert NUMBER.decode() not in "".join(capfd.readouterr())


def test_no_process_is_left_behind(folder):
    """Leaving ends the processes, also in the middle of a search."""
    with Workers(2) as workers:
        processes = workers.processes
        scan = Scan(Numbers("8613800138001"), lambda _: None, lambda *_: None, workers=workers)
        messages = workers.run(tasks.tasks(folder))
        next(messages)
        del scan
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_sparse_file_costs_nothing(tmp_path):
    """Ten gigabytes of nothing are passed over, and what is written at either end is found."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"to " + NUMBER + b"\n")
        file.truncate(10 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nto " + NUMBER + b"\n")
    found, unread, totals = _scan(path)
    assert [finding.offset for finding in found] == [3, (10 << 30) + 4]
    assert unread == []
    assert totals.bytes == path.stat().st_size
