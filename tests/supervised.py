"""A supervisor as a process, over children that behave as their configuration says, and who stands in for systemd.

Run as a program, ``supervise FILE`` is the real supervisor with KINDS of its own; ``child FILE`` is one of its
children, in plain Python so that tests cost little; ``describe ROLE FILE`` is that kind's check.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from polling import until

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_S = 60.0
PYTHON = os.environ.get("SUPERVISED_PYTHON", sys.executable)  # one the children's user may run


def supervise(path: str) -> int:
    """Run the supervisor with kinds that behave as told."""
    from esl_shield.cli.main import main  # noqa: PLC0415
    from esl_shield.service.supervisor import kinds  # noqa: PLC0415

    class Behaving(kinds.Kind):
        def argv(self, config):
            return [PYTHON, __file__, "child", config]

        def describe_argv(self, role, config):
            return [PYTHON, __file__, "describe", role, config]

    for name, order in (("early", 0), ("late", 1), ("lone", 1)):
        kinds.KINDS[name] = Behaving((name,), order, lambda _: None, urgent=name == "early")
    sys.argv = ["esl-shield", "--config", path, "serve"]
    main()
    return 0


def describe(role: str, path: str) -> int:
    """Check a behaviour: ``refuse`` is one no child would start with."""
    text = Path(path).read_text()
    if "refuse" in text:
        sys.stderr.write(f"esl-shield: The configuration {path} is not usable: it says refuse. [config.invalid]\n")
        return 2
    listen = re.search(r"listen (\S+)", text)
    alone = "true" if role == "lone" else "false"
    where = f'"{listen[1]}"' if listen else "null"
    sys.stdout.write(f'{{"listen": {where}, "metrics": null, "drain_s": 1.0, "alone": {alone}}}\n')
    return 0


def given(descriptors: str, *argv: str) -> None:
    """Become a program that is given listeners as systemd gives them."""
    for place, descriptor in enumerate(map(int, descriptors.split(",")), 3):
        os.dup2(descriptor, place)
    environ = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(descriptors.count(",") + 1)}
    os.execve(argv[0], argv, environ)  # noqa: S606 - the tests' own program


def child(path: str) -> int:
    """Do what the words of the configuration say, the first of them once its file is there."""
    words = Path(path).read_text().split()
    descriptors = sorted(int(link.name) for link in Path("/proc/self/fd").iterdir())[:-1]  # the last looked
    say(path, f"started {os.getpid()} uid {os.getuid()} fds {descriptors}")
    notify = socket.socket(fileno=int(os.environ["ESL_SHIELD_NOTIFY_FD"]))
    if "exit" in words:
        return int(words[words.index("exit") + 1])
    told = 0
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if "mute" not in words:
        notify.send(b"READY=1")
    every_s = int(os.environ["WATCHDOG_USEC"]) / 4e6
    while True:
        notify.send(b"WATCHDOG=1")
        told += signal.sigtimedwait([signal.SIGTERM], every_s) is not None
        if told > ("stubborn" in words):
            say(path, f"left {os.getpid()} told {told}")
            return 0


def say(path: str, line: str) -> None:
    """Add a line to the children's diary."""
    descriptor = os.open(f"{path}.diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


class Systemd:
    """The socket a service notifies, and the descriptors it stores."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.lines: list[str] = []
        self.stored: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return every line so far."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 8)
            except BlockingIOError:
                return self.lines
            lines = message.decode().splitlines()
            self.lines += lines
            name = next((line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")), "")
            if descriptors:
                self.stored[name] = descriptors[0]
            elif "FDSTOREREMOVE=1" in lines:
                os.close(self.stored.pop(name))

    def close(self) -> None:
        """Close everything."""
        self.heard()
        for descriptor in self.stored.values():
            os.close(descriptor)
        self._socket.close()


class Supervisor:
    """``esl-shield serve`` as a process, and what it and its children said."""

    def __init__(self, folder: Path, *, systemd: Systemd | None = None, argv: list[str] | None = None) -> None:
        self.folder, self.path, self.log = folder, folder / "serve.toml", folder / "serve.log"
        self._systemd, self._argv = systemd, argv
        self.popen: subprocess.Popen[bytes] | None = None

    def write(self, *processes: str, **serve: float) -> None:
        """Write the supervisor's file; a process is ``ROLE COUNT NAME``."""
        lines = ["[serve]", *(f"{key} = {value}" for key, value in serve.items())]
        for role, count, name in (process.split() for process in processes):
            lines += ["[[serve.process]]", f'role = "{role}"', f"count = {count}", f'config = "{self.folder / name}"']
        self.path.write_text("\n".join(lines) + "\n")

    def behave(self, name: str, words: str) -> None:
        """Write what children of a configuration do."""
        (self.folder / name).write_text(words)

    def start(self, *, stored: tuple[int, ...] = ()) -> None:
        """Start it; ``stored`` descriptors are given back as systemd does."""
        environ = {**os.environ}
        if self._systemd:
            environ |= {"NOTIFY_SOCKET": str(self._systemd.path), "WATCHDOG_USEC": "2000000"}
        argv = self._argv or [sys.executable, __file__, "supervise", str(self.path)]
        if stored:
            argv = [sys.executable, __file__, "given", ",".join(map(str, stored)), *argv]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                argv, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=stored,
            )  # fmt: skip

    def said(self, text: str, times: int = 1) -> bool:
        """Whether the log has a text so often."""
        return self.log.exists() and self.log.read_text().count(text) >= times

    def wait(self, text: str, times: int = 1) -> None:
        """Wait until the log has a text."""
        try:
            until(lambda: self.said(text, times) or self.popen.poll() is not None, text, within_s=WITHIN_S)
        except TimeoutError:
            raise AssertionError(f"never said {text!r}:\n{self.log.read_text()}") from None
        assert self.said(text, times), self.log.read_text()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        self.send(number)
        return self.popen.wait(WITHIN_S)

    def diary(self, name: str) -> list[list[str]]:
        """Return what children of a configuration did, as words."""
        path = self.folder / f"{name}.diary"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self, name: str) -> list[int]:
        """Return the processes that were started with a configuration, in order."""
        return [int(words[1]) for words in self.diary(name) if words[0] == "started"]

    def children(self) -> list[int]:
        """Return the processes it has now, zombies too."""
        return [int(pid) for pid in Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()]

    def destroy(self) -> None:
        """Leave nothing running."""
        if self.popen and self.popen.poll() is None:
            for pid in (self.popen.pid, *self.children()):
                os.kill(pid, signal.SIGKILL)
            self.popen.wait(WITHIN_S)


@contextlib.contextmanager
def serving(folder: Path, *processes: str, **serve: float) -> Iterator[Supervisor]:
    """Run ``esl-shield serve`` over real processes (``ROLE COUNT NAME``), all ready; nothing runs afterwards."""
    argv = [sys.executable, "-m", "esl_shield", "--config", str(folder / "serve.toml"), "serve"]
    made = Supervisor(folder, argv=argv)
    made.write(*processes, **{"start_timeout_s": 50.0, "hang_timeout_s": 30.0} | serve)
    try:
        made.start()
        made.wait("event=serve.ready")
        yield made
    finally:
        made.destroy()


if __name__ == "__main__":
    sys.exit({"supervise": supervise, "given": given, "child": child, "describe": describe}[sys.argv[1]](*sys.argv[2:]))
