"""`esl-shield top`: figures out of two moments, lines that fit, targets that are away."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading

import pytest
from click.testing import CliRunner
from polling import until

from esl_shield.cli.main import root
from esl_shield.config.values import Address
from esl_shield.service.metrics import ResolverMetrics, WorkerMetrics
from esl_shield.service.sitemetrics import SealerMetrics
from esl_shield.service.top import pages
from esl_shield.service.top.figures import Figures, Moment, compare
from esl_shield.service.top.pages import Page, fetch, read
from esl_shield.service.top.screen import fit, lines


def page_of(metrics, at, target="w:1"):
    return Page(target, at, read(metrics.page().decode()))


def test_rates_and_quantiles_are_of_what_happened_in_between():
    """Ten handoffs of 2 to 3 ms in two seconds are 5/s at about 2.5 ms, whatever was there before."""
    metrics = WorkerMetrics(gateways=["a", "b"])
    metrics.watch("esl_shield_worker_open_calls", lambda: 7)
    for _ in range(500):
        metrics.handed_off(0.9)
        metrics.count("finished", "BUSY")
    before = Moment([page_of(metrics, 10.0)])
    for _ in range(10):
        metrics.count("authorized", "edge", "bank.example")
        metrics.handed_off(0.0025)
        metrics.count("finished", "COMPLETED", "bank.example")
    metrics.count("refused", "not_found")
    figures = compare(before, Moment([page_of(metrics, 12.0)]))
    assert (figures.handoffs_per_s, figures.handoff_p50_ms, figures.handoff_p99_ms) == (5.0, 2.5, 2.99)
    assert figures.outcomes_per_s == {"completed": 5.0, "refused": 0.5}
    assert figures.tenants_per_s == {"bank.example": 5.0, "other": 0.5}
    assert figures.refusals_per_s == {"not_found": 0.5}
    assert (figures.open_calls, figures.targets, figures.gateways_down) == (7.0, {"worker": 1}, [])
    assert figures.redeem_p50_ms is None
    assert figures.sealing_lag_s is None


def test_processes_are_added_up_and_a_restarted_one_counts_from_nothing():
    """Two workers' calls are one rate; one whose counter fell began anew, so all it has is new."""
    first, second = WorkerMetrics(), WorkerMetrics()
    for _ in range(9):
        second.count("finished", "BUSY")
    before = Moment([page_of(first, 0.0, "a:1"), page_of(second, 0.0, "b:1")])
    first.count("finished", "BUSY")
    anew = WorkerMetrics()
    for _ in range(3):
        anew.count("finished", "BUSY")
    figures = compare(before, Moment([page_of(first, 1.0, "a:1"), page_of(anew, 1.0, "b:1")]))
    assert figures.outcomes_per_s == {"busy": 4.0}


def test_roles_are_read_from_one_page_each():
    """A resolver's redemptions, a sealer's lag; and a target seen for the first time has no rate."""
    resolver, sealer = ResolverMetrics(), SealerMetrics()
    sealer.behind(4.5, 9, 0)
    before = Moment([page_of(resolver, 0.0, "r:1")])
    resolver.answered("number", "redeemed", 0.0018)
    resolver.answered("refused", "permit", 0.5)
    figures = compare(before, Moment([page_of(resolver, 1.0, "r:1"), page_of(sealer, 1.0, "s:1")]))
    assert (figures.redemptions_per_s, figures.redeem_p99_ms, figures.sealing_lag_s) == (1.0, 1.995, 4.5)
    assert figures.targets == {"resolver": 1, "sealer": 1}
    assert compare(Moment([]), Moment([page_of(resolver, 1.0)])).redemptions_per_s is None


@pytest.mark.parametrize(
    ("columns", "rows", "text", "fits"),
    [
        (10, 5, ["short"], ["short"]),
        (3, 5, ["too long"], ["too"]),
        (30, 2, ["a", "b", "c"], ["a", "... 2 lines more"]),
        (5, 0, ["a"], []),
    ],
    ids=["fits", "wide", "long", "none"],
)
def test_nothing_is_larger_than_the_terminal(columns, rows, text, fits):
    """Lines are cut to the terminal's width, and what is left out below is said."""
    assert fit(text, columns, rows) == fits


def test_a_page_moves_no_cursor():
    """A label with an escape in it is shown as text."""
    figures = Figures(tenants_per_s={"bank\x1b[2J.example": 1.0}, gateways_down=["a\x07"])
    shown = "\n".join(lines(figures))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "bank\\x1b[2J.example" in shown


