"""The command at a terminal: its bar, and Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

import pytest

NUMBER = "+8613800138001"
DIGITS = NUMBER[3:]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_all_and_says_what_was_searched(lab, jobs):
    """Interrupted while the bar moves, it ends with 130, tells findings so far, and names no number anywhere."""
    lab.seed([NUMBER])
    folder = lab.lab.folder / "-searched"
    folder.mkdir()
    (folder / "a").write_bytes(DIGITS.encode() + b"\n")
    with (folder / "b").open("wb") as log:
        for _ in range(30):
            log.write(b"a line of a log, 192.0.2.1:5060 and 1790000000\n" * 100_000)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    process = subprocess.Popen(
        lab.lab.command("leakscan", "--jobs", jobs, "--", "-searched", config=lab.config()), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=theirs, env=lab.lab.environment(), cwd=lab.lab.folder, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown, sent = b"", False
    with contextlib.suppress(OSError):  # the terminal's end of file: every process has closed it
        while part := os.read(ours, 10_000):
            shown += part
            if not sent and re.search(rb"[1-9]\d* MB, \d+ MB/s +\d+%\|", shown):
                os.killpg(process.pid, signal.SIGINT)
                sent = True
    os.close(ours)
    printed = process.stdout.read() + shown
    process.stdout.close()
    assert process.wait(timeout=60) == 130
    assert lab.tokens[NUMBER].encode() in printed
    assert re.search(rb"1 findings in [12] files, [\d.]+ MB", shown)
    assert b"interrupted: what was not searched may hold more" in shown
    assert b"Traceback" not in printed
    assert DIGITS.encode() not in printed
