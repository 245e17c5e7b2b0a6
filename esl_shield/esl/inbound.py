"""FreeSWITCH's event socket as a client: log in, ask ``api`` commands one at a time, or listen to all events.

For commands an administrator runs, so it blocks and needs no gevent. Invariants: connecting, logging in and each answer
end within ``timeout_s`` seconds; an answer is at most MAX_ANSWER_BYTES; neither the password nor an answer is in an
error.
"""

from __future__ import annotations

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

    def __init__(self, address: Address, password: str, *, timeout_s: float = 5.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._reader = FrameReader(frozenset(), Limits(max_body_bytes=MAX_ANSWER_BYTES))
        deadline = time.monotonic() + timeout_s
        try:
            self._socket = socket.create_connection((address.host, address.port), timeout=timeout_s)
        except OSError as error:
            raise self._away(error.strerror or "no connection") from None
        try:
            self._log_in(password, deadline)
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

    def listen(self) -> None:
        """Ask for every event, as JSON; raises FreeSwitchAway, FreeSwitchRefused."""
        deadline = time.monotonic() + self._timeout_s
        self._send("event json ALL")
        while (frame := self._next(deadline)).content_type != COMMAND_REPLY:
            pass
        if not reply_of(frame).ok:
            raise FreeSwitchRefused(address=self._address, why="this login may not listen to every event")

    def next_event(self, within_s: float) -> bytes:
        """Return the next event's JSON; raises FreeSwitchAway when none came in time."""
        deadline = time.monotonic() + within_s
        while (frame := self._next(deadline)).content_type != EVENT_JSON:
            pass
        return frame.body

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _log_in(self, password: str, deadline: float) -> None:
        while (frame := self._next(deadline)).content_type != _AUTH_REQUEST:
            if frame.content_type == RUDE_REJECTION:
                raise FreeSwitchRefused(address=self._address, why="this machine is not in its apply-inbound-acl")
        self._send(render(f"auth {password}"))
        while (frame := self._next(deadline)).content_type != COMMAND_REPLY:
            pass
        if not reply_of(frame).ok:
            raise FreeSwitchRefused(address=self._address, why="the password is wrong")

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
