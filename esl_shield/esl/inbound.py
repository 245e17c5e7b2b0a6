"""FreeSWITCH's event socket as a client: ask commands one at a time, start one and hear its end, hear all events.

For commands a person or a tenant's system asks for, so it blocks and needs no gevent. Invariants: connecting, logging
in and each answer end within ``timeout_s`` seconds; an answer is at most MAX_ANSWER_BYTES; neither the password nor an
answer is in an error.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

from esl_shield.errors.freeswitch import FrameRejected, FreeSwitchAway, FreeSwitchRefused
from esl_shield.esl.commands import Reply, render, reply_of
from esl_shield.esl.frames import API_RESPONSE, COMMAND_REPLY, EVENT_JSON, RUDE_REJECTION, Frame, FrameReader, Limits

if TYPE_CHECKING:
    from typing import Self

    from esl_shield.config.values import Address

MAX_ANSWER_BYTES = 32 * 1024 * 1024  # a dialplan of tens of thousands of extensions is a few MiB
_AUTH_REQUEST = "auth/request"
_READ_BYTES = 256 * 1024


class InboundSocket:
    """One logged-in connection; ``timeout_s`` bounds the connection, the login and each answer.

    Raises FreeSwitchAway when nobody answers, FreeSwitchRefused when the password or this address is not let in.
    """

    def __init__(self, address: Address, password: str, *, timeout_s: float = 5.0, user: str = "") -> None:
        """``user`` (NAME@DOMAIN of the directory) logs in as one of restricted rights, with its own password."""
        self._address = address
        self._timeout_s = timeout_s
        self._reader = FrameReader(frozenset(), Limits(max_body_bytes=MAX_ANSWER_BYTES))
        deadline = time.monotonic() + timeout_s
        try:
            self._socket = socket.create_connection((address.host, address.port), timeout=timeout_s)
        except OSError as error:
            raise self._away(error.strerror or "no connection") from None
        try:
            self._log_in(f"userauth {user}:{password}" if user else f"auth {password}", deadline)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def api(self, command: str) -> Reply:
        """Ask one command and return FreeSWITCH's answer; raises FreeSwitchAway, UnsafeArgument."""
        deadline = time.monotonic() + self._timeout_s
        self._send(render(f"api {command}"))
        while (frame := self._next(deadline)).content_type != API_RESPONSE:
            if frame.content_type == COMMAND_REPLY:  # a login that may not ask this (`userauth`) is told so
                return reply_of(frame)
        return reply_of(frame)

    @property
    def own_port(self) -> int:
        """The port of our end."""
        port: int = self._socket.getsockname()[1]
        return port

    def listen(self, events: str = "ALL") -> None:
        """Ask for every event, or those named, as JSON; raises FreeSwitchAway, FreeSwitchRefused."""
        if not self._command(f"event json {events}").ok:
            raise FreeSwitchRefused(address=self._address, why=f"this login may not listen to {events} events")

    def begin(self, command: str) -> str:
        """Start a command whose end ``listen("BACKGROUND_JOB")`` tells; returns the job's UUID.

        Raises FreeSwitchAway (whether it was started is unknown), FreeSwitchRefused, UnsafeArgument.
        """
        reply = self._command(f"bgapi {command}")
        job = reply.text.removeprefix("+OK Job-UUID: ").strip()
        if not reply.ok or job == reply.text.strip():
            raise FreeSwitchRefused(address=self._address, why="this login may not ask that command")
        return job

    def outcome(self, job: str, within_s: float) -> str | None:
        """Return what a job came to; None when it takes longer. Raises FreeSwitchAway when the connection is lost."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                event = json.loads(self.next_event(deadline - time.monotonic()))
            except FreeSwitchAway:
                if time.monotonic() >= deadline:
                    return None
                raise
            except ValueError:
                raise self._away("it sent an event that is no JSON") from None
            if event.get("Event-Name") == "BACKGROUND_JOB" and event.get("Job-UUID") == job:
                return str(event.get("_body", "")).strip()

    def next_event(self, within_s: float) -> bytes:
        """Return the next event's JSON; raises FreeSwitchAway when none came in time."""
        deadline = time.monotonic() + within_s
        while (frame := self._next(deadline)).content_type != EVENT_JSON:
            pass
        return frame.body

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _log_in(self, login: str, deadline: float) -> None:
        while (frame := self._next(deadline)).content_type != _AUTH_REQUEST:
            if frame.content_type == RUDE_REJECTION:
                raise FreeSwitchRefused(address=self._address, why="this machine is not in its apply-inbound-acl")
        if not self._command(login).ok:
            raise FreeSwitchRefused(address=self._address, why="the password is wrong")

    def _command(self, command: str) -> Reply:
        deadline = time.monotonic() + self._timeout_s
        self._send(render(command))
        while (frame := self._next(deadline)).content_type != COMMAND_REPLY:
            pass
        return reply_of(frame)

    def _send(self, command: str) -> None:
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(command.encode() + b"\n\n")
        except OSError as error:
            raise self._away(error.strerror or "the connection broke") from None

    def _next(self, deadline: float) -> Frame:
        try:
            while (frame := self._reader.next()) is None:
                self._reader.feed(self._receive(deadline))
        except FrameRejected as error:
            raise self._away(f"it sent what is no event socket's frame ({error.fields['reason']})") from None
        return frame

    def _receive(self, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        try:
            self._socket.settimeout(max(left, 0.001))
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            raise self._away(f"no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise self._away(error.strerror or "the connection broke") from None
        if not data or left <= 0:
            raise self._away("it closed the connection" if not data else f"no answer within {self._timeout_s:g} s")
        return data

    def _away(self, problem: str) -> FreeSwitchAway:
        return FreeSwitchAway(address=self._address, problem=problem)
