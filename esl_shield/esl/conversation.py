"""The conversation over one socket: commands out, replies and events in, every wait with an end.

Invariants:

- Nothing runs behind the caller's back: bytes are read in the greenlet that waits for them, so an idle call is one
  greenlet. One greenlet converses; ``close`` may come from any.
- Every wait ends: with what was awaited, with EslTimeout, or with SessionGone at the end of the connection. Events that
  were received before the end are returned first, also when a command could no longer be written.
- Commands are written whole, under a lock; a write that was broken off ends the socket.
- Replies come in the order of the commands (mod_event_socket.c ``listener_run``). A wait that was broken off leaves
  its replies to be skipped, so that a later command never takes an earlier one's answer.
- Events that arrive while a reply is awaited are kept, in order, at most ``MAX_WAITING_EVENTS``.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING

from gevent import socket
from gevent.lock import Semaphore

from esl_shield.errors.freeswitch import EslTimeout, FrameRejected, SessionGone
from esl_shield.esl.commands import Execute, Hangup, render, reply_of
from esl_shield.esl.frames import (
    API_RESPONSE,
    COMMAND_REPLY,
    DISCONNECT_NOTICE,
    EVENT_PLAIN,
    RUDE_REJECTION,
    Event,
    Frame,
    FrameReader,
    Limits,
)

if TYPE_CHECKING:
    from esl_shield.esl.commands import Command, Reply

MAX_WAITING_EVENTS = 256
_READ_BYTES = 64 * 1024
_CLOSE_TIMEOUT_S = 0.2


class Conversation:
    """One socket spoken to in frames; ``command_timeout_s`` bounds the wait for replies and for writes."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        keep: frozenset[str],
        command_timeout_s: float,
        limits: Limits | None = None,
        keep_events: frozenset[str] | None = None,
    ) -> None:
        self.sock = sock
        self._command_timeout_s = command_timeout_s
        self._reader = FrameReader(keep, limits, keep_events=keep_events)
        self._events: deque[Event] = deque()
        self._skip = 0
        self._gone = ""  # why no command can be sent any more
        self._ended = False  # no more bytes can be read either
        self._lingering = False
        self._commanded = False
        self._spoken = False
        self._sending = Semaphore()

    @property
    def lingering(self) -> bool:
        """Whether the channel has ended and only its last events are still to come."""
        return self._lingering

    @property
    def commanded(self) -> bool:
        """Whether FreeSWITCH was told anything that decides the call: an application or a hangup."""
        return self._commanded

    def request(self, *commands: Command) -> list[Reply]:
        """Send commands in one write and return their replies in order; a refusal is a Reply that is not ``ok``.

        Raises UnsafeArgument before anything is sent; EslTimeout, FrameRejected, SessionGone.
        """
        return [reply_of(frame) for frame in self._frames_for(*commands)]

    def dismiss(self, command: Command, timeout_s: float) -> None:
        """Decide the call with one command, unheard: nothing FreeSWITCH says is looked at any more.

        What refusing costs is what is left for the calls that were taken: one write and one wait, for the socket's end,
        of at most ``timeout_s`` seconds. Raises EslTimeout, SessionGone.
        """
        greeting = "" if self._spoken else "connect\n\n"
        self._write(f"{greeting}{render(command)}\n\n".encode())
        self._commanded = True
        deadline = time.monotonic() + timeout_s
        while self._receive(deadline):
            pass
        self._fail("it was dismissed")

    def next_event(self, timeout_s: float | None = None) -> Event | None:
        """Return the next event, or None after ``timeout_s`` seconds (None: no limit).

        Raises SessionGone when the socket ended and every event was returned; FrameRejected.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._events:
            frame = self._read(deadline)
            if frame is None:
                return None
            self._sort(frame)
        return self._events.popleft()

    def wait_complete(self, event_uuid: str, timeout_s: float) -> Event:
        """Return the CHANNEL_EXECUTE_COMPLETE of an ``execute``; other events stay for ``next_event``.

        Raises EslTimeout after ``timeout_s`` seconds, FrameRejected, SessionGone.
        """
        deadline = time.monotonic() + timeout_s
        aside: list[Event] = []
        try:
            while (event := self.next_event(max(0.0, deadline - time.monotonic()))) is not None:
                if event.name == "CHANNEL_EXECUTE_COMPLETE" and event.get("Application-UUID") == event_uuid:
                    return event
                aside.append(event)
                self._bound_events(len(aside))
        finally:
            self._events.extendleft(reversed(aside))
        raise EslTimeout(timeout_s=timeout_s, awaited="the end of an application")

    def close(self) -> None:
        """Say goodbye if the socket still takes it, and close it; safe to call twice and from another greenlet."""
        if not self._gone and self._sending.acquire(timeout=_CLOSE_TIMEOUT_S):
            with contextlib.suppress(OSError):
                self.sock.settimeout(_CLOSE_TIMEOUT_S)
                self.sock.sendall(b"exit\n\n")
                self.sock.shutdown(socket.SHUT_WR)
            self._sending.release()
        self._fail("it was closed here")

    def _frames_for(self, *commands: Command) -> list[Frame]:
        lines = [render(command) for command in commands]
        self._write("".join(f"{line}\n\n" for line in lines).encode())
        self._commanded = self._commanded or any(isinstance(command, Execute | Hangup) for command in commands)
        replies: list[Frame] = []
        try:
            self._collect(replies, len(lines))
        finally:  # also when the caller's own gevent.Timeout ends the wait
            self._skip += len(lines) - len(replies)
        return replies

    def _collect(self, replies: list[Frame], count: int) -> None:
        deadline = time.monotonic() + self._command_timeout_s
        while len(replies) < count:
            frame = self._read(deadline)
            if frame is None:
                raise EslTimeout(timeout_s=self._command_timeout_s, awaited="a reply")
            if self._sort(frame):
                replies.append(frame)

    def _sort(self, frame: Frame) -> bool:
        """Tell whether the frame is an awaited reply; queue events, take note of notices."""
        kind = frame.content_type
        if kind in (COMMAND_REPLY, API_RESPONSE):
            if not self._skip:
                return True
            self._skip -= 1
        elif kind == EVENT_PLAIN and frame.event is not None:
            self._events.append(frame.event)
            self._bound_events(len(self._events))
        elif kind == DISCONNECT_NOTICE and frame.headers.get("Content-Disposition") == "linger":
            self._lingering = True
        elif kind in (DISCONNECT_NOTICE, RUDE_REJECTION):
            self._end("FreeSWITCH disconnected it")
        return False

    def _bound_events(self, waiting: int) -> None:
        if waiting > MAX_WAITING_EVENTS:
            self._fail("too many events wait")
            raise FrameRejected(reason=self._gone)

    def _read(self, deadline: float | None) -> Frame | None:
        """Return the next frame, or None when the deadline passes first."""
        while True:
            frame = self._next_frame()
            if frame is not None:
                return frame
            if self._ended:
                raise SessionGone(reason=self._gone)
            data = self._receive(deadline)
            if data is None:
                return None
            self._feed(data)

    def _next_frame(self) -> Frame | None:
        try:
            return self._reader.next()
        except FrameRejected:
            self._fail("its last frame was refused")
            raise

    def _feed(self, data: bytes) -> None:
        try:
            if data:
                self._reader.feed(data)
            else:
                self._end("FreeSWITCH closed the connection")
                self._reader.eof()
        except FrameRejected:
            self._fail("its last frame was refused")
            raise

    def _receive(self, deadline: float | None) -> bytes | None:
        try:
            self.sock.settimeout(None if deadline is None else max(0.0, deadline - time.monotonic()))
            data: bytes = self.sock.recv(_READ_BYTES)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError:
            self._fail("the connection broke")
            raise SessionGone(reason=self._gone) from None
        return data

    def _write(self, data: bytes) -> None:
        if self._gone:
            raise SessionGone(reason=self._gone)
        with self._sending:
            self._spoken = True
            try:
                self.sock.settimeout(self._command_timeout_s)
                self.sock.sendall(data)
            except TimeoutError:
                self._fail("a command could not be written")
                raise EslTimeout(timeout_s=self._command_timeout_s, awaited="the socket to take a command") from None
            except OSError:
                self._gone = self._gone or "the connection broke"  # what was received may still be read
                raise SessionGone(reason=self._gone) from None
            except BaseException:  # what follows would be glued to half a command
                self._fail("a command was broken off")
                raise

    def _end(self, reason: str) -> None:
        self._gone = self._gone or reason
        self._ended = True

    def _fail(self, reason: str) -> None:
        self._end(reason)
        self.sock.close()
