"""Batches go through a job in the file's order, while later ones are prepared."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from esl_shield.vault import batches
from esl_shield.vault.batches import Answer, Job, Step, Tally
from esl_shield.vault.csvfile import Source
from esl_shield.vault.rows import Row
from esl_shield.vault.starts import reader

ROWS = 40


class Noting(Job):
    """Notes what it prepared and did; ``fails_at`` is the batch it does not get done."""

    batch_rows = 4

    def __init__(self, fails_at=None):
        self.tally = Tally()
        self.prepared, self.done = [], []
        self.ready = threading.Event()
        self._fails_at = fails_at

    def read(self, cells, now):
        del now
        return Row(*reader("CN")(cells["number"]), cells["alias"], None, {})

    def prepare(self, rows):
        self.prepared.append([row.alias for row in rows])
        if len(self.prepared) == 3:
            self.ready.set()
        return Step(partial(self._work, len(self.prepared) - 1))

    def _work(self, at):
        assert self.ready.wait(60)  # the third batch is prepared while the first is here
        if at == self._fails_at:
            raise OSError(at)
        self.done += self.prepared[at]
        return [Answer(f"T-{alias}") for alias in self.prepared[at]]


@pytest.fixture
def run(tmp_path):
    """Run a job over a file of ROWS rows in batches of four; returns the output's lines."""
    path = tmp_path / "in.csv"
    path.write_text("number,alias\n" + "".join(f"1380000{at:04},A{at}\n" for at in range(ROWS)))

    def run(job):
        with path.open("rb") as stream:
            batches.run(job, Source(stream, "in.csv"), tmp_path / "out.csv", [], progress=lambda *_: None)
        return (tmp_path / "out.csv").read_text().splitlines()[1:]

    return run


def test_in_order_with_batches_ready(run):
    """Every row is done and written in the file's order, though later batches were ready before."""
    job = Noting()
    names = [f"A{at}" for at in range(ROWS)]
    assert run(job) == [f"{name},T-{name}" for name in names]
    assert (job.done, job.tally.rows) == (names, ROWS)


@pytest.mark.parametrize("fails_at", [0, 3, 9])
def test_none_after_one_that_failed(run, fails_at, tmp_path):
    """When a batch fails, those that were ready behind it are not done, and there is no output."""
    job = Noting(fails_at)
    with pytest.raises(OSError, match=str(fails_at)):
        run(job)
    assert job.done == [f"A{at}" for at in range(4 * fails_at)]
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


class Paired(Noting):
    """Has two lanes and ends no batch before another is there too; ``together`` says which share something."""

    lanes = 2

    def __init__(self, together=(), fails_at=None):
        super().__init__()
        self._together, self._fails = together, fails_at
        self._pair = threading.Barrier(2)
        self.under_way, self.met = set(), []

    def prepare(self, rows):
        at = len(self.prepared)
        super().prepare(rows)
        return Step(partial(self._meet, at), frozenset({"shared"} if at in self._together else {at}))

    def _meet(self, at):
        self.under_way.add(at)
        if at not in self._together:
            self._pair.wait(60)
        self.met.append(set(self.under_way))
        if at == self._fails:
            self._pair.abort()  # and the other fails too
            raise OSError(at)
        if at not in self._together:
            self._pair.wait(60)
        self.under_way.discard(at)
        return [Answer(f"T-{alias}") for alias in self.prepared[at]]


def test_two_at_once(run):
    """A job of two lanes has two batches under way, and the output is in the file's order."""
    job = Paired()
    assert run(job) == [f"A{at},T-A{at}" for at in range(ROWS)]
    assert all(len(met) == 2 for met in job.met)
    assert job.tally.rows == ROWS


def test_what_shares_something_is_one_after_the_other(run):
    """Batches that touch the same thing are never under way together."""
    job = Paired(together=range(10))
    assert run(job) == [f"A{at},T-A{at}" for at in range(ROWS)]
    assert job.met == [{at} for at in range(10)]


def test_none_begins_after_two_that_failed(run, tmp_path):
    """When the batches under way fail, those behind them are not begun, and there is no output."""
    job = Paired(fails_at=2)
    with pytest.raises(OSError, match="2"):
        run(job)
    assert set().union(*job.met) == {0, 1, 2, 3}
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