class Target:
    """A process's page, out of a real registry, on a port of its own."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body, status = answer()
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

            def handle(self):
                with contextlib.suppress(ConnectionError):  # who asked has given up
                    super().handle()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def serve():
    """Serve pages until the test is over."""
    made = []

    def start(answer):
        made.append(Target(answer))
        return made[-1].address

    yield start
    for target in made:
        target.server.shutdown()
        target.server.server_close()


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"", 503, "answers 503"),
        (b"{ not metrics", 200, "what it answers is no metrics page"),
        (b"\xff\xfe", 200, "what it answers is no metrics page"),
        (b"up 1\n", 200, "it is no process of esl-shield"),
    ],
    ids=["status", "json", "bytes", "another"],
)
def test_what_is_no_page_of_ours_is_said(serve, body, status, problem):
    """Whatever a target answers instead of metrics is one sentence."""
    assert fetch(Address.parse(serve(lambda: (body, status)))).problem == problem


def test_a_target_that_hangs_is_away(serve, monkeypatch):
    """A target that accepts and says nothing is given up after its time."""
    monkeypatch.setattr(pages, "TIMEOUT_S", 0.2)
    over = threading.Event()
    address = serve(lambda: (b"", 200 if over.wait(20) else 504))
    try:
        assert fetch(Address.parse(address)).problem == "no answer within 0.2 s"
    finally:
        over.set()


def run(*arguments):
    return CliRunner().invoke(root, ["top", *arguments])


def test_once_prints_one_look_and_3_when_a_target_is_away(serve, unused_tcp_port):
    """A script gets JSON of what is known, who is away and why, and the exit code of an absent dependency."""
    metrics = WorkerMetrics()
    address = serve(lambda: (metrics.page(), 200))

    result = CliRunner().invoke(
        root, ["top", "--once", "--every", "0.2", "--format", "json", address, f"127.0.0.1:{unused_tcp_port}"],
        standalone_mode=False,
    )  # fmt: skip
    figures = json.loads(result.stdout)
    assert result.return_value == 3
    assert figures["away"] == [{"target": f"127.0.0.1:{unused_tcp_port}", "problem": "connection refused"}]
    assert figures["targets"] == {"worker": 1}
    assert figures["handoffs_per_s"] == 0.0
    table = CliRunner().invoke(root, ["top", "--once", "--every", "0.2", address], standalone_mode=False)
    assert table.return_value == 0
    assert "esl-shield   1 worker answering" in table.stdout
    assert re.search(r"handoffs +0\.0/s +p50 - +p99 -", table.stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "each must be HOST:PORT"),
        (["127.0.0.1:99999"], "each must be HOST:PORT"),
        (["--format", "json", "127.0.0.1:1"], "--format json goes with --once"),
        (["127.0.0.1:1"], "this is no terminal; give --once"),
        ([], "name the processes' metrics addresses"),
        (["--once", "--every", "0", "127.0.0.1:1"], "0 is not in the range"),
    ],
    ids=["word", "port", "json", "terminal", "nothing", "every"],
)
def test_what_cannot_be_shown_is_one_sentence(arguments, says):
    """Bad usage is exit code 2 and says what to give."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


class Screen:
    """``esl-shield top`` on a terminal of so many columns and rows."""

    def __init__(self, *arguments, columns=60, rows=12):
        self.written = b""
        self.pid, self.master = pty.fork()
        if not self.pid:
            os.execv(sys.executable, [sys.executable, "-m", "esl_shield", "top", *arguments])  # noqa: S606 - as a shell does
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def frames(self):
        """The screens drawn so far, each its lines."""
        try:
            os.set_blocking(self.master, False)
            while data := os.read(self.master, 65536):
                self.written += data
        except (BlockingIOError, OSError):
            pass
        frames = self.written.decode().split("\x1b[H")[1:]
        return [frame.split("\x1b[J")[0].replace("\x1b[K", "").split("\r\n") for frame in frames if "\x1b[J" in frame]

    def close(self):
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)

    def end(self):
        """Wait for its end; returns the exit code."""
        os.set_blocking(self.master, True)
        try:
            while data := os.read(self.master, 65536):
                self.written += data
        except OSError:
            pass  # Linux: the terminal's last user has gone
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130)], ids=["q", "ctrl-c"])
def test_a_live_screen_follows_size_and_keys(request, serve, unused_tcp_port, key, code):
    """It draws who is away, cuts itself to the terminal's new size, and gives the screen back at q and at Ctrl-C."""
    metrics = WorkerMetrics()
    screen = Screen("--every", "0.2", serve(lambda: (metrics.page(), 200)), f"127.0.0.1:{unused_tcp_port}")
    request.addfinalizer(screen.close)
    until(lambda: any("AWAY" in line for frame in screen.frames() for line in frame), "a first screen", within_s=30)
    screen.resize(20, 6)
    os.kill(screen.pid, signal.SIGWINCH)
    small = until(lambda: (f := screen.frames()[-1]) and len(f) <= 5 and f, "a smaller screen", within_s=30)
    assert max(map(len, small)) <= 20
    os.write(screen.master, key)
    assert screen.end() == code
    assert b"\x1b[?25h\x1b[?1049l" in screen.written
