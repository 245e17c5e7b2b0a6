"""SIPp processes and what they saw: each writes every message it sent or got, with the time, to a trace file."""

from __future__ import annotations

import datetime as dt
import re
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polling import until
from ports import HOST, free_port

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(
    r"-{40,} (?P<at>\d{4}-\d\d-\d\d[T\s]+[\d:.]+)[^\n]*\n(?P<what>[^\n]*)\n\n?(?P<text>.*?)(?=\n-{40,} \d{4}|\Z)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Message:
    """One SIP message on one party's wire."""

    at: dt.datetime
    received: bool
    text: str

    @property
    def first_line(self) -> str:
        """The request line or the status line."""
        return self.text.split("\n", 1)[0].strip()

    @property
    def status(self) -> int:
        """The response's code; 0 for a request."""
        match = re.match(r"SIP/2\.0 (\d{3})", self.first_line)
        return int(match[1]) if match else 0


def _media_port() -> int:
    """A port for audio; SIPp binds the second one after it for video."""
    while True:
        port, _, video = free_port(), free_port(), free_port()
        if video == port + 2:
            return port


class Sipp:
    """One SIPp process playing one scenario; untraced, for many calls, it keeps no messages."""

    def __init__(
        self, folder: Path, name: str, scenario: str, *arguments: str, port: int | None = None, traced: bool = True
    ) -> None:
        self.port = port or free_port()
        self.name = name
        self._trace = folder / f"{name}.messages"
        self._log = (folder / f"{name}.log").open("wb")
        path = folder / f"{name}.xml"
        path.write_text(scenario)
        command = [
            "sipp", *arguments, "-sf", str(path), "-i", HOST, "-p", str(self.port), "-mi", HOST,
            "-mp", str(_media_port()), "-nostdin", "-trace_err", "-error_file", str(folder / f"{name}.errors"),
            *(("-trace_msg", "-message_file", str(self._trace)) if traced else ()),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL, cwd=folder
        )

    def wait(self, within_s: float = 20.0) -> int:
        """SIPp's exit code; 0 when every call went as the scenario says."""
        return self.process.wait(within_s)

    @property
    def messages(self) -> list[Message]:
        """What went over this party's wire so far."""
        if not self._trace.exists():
            return []
        text = self._trace.read_text(encoding="latin-1")
        return [
            Message(
                dt.datetime.fromisoformat(re.sub(r"[T\s]+", "T", block["at"])[:26]),
                "received" in block["what"],
                block["text"].strip("\n"),
            )
            for block in _BLOCK.finditer(text)
        ]

    @property
    def statuses(self) -> list[int]:
        """Codes of the responses received, in order."""
        return [message.status for message in self.messages if message.received and message.status]

    def stop(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()


class Carrier(Sipp):
    """A carrier: answers any number of calls the same way until stopped (with ``-m`` that many)."""

    def __init__(
        self, folder: Path, name: str, scenario: str, *arguments: str, port: int | None = None, traced: bool = True
    ) -> None:
        super().__init__(folder, name, scenario, *arguments, port=port, traced=traced)
        try:
            until(self._listens, f"carrier {name} listens", within_s=10)
        except BaseException:
            self.stop()
            raise

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            message = f"carrier {self.name} ended: see its .errors and .log"
            raise RuntimeError(message)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((HOST, self.port))
            except OSError:
                return True
        return False

    @property
    def invites(self) -> list[Message]:
        """INVITE requests that arrived, retransmissions and re-INVITEs included."""
        return [m for m in self.messages if m.received and m.first_line.startswith("INVITE ")]


class Agent(Sipp):
    """An agent's phone making one call."""

    def __init__(
        self, folder: Path, name: str, scenario: str, *, dialled: str, password: str, user: str, to: int,
        port: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            folder, name, scenario, f"{HOST}:{to}", "-m", "1", "-s", dialled, "-au", user, "-ap", password,
            "-timeout", "60s", "-timeout_error", port=port,
        )  # fmt: skip

    @property
    def final_status(self) -> int:
        """The code that ended or answered the call (401 and 407 challenges aside); 0 while there is none."""
        return next((code for code in self.statuses if code >= 200 and code not in (401, 407)), 0)

    @property
    def seconds_to_final(self) -> float:
        """Seconds from the authenticated INVITE to the final response."""
        sent = [m.at for m in self.messages if not m.received and m.first_line.startswith("INVITE ")]
        got = next(m.at for m in self.messages if m.received and m.status == self.final_status)
        return (got - sent[-1]).total_seconds()
