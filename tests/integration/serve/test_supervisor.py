"""The supervisor over children that behave as told: dead, stopped, refusing, slow, stubborn; signals; reloads."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from polling import until
from ports import free_port
from supervised import Supervisor, Systemd

BRISK = {"hang_timeout_s": 1.0, "start_timeout_s": 20.0, "most_backoff_s": 0.5}
ROLES = ("early", "late", "lone")


@pytest.fixture
def systemd(tmp_path):
    """Who stands in for systemd."""
    standing_in = Systemd(tmp_path)
    yield standing_in
    standing_in.close()


@pytest.fixture
def supervisor(tmp_path):
    """A supervisor that is not started yet."""
    made = Supervisor(tmp_path)
    yield made
    made.destroy()


@pytest.fixture
def running(supervisor):
    """A supervisor with a child of each kind, all ready."""

    def running(**serve):
        for role in ROLES:
            supervisor.behave(role, "")
        supervisor.write(*(f"{role} 1 {role}" for role in ROLES), **BRISK | serve)
        supervisor.start()
        supervisor.wait("event=serve.ready")
        return supervisor

    return running


def page(port, path="metrics"):
    """A page of the supervisor."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return answer.read().decode()


def is_ours(pid):
    """Whether a process is still there."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGSTOP, "hung")], ids=["killed", "stopped"]
)
def test_a_child_that_dies_or_hangs_is_replaced(running, role, number, reason):
    """Whatever the kind, another takes its place; the others are left alone and the log says why."""
    supervisor = running()
    others = [supervisor.pids(other) for other in ROLES if other != role]
    (old,) = supervisor.pids(role)
    os.kill(old, number)
    until(lambda: len(supervisor.pids(role)) == 2, "a new child")
    assert supervisor.said(f"child={role}-1 reason={reason}")
    assert not is_ours(old)
    assert [supervisor.pids(other) for other in ROLES if other != role] == others
    assert supervisor.end() == 0


def test_a_child_that_keeps_dying_is_told_and_not_restarted_busily(supervisor):
    """Pauses grow to the cap, the log says `failing` from the third death on, and the metric too."""
    port = free_port()
    supervisor.behave("early", "")
    supervisor.write("early 1 early", **BRISK | {"most_backoff_s": 0.4})
    supervisor.path.write_text(supervisor.path.read_text().replace("[serve]", f'[serve]\nmetrics = "127.0.0.1:{port}"'))
    supervisor.start()
    supervisor.wait("event=serve.ready")
    well = {"live": True, "ready": True, "parts": {"early": "ok", "supervisor": "ok"}}
    assert json.loads(page(port, "healthz")) == json.loads(page(port, "readyz")) == well
    supervisor.behave("early", "exit 7")
    os.kill(supervisor.pids("early")[0], signal.SIGKILL)
    supervisor.wait("event=serve.child_failing", 3)
    assert supervisor.said("reason=exited exit_code=7 deaths=3")
    assert 'esl_shield_serve_failing{role="early"} 1.0' in page(port)
    assert 'esl_shield_serve_deaths_total{reason="exited",role="early"}' in page(port)
    with pytest.raises(urllib.error.HTTPError, match="503") as away:
        page(port, "healthz")
    assert json.loads(away.value.read())["parts"] == {"early": "0/1 ready", "supervisor": "ok"}
    assert json.loads(page(port, "livez")) == {"live": True}
    supervisor.behave("early", "")
    until(lambda: 'esl_shield_serve_failing{role="early"} 0.0' in page(port), "it is well again")
    assert supervisor.end() == 0


def test_a_refused_child_is_tried_again_at_the_longest_pause(supervisor):
    """Exit code 2 says that starting again does not mend it, so the pause is not the short one of a first death."""
    supervisor.behave("early", "")
    supervisor.write("early 1 early", **BRISK | {"most_backoff_s": 600.0})
    supervisor.start()
    supervisor.wait("event=serve.ready")
    supervisor.behave("early", "exit 2")
    os.kill(supervisor.pids("early")[0], signal.SIGKILL)
    supervisor.wait("event=serve.child_failing child=early-1 reason=refused exit_code=2 deaths=2 again_in_s=600.0")
    supervisor.behave("early", "")
    supervisor.send(signal.SIGHUP)
    supervisor.wait("event=serve.reloaded")
    assert supervisor.end() == 0


def test_a_first_start_that_is_refused_ends_everything(supervisor):
    """A child that exits with 2 at the first start is the supervisor's exit code; the others are stopped."""
    supervisor.behave("good", "")
    supervisor.behave("bad", "exit 2")
    supervisor.write("late 2 good", "early 1 bad", **BRISK)
    supervisor.start()
    assert supervisor.popen.wait(60) == 2
    assert supervisor.said("early-1 did not become ready (exit code 2). [config.invalid]")
    assert not [pid for pid in supervisor.pids("good") if is_ours(pid)]


