"""FreeSWITCH's inbound event socket, answering from a recording; frames are those of 1.11.1 on the wire."""

from __future__ import annotations

import json
import socketserver
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

from esl_shield.config.values import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RECORDED = Path(__file__).parent / "data" / "freeswitch-1.11.1-answers.json"
PASSWORD = "only-on-loopback"


def recorded_answers() -> dict[str, str]:
    """What a real FreeSWITCH with our dialplan answered, by command."""
    answers: dict[str, str] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return answers


class LegAnswers(dict[str, str]):
    """FreeSWITCH's answers to the reaper: which legs are up, which core this is and since when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.up: set[str] = set()
        self.core, self.uptime_s = "core-1", 100_000

    def get(self, command: str, default: str = "") -> str:  # type: ignore[override]
        """Answer a command."""
        word, _, rest = command.partition(" ")
        known = {
            "global_getvar": self.core,
            "uptime": f"{self.uptime_s}\n",
            "uuid_exists": str(rest in self.up).lower(),
        }
        return known.get(word, default)


class EventSocketDouble:
    """Listens on loopback while in its context; ``greeting`` replaces the first frame, ``mute`` answers no api.

    ``job`` says what a command of ``bgapi`` comes to, None: it goes on. ``login`` is what lets a client in.
    """

    def __init__(
        self, answers: Mapping[str, str], *, greeting: bytes = b"Content-Type: auth/request\n\n", mute: bool = False,
        job: Callable[[str], str | None] | None = None, login: str = f"auth {PASSWORD}",
    ) -> None:  # fmt: skip
        self.asked: list[str] = []
        double = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(greeting)
                for command in double._commands(self.rfile):
                    if command.startswith(("auth ", "userauth ")):
                        good = command == login
                        self.wfile.write(
                            b"Content-Type: command/reply\nReply-Text: "
                            + (b"+OK accepted" if good else b"-ERR invalid")
                            + b"\n\n"
                        )
                        if not good:
                            return
                    elif command.startswith("event "):
                        self.wfile.write(
                            b"Content-Type: command/reply\nReply-Text: +OK event listener enabled json\n\n"
                        )
                    elif command.startswith("bgapi ") and job:
                        self.wfile.write(double._begin(command.removeprefix("bgapi "), job))
                    elif not mute:
                        self.wfile.write(double._answer(command.removeprefix("api "), answers))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = Address("127.0.0.1", self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, command: str, answers: Mapping[str, str]) -> bytes:
        self.asked.append(command)
        text = (
            str(int(time.time()))
            if command == "strepoch"
            else answers.get(command, f"-ERR {command} Command not found!\n")
        )
        body = text.encode()
        return b"Content-Type: api/response\nContent-Length: " + str(len(body)).encode() + b"\n\n" + body

    def _begin(self, command: str, job: Callable[[str], str | None]) -> bytes:
        """Reply that a job began and, unless it goes on, the event of its end behind that of somebody else's."""
        self.asked.append(command)
        name, outcome = str(uuid.uuid4()), job(command)
        frames = f"Content-Type: command/reply\nReply-Text: +OK Job-UUID: {name}\nJob-UUID: {name}\n\n"
        ends = [] if outcome is None else [(str(uuid.uuid4()), "+OK other\n"), (name, outcome)]
        for ended, said in ends:
            body = json.dumps({"Event-Name": "BACKGROUND_JOB", "Job-UUID": ended, "_body": said})
            frames += f"Content-Length: {len(body)}\nContent-Type: text/event-json\n\n{body}"
        return frames.encode()

    @staticmethod
    def _commands(stream: object) -> object:
        block: list[bytes] = []
        for line in stream:  # type: ignore[attr-defined]
            if line.strip():
                block.append(line.strip())
            elif block:
                yield b"\n".join(block).decode()
                block = []
