"""Plays FreeSWITCH's side of a recorded conversation to a worker: the same frames in the same order.

Recorded UUIDs become the ones the worker draws now, found by comparing its commands with the recorded ones; the dialled
token and the domain are the test's. A recording goes on when the worker has said what it said then, but for questions
whose answer was the same as before: of these there are as many as people took time. They are answered as before.
"""

from __future__ import annotations

import re
import socket
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import esl_transcripts

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "data" / "control"
RECORDED_DOMAIN = "agents.example.com"
PATIENCE_S = 10.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ASKS = ("api uuid_getvar ", "api conference ")
_ADDED = ("filter Application -socket",)  # said since the recordings were made; what it leaves out changes nothing
_ACCEPTED = "Content-Type: command/reply\nReply-Text: +OK\n\n"


class Replay:
    """One recorded conversation; ``channel`` is the parked leg's UUID, drawn if not given.

    Of a customer who called in, ``caller`` is the token shown; ``dialled`` is a token or, percent-encoded, a DID.
    """

    def __init__(self, name: str, *, dialled: str, domain: str, channel: str = "", caller: str = "") -> None:
        self._messages = esl_transcripts.load(name, FOLDER)
        data = next(message.data.decode() for message in self._messages if not message.from_worker)

        def recorded(header: str) -> str:
            found = re.search(rf"^{header}: (\S+)$", data, re.MULTILINE)
            assert found
            return found[1]

        self.channel = channel or str(uuid.uuid4())
        self._texts = {recorded("Caller-Destination-Number"): dialled, RECORDED_DOMAIN: domain}
        self._texts[recorded("Unique-ID")] = self.channel
        if caller:
            self._texts[recorded("Caller-Caller-ID-Number")] = caller
        self._answers: dict[str, str] = {}
        # Recorded commands whose reply has not come yet; None: it is not wanted, one of _ADDED: there is none.
        self._asked: list[str | None] = []
        self._replies = _replies(self._messages)
        self._buffer = b""
        self.on_bridge: Callable[[str], None] = lambda _: None  # told of a command with a permit, before its answer
        self.goes_on = threading.Event()  # the parties may hang up
        self.goes_on.set()
        # UUID of the customer's leg: once the worker has chosen it, or the parked one
        self.customer = self.channel if caller else ""

    def play(self, worker: tuple[str, int]) -> None:
        """Play it to the end; raises AssertionError when the worker says something else."""
        with socket.create_connection(worker, PATIENCE_S) as self._socket:
            for position, message in enumerate(self._messages):
                if not message.from_worker:
                    self._say(message.data.decode())
                elif message.data == b"exit":
                    self._leave()
                    return
                elif self._is_old(message.data.decode(), self._replies.get(position, "")):
                    self._asked.append(None)
                else:
                    self._hear(message.data.decode())

    def hang_up_at_once(self, worker: tuple[str, int]) -> None:
        """Play the hand-off of a leg that is gone before the worker says anything about it."""
        with socket.create_connection(worker, PATIENCE_S) as self._socket:
            assert self._command() == "connect"
            data = next(message.data for message in self._messages if not message.from_worker)
            self._socket.sendall(self._now(data.decode()).encode() + b"\n\n")
            gone = "-ERR No such channel!\n"
            while (command := self._command()) != "exit":
                reply = _ACCEPTED
                if command.startswith("api "):
                    reply = f"Content-Type: api/response\nContent-Length: {len(gone)}\n\n{gone}"
                self._socket.sendall(reply.encode())

    def _is_old(self, question: str, reply: str) -> bool:
        return question.startswith(_ASKS) and self._answers.get(self._now(question)) == self._now(reply)

    def _leave(self) -> None:
        """Take the worker's goodbye."""
        while (command := self._command()) != "exit":
            self._answer_again(command)

    def _hear(self, recorded: str) -> None:
        while True:
            command = self._command()
            if command in _ADDED and command != recorded:
                self._asked.append(command)
                self._accept_added()
                continue
            if _kind(command) == _kind(self._now(recorded)):
                break
            self._answer_again(command)
        before, now = _UUID.findall(recorded), _UUID.findall(command)
        if "origination_uuid" in command:
            self.customer = re.search(r"origination_uuid=([^,\]]+)", command)[1]  # type: ignore[index]
        # Before a leg carried route data it had one less: the call's id, which comes last.
        self._texts |= dict(zip(before, now, strict=False))
        if "X-Shield-Permit=" in command:
            self.on_bridge(command)
        self._asked.append(recorded)

    def _say(self, recorded: str) -> None:
        head, _, body = self._now(recorded).partition("\n\n")
        if "text/event-plain" in head and "\nHangup-Cause: " in body:
            self._wait_for_the_hang_up()
        if "api/response" in head or "command/reply" in head:
            asked = self._asked.pop(0)
            if asked is None:
                return
            self._answers[self._now(asked)] = body
        head = re.sub(r"(?m)^Content-Length: \d+", f"Content-Length: {len(body.encode())}", head)
        self._socket.sendall(f"{head}\n\n{body}".encode())
        self._accept_added()

    def _accept_added(self) -> None:
        """Answer what no recording has, once all before it is answered."""
        while self._asked and self._asked[0] in _ADDED:
            self._asked.pop(0)
            self._socket.sendall(_ACCEPTED.encode())

    def _wait_for_the_hang_up(self) -> None:
        """Let the worker ask until the test lets the parties hang up."""
        self._socket.settimeout(0.05)
        while not self.goes_on.is_set():
            try:
                self._answer_again(self._command())
            except TimeoutError:
                continue
        self._socket.settimeout(PATIENCE_S)

    def _answer_again(self, command: str) -> None:
        assert command.startswith(_ASKS), f"the worker says {command!r}"
        body = self._answers.get(command, "_undef_")
        self._socket.sendall(f"Content-Type: api/response\nContent-Length: {len(body)}\n\n{body}".encode())

    def _command(self) -> str:
        while b"\n\n" not in self._buffer:
            data = self._socket.recv(65536)
            assert data, "the worker closed the connection"
            self._buffer += data
        command, self._buffer = self._buffer.split(b"\n\n", 1)
        return command.decode()

    def _now(self, text: str) -> str:
        for before, now in self._texts.items():
            text = text.replace(before, now)
        return text


def _is_reply(message: esl_transcripts.Message) -> bool:
    head = message.data.partition(b"\n\n")[0]
    return not message.from_worker and (b"api/response" in head or b"command/reply" in head)


def _replies(messages: list[esl_transcripts.Message]) -> dict[int, str]:
    """Bodies of the replies by the position of their command."""
    commands = [position for position, message in enumerate(messages) if message.from_worker]
    bodies = [message.data.decode().partition("\n\n")[2] for message in messages if _is_reply(message)]
    return dict(zip(commands, bodies, strict=False))


def _kind(command: str) -> str:
    """What must be the same: a question wholly, of other commands their names."""
    if command.startswith(_ASKS):
        return command
    words = command.split()
    return " ".join(words[:2]) if words[0] == "api" else words[0]