def test_a_child_that_is_never_ready_is_replaced(supervisor):
    """A child has start_timeout_s to say that it is ready; the next gets as long."""
    supervisor.behave("early", "mute")
    supervisor.write("early 1 early", **BRISK | {"start_timeout_s": 0.5})
    supervisor.start()
    supervisor.wait("child=early-1 reason=slow_to_start", 2)
    supervisor.behave("early", "")
    supervisor.wait("event=serve.ready")
    assert supervisor.end() == 0


BAD_FILES = {
    "no TOML": ("serve.toml", "serve", "serve.toml is not usable"),
    "refused by a role": ("late", "refuse", "late (late) is not usable"),
    "dies at once": ("early", "exit 3", "early-1 did not become ready (exit code 3)"),
    "never ready": ("early", "mute", "early-1 did not become ready (slow_to_start)"),
    "must be alone and dies": ("lone", "exit 3", "lone-1 did not become ready; others were kept"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_reload_with_a_bad_file_changes_nothing(running, case):
    """The old children stay as they are, the log says which file it was, and a mended file is taken."""
    supervisor = running(start_timeout_s=2.0)
    name, words, said = BAD_FILES[case]
    good, old = (supervisor.folder / name).read_text(), set(supervisor.children())
    supervisor.behave(name, words)
    supervisor.send(signal.SIGHUP)
    supervisor.wait("event=serve.reload_refused")
    assert supervisor.said(said)
    if case != "must be alone and dies":  # before one of those is tried the others have been replaced
        until(lambda: set(supervisor.children()) == old, "the old, and nobody else")
    supervisor.behave(name, good)
    supervisor.send(signal.SIGHUP)
    supervisor.wait("event=serve.reloaded")
    until(lambda: not old & set(supervisor.children()), "the old are gone")
    assert supervisor.end() in (0, 1)


def test_what_calls_wait_for_starts_first(supervisor):
    """The others start when it is ready, or has had its time."""
    supervisor.behave("early", "mute")
    supervisor.behave("late", "")
    supervisor.write("late 1 late", "early 1 early", **BRISK | {"start_timeout_s": 1.0})
    supervisor.start()
    until(lambda: supervisor.pids("late"), "the other")
    assert supervisor.said("child=early-1 reason=slow_to_start")
    supervisor.behave("early", "")
    supervisor.wait("event=serve.ready")
    assert supervisor.end() == 0


def test_a_reload_adds_and_removes_processes(running):
    """After a reload there are as many of each role as the file says, those of a role it no longer names none."""
    supervisor = running()
    supervisor.write("early 3 early", **BRISK)
    supervisor.send(signal.SIGHUP)
    supervisor.wait("event=serve.reloaded")
    until(lambda: len(supervisor.children()) == 3, "three children")
    assert set(supervisor.children()) == set(supervisor.pids("early")[1:])
    assert supervisor.end() == 0


def test_two_that_must_be_alone_are_never_there_together(running):
    """The old one has ended before the new one starts."""
    supervisor = running()
    supervisor.send(signal.SIGHUP)
    supervisor.wait("event=serve.reloaded")
    assert [words[0] for words in supervisor.diary("lone")] == ["started", "left", "started"]
    assert supervisor.end() == 0


def test_a_stop_follows_the_order_of_the_kinds(running):
    """Who needs another ends before it."""
    supervisor = running()
    supervisor.behave("early", "stubborn")
    os.kill(supervisor.pids("early")[0], signal.SIGKILL)
    until(lambda: len(supervisor.pids("early")) == 2, "a stubborn child")
    supervisor.wait("child=early-1 reason=killed")
    until(lambda: not supervisor.said("waiting"), "it is up")
    supervisor.send(signal.SIGTERM)
    supervisor.wait("event=serve.stopping")
    assert supervisor.diary("late")[-1][0] == "started"
    assert supervisor.end() == 0
    assert supervisor.diary("early")[-1][0] == "left"
    assert supervisor.diary("early")[-1][-1] == "2"
    assert supervisor.diary("late")[-1][0] == "left"


@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGTERM], 0), ([signal.SIGINT], 130), ([signal.SIGTERM, signal.SIGINT, signal.SIGTERM], 1)],
    ids=["sigterm", "sigint", "third"],
)
def test_exit_codes(running, signals, code):
    """0 after SIGTERM, 130 after SIGINT, 1 when something had to be killed; nothing is left."""
    supervisor = running()
    if len(signals) > 2:
        for role in ROLES:
            os.kill(supervisor.pids(role)[0], signal.SIGSTOP)
    pids = supervisor.children()
    for times, number in enumerate(signals, 1):
        supervisor.send(number)
        supervisor.wait("event=serve.stopping", min(times, 2))
    assert supervisor.popen.wait(60) == code
    assert not [pid for pid in pids if is_ours(pid)]


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_children_leave_when_the_supervisor_is_killed(running, stopped):
    """After kill -9 each child is told to drain, even one that was stopped by a signal."""
    supervisor = running(hang_timeout_s=30.0)
    (pid,) = supervisor.pids("early")
    if stopped:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "it has stopped")
    supervisor.popen.kill()
    supervisor.popen.wait()
    until(lambda: ["left", str(pid), "told", "1"] in supervisor.diary("early"), "it drained", within_s=60)


