"""How the reaper waits between two looks, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from esl_shield.config.endings import ReaperConfig, SwitchConfig
from esl_shield.config.values import Address
from esl_shield.service.reaper import JITTER, Reaper

SELDOM = ReaperConfig((SwitchConfig(Address("127.0.0.1", 8021), "file:/nowhere"),), every_s=12.0)


class Stop:
    """An event that is set after so many waits; keeps what was waited for."""

    def __init__(self, waits):
        self._left, self.waited_s = waits, []

    def wait(self, timeout_s):
        self.waited_s.append(timeout_s)
        self._left -= 1
        return self._left == 0


class Empty:
    """A database without calls, in which nobody mints; counts looks."""

    def __init__(self):
        self.looks = 0

    def call(self, function, *_):
        if function == "mint_mark":
            return [(0,)]
        self.looks += function == "open_calls"
        return []


def test_a_reaper_that_rests_for_longer_than_its_watchdog_says_that_it_lives():
    """Of twelve seconds between two looks no more than two pass without a sign."""
    database, stop, signs = Empty(), Stop(15), []
    reaper = Reaper(database, SELDOM, [])
    reaper.run_until(stop, lambda: signs.append(len(stop.waited_s)), alive_every_s=2.0)
    assert max(stop.waited_s) == 2.0
    assert set(range(15)) <= set(signs)
    first = stop.waited_s.index(next(part for part in stop.waited_s if part < 2.0))
    assert 12.0 * (1 - JITTER) <= sum(stop.waited_s[: first + 1]) <= 12.0 * (1 + JITTER)
    assert database.looks == 2


def test_a_reaper_nobody_watches_wakes_for_its_looks_alone():
    """Without a watchdog a rest is one wait."""
    database, stop = Empty(), Stop(3)
    Reaper(database, SELDOM, []).run_until(stop, lambda: None)
    assert all(10.0 < part < 14.0 for part in stop.waited_s)
    assert database.looks == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_reaper_that_is_interrupted_says_so(tmp_path, unused_tcp_port, number, code):
    """Ctrl-C ends it with 130, SIGTERM with 0."""
    (tmp_path / "esl.secret").write_text("ClueCon-fictional\n")
    (tmp_path / "esl.secret").chmod(0o400)
    config = tmp_path / "reaper.toml"
    config.write_text(
        f'[database]\nurl = "postgresql+psycopg2://nobody:x@127.0.0.1:{unused_tcp_port}/none"\n[reaper]\n'
        f'[[reaper.switches]]\naddress = "127.0.0.1:{unused_tcp_port}"\npassword = "file:{tmp_path}/esl.secret"\n'
    )
    config.chmod(0o600)
    command = [sys.executable, "-m", "esl_shield", "--config", str(config), "reaper"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert "reaper ready" in next(iter(process.stderr))
        process.send_signal(number)
        assert process.wait(30) == code