def test_what_systemd_is_told(tmp_path, systemd):
    """READY when all are, RELOADING and READY again, WATCHDOG all the time, STOPPING at last."""
    supervisor = Supervisor(tmp_path, systemd=systemd)
    try:
        supervisor.behave("early", "")
        supervisor.write("early 2 early", **BRISK)
        supervisor.start()
        supervisor.wait("event=serve.ready")
        until(lambda: {"READY=1", "STATUS=early 2/2", "WATCHDOG=1"} <= set(systemd.heard()), "READY")
        supervisor.send(signal.SIGHUP)
        supervisor.wait("event=serve.reloaded")
        until(lambda: systemd.heard().count("READY=1") == 2, "READY again")
        at = systemd.lines.index("RELOADING=1")
        assert systemd.lines[at + 1].startswith("MONOTONIC_USEC=")
        assert "READY=1" in systemd.lines[at:]
        os.kill(supervisor.pids("early")[-1], signal.SIGKILL)
        until(lambda: "STATUS=early 1/2" in systemd.heard(), "the status follows")
        assert supervisor.end() == 0
        assert "STOPPING=1" in systemd.heard()
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in systemd.lines)
    finally:
        supervisor.destroy()


def test_a_listener_outlives_the_supervisor(tmp_path, systemd):
    """Systemd keeps the listener of a supervisor that is killed, and a connection made meanwhile waits in it."""
    port = free_port()
    supervisor = Supervisor(tmp_path, systemd=systemd)
    try:
        supervisor.behave("early", f"listen 127.0.0.1:{port}")
        supervisor.write("early 1 early", **BRISK)
        supervisor.start()
        supervisor.wait("event=serve.ready")
        until(lambda: systemd.heard() and systemd.stored, "the listener is stored")
        pid = supervisor.pids("early")[0]
        supervisor.popen.kill()
        supervisor.popen.wait()
        until(lambda: not is_ours(pid), "its child is gone")
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            supervisor.start(stored=tuple(systemd.stored.values()))
            supervisor.wait("event=serve.ready", 2)
            assert not supervisor.said("address_in_use")
        assert supervisor.end() == 0
        systemd.heard()
        assert not systemd.stored, "a stop on purpose leaves nothing"
    finally:
        supervisor.destroy()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_an_address_somebody_else_has(supervisor):
    """It is asked for again for a while, then one sentence and exit code 3: systemd tries again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        supervisor.behave("early", f"listen 127.0.0.1:{taken.getsockname()[1]}")
        supervisor.write("early 1 early", **BRISK)
        supervisor.start()
        assert supervisor.popen.wait(60) == 3
    assert supervisor.said("[serve.address_taken]")
    assert supervisor.said("event=serve.address_in_use")


def test_a_child_gets_its_listener_and_nothing_else(supervisor):
    """Standard streams, the listener at 3, the notify socket at 4."""
    supervisor.behave("early", "listen 127.0.0.1:0")
    supervisor.write("early 1 early", **BRISK)
    supervisor.start()
    supervisor.wait("event=serve.ready")
    (started,) = supervisor.diary("early")
    assert " ".join(started[4:]) == "fds [0, 1, 2, 3, 4]"
    assert supervisor.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts processes as others")
def test_a_child_is_the_user_it_shall_be(supervisor, tmp_path, monkeypatch):
    """A supervisor started by root drops each child to its user, before a line of its program runs."""
    monkeypatch.setenv("SUPERVISED_PYTHON", "/usr/bin/python3")
    supervisor.behave("early", "")
    Path(f"{tmp_path / 'early'}.diary").touch()
    Path(f"{tmp_path / 'early'}.diary").chmod(0o666)
    supervisor.write("early 1 early", **BRISK)
    supervisor.path.write_text(supervisor.path.read_text() + 'user = "nobody"\n')
    (tmp_path / "early").chmod(0o644)  # whatever umask an earlier test left
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o5 != 0o5:
            folder.chmod(0o755)
    supervisor.start()
    supervisor.wait("event=serve.ready")
    assert supervisor.diary("early")[0][3] == "65534"
    assert supervisor.end() == 0


def test_restarts_leak_nothing(supervisor):
    """After 50 restarts there are as many descriptors as before and no zombie."""
    supervisor.behave("early", "")
    supervisor.write("early 5 early", **BRISK | {"most_backoff_s": 0.01})
    supervisor.start()
    supervisor.wait("event=serve.ready")
    descriptors = lambda: len(list(Path(f"/proc/{supervisor.popen.pid}/fd").iterdir()))  # noqa: E731
    before = descriptors()
    for turn in range(1, 11):
        for pid in supervisor.children():
            os.kill(pid, signal.SIGKILL)
        until(lambda turn=turn: len(supervisor.pids("early")) == 5 * (turn + 1), "five new ones", within_s=30)
    assert len(supervisor.children()) == 5
    until(lambda: descriptors() == before, "as many descriptors as before")
    assert supervisor.end() == 0
