"""mod_event_socket's side of one outbound socket: commands in, replies, events and notices out.

Source: mod_event_socket.c (``listener_run``, ``parse_command``, ``event_handler``, ``read_packet``). Two of its habits
that a worker meets: the very first command gets no reply of its own unless it is ``connect`` or ``api``, and
``sendmsg`` is answered +OK as soon as it is queued, even on a channel that has ended.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, ClassVar

import gevent
from gevent import socket
from gevent.event import Event as Signal
from gevent.queue import Queue

from esl_shield.esl.double import api, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.esl.double.park import Parked
    from esl_shield.esl.double.scenario import Fault
    from esl_shield.esl.double.wire import Command, Header

_MY_EVENTS = frozenset(
    f"CHANNEL_{name}"
    for name in (
        *("ANSWER", "APPLICATION", "BRIDGE", "CREATE", "DATA", "DESTROY", "EXECUTE", "EXECUTE_COMPLETE", "HANGUP"),
        *(
            "HANGUP_COMPLETE",
            "ORIGINATE",
            "UUID",
            "OUTGOING",
            "PARK",
            "PROGRESS",
            "PROGRESS_MEDIA",
            "STATE",
            "UNBRIDGE",
        ),
        "UNPARK",
    )
)
_FLOOD_BYTES = 1 << 20


class Listener:
    """Speaks with one worker about one parked leg until either side ends it."""

    def __init__(self, sock: socket.socket, parked: Parked) -> None:
        self._sock = sock
        self._parked = parked
        self._fault: Fault | None = parked.call.fault
        self._outgoing: Queue[bytes | None] = Queue()
        self._reader = wire.CommandReader()
        self._first = True
        self._trickles = self._stalls = False
        self._events: set[str] = set()
        self._filters: list[tuple[str, str]] = []
        self._linger_s: int | None = None
        self._noticed = False
        self.running = True
        self.ended = Signal()

    def run(self) -> None:
        """Read commands until the connection ends; a writer of its own sends what there is to send."""
        writer = gevent.spawn(self._write_all)
        try:
            self._strike("accept")
            if self._parked.channel.down:  # it ended while the connection was being made
                self._disconnect()
            while self.running and (data := self._sock.recv(65536)):
                for command in self._reader.feed(data):
                    self._handle(command)
        except OSError:
            pass
        finally:
            self.running = False
            self._outgoing.put(None)
            writer.join()
            self._sock.close()
            self.ended.set()

    def wants(self, name: str) -> bool:
        """Tell whether the worker asked for events of this name."""
        return self.running and name in self._events

    def fire(self, headers: list[Header]) -> None:
        """Send an event if the worker asked for it and the filters let it through."""
        name = headers[0][1]
        if self.wants(name) and self._passes(headers) and not self._strike(f"event:{name}"):
            self._send(wire.event_frame(headers))

    def channel_reached(self, point: str) -> None:
        """Take note of how far the leg's end has come: ``hangup``, ``state``, ``end``."""
        if point == "hangup" and self._linger_s is None:
            self._disconnect()
        if self._linger_s is not None and not self._noticed and point in (self._parked.call.linger_notice, "end"):
            self._notice()
        if point == "end" and self._linger_s is not None and self._linger_s >= 0:
            gevent.spawn_later(self._linger_s * self._parked.call.timeout_scale, self._disconnect)

    def close(self) -> None:
        """End the conversation without a goodbye."""
        self.running = False
        self._shutdown()
        self._sock.close()

    def _handle(self, command: Command) -> None:
        self._parked.told(command)
        silent, self._first = self._first, False
        if self._strike(f"command:{command.name}"):
            return
        for name, handler in self._HANDLERS.items():
            if command.line.lower().startswith(name):
                reply = handler(self, command)
                break
        else:
            reply = "-ERR command not found"
        if reply is not None and not silent:
            self._send(wire.reply_frame(reply))
        if command.name == "sendmsg" and not command.argument:
            self._parked.queue(command)
            self._races()
        elif command.name == "exit":
            self._disconnect()

    def _races(self) -> None:
        """Let come what was under way when the first application was queued."""
        if self._parked.call.linger_notice == "at once" and self._linger_s is not None and not self._noticed:
            self._notice()
        if self._parked.call.lagging:
            for headers in self._parked.take_prologue():
                self.fire(headers)

    def _connect(self, command: Command) -> None:  # noqa: ARG002 - a handler
        self._send(wire.serialize(self._parked.channel.data()))
        self._parked.connected.set()

    def _linger(self, command: Command) -> str:
        if command.argument:
            self._linger_s = int(command.argument) if command.argument.isdecimal() else 0
            return f"+OK will linger {self._linger_s} seconds"
        self._linger_s = -1
        return "+OK will linger"

    def _nolinger(self, command: Command) -> str:  # noqa: ARG002 - a handler
        self._linger_s = None
        return "+OK will not linger"

    def _filter(self, command: Command) -> str:
        name, _, value = command.argument.partition(" ")
        if name.lower() == "delete":
            name, _, value = value.partition(" ")
            self._filters = [] if name == "all" else [f for f in self._filters if f[0] != name]
            return f"+OK filter deleted. [{name}][{value}]"
        if name.lower() == "add":
            name, _, value = value.partition(" ")
        if not value:
            return "-ERR invalid syntax"
        self._filters.append((name, value))
        return f"+OK filter added. [{name}]=[{value}]"

    def _event(self, command: Command) -> str:
        names = [name.upper() for name in command.argument.split(" ") if name.lower() not in ("plain", "")]
        if not names:
            return "-ERR no keywords supplied"
        self._events |= _MY_EVENTS if "ALL" in names else set(names)
        return "+OK event listener enabled plain"

    def _nixevent(self, command: Command) -> str:
        names = {name.upper() for name in command.argument.split(" ") if name}
        if not names:
            return "-ERR no keywords supplied"
        self._events -= self._events if "ALL" in names else names
        return "+OK events nixed"

    def _noevents(self, command: Command) -> str:  # noqa: ARG002 - a handler
        had, self._events = self._events, set()
        return "+OK no longer listening for events" if had else "-ERR not listening for events"

    def _myevents(self, command: Command) -> str:  # noqa: ARG002 - a handler
        self._events |= _MY_EVENTS
        return "+OK Events Enabled"

    def _sendmsg(self, command: Command) -> str:
        return f"-ERR invalid session id [{command.argument}]" if command.argument else "+OK"

    def _api(self, command: Command) -> None:
        self._send(wire.api_frame(api.answer(self._parked, command.argument)))

    def _getvar(self, command: Command) -> str:
        return self._parked.channel.variables.get(command.argument, "") or "-ERR command not found"

    def _exit(self, command: Command) -> str:  # noqa: ARG002 - a handler
        return "+OK bye"

    _HANDLERS: ClassVar[dict[str, Callable[[Listener, Command], str | None]]] = {
        "exit": _exit,
        "filter ": _filter,
        "connect": _connect,
        "getvar": _getvar,
        "myevents": _myevents,
        "sendmsg": _sendmsg,
        "api ": _api,
        "linger": _linger,
        "nolinger": _nolinger,
        "event": _event,
        "nixevent": _nixevent,
        "noevents": _noevents,
    }

    def _passes(self, headers: list[Header]) -> bool:
        if not self._filters:
            return True
        values: dict[str, str] = {}
        for name, value in headers:
            values.setdefault(name.lower(), value)
        passes = False
        for name, value in self._filters:  # as mod_event_socket.c does: what a negative filter names never passes
            if values.get(name.lower(), "").lower() == value.lstrip("+- ").lower():
                if value.startswith("-"):
                    return False
                passes = True
        return passes

    def _notice(self) -> None:
        self._noticed = True
        channel = self._parked.channel
        self._send(wire.linger_notice(channel.uuid, channel.name, self._linger_s or 0))

    def _disconnect(self) -> None:
        if self.running:
            self._send(wire.disconnect_notice(self._parked.channel.uuid))
            self.running = False
            self._outgoing.put(None)

    def _send(self, data: bytes) -> None:
        if self.running and not self._stalls:
            self._outgoing.put(data)

    def _write_all(self) -> None:
        try:
            while (data := self._outgoing.get()) is not None:
                for part in _parts(data, 1 if self._trickles else len(data)):
                    self._sock.sendall(part)
                    if self._trickles:
                        gevent.sleep(0)
        except OSError:
            pass
        self._shutdown()

    def _shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _strike(self, point: str) -> bool:
        """Misbehave if this is the fault's point; tells whether the real message is to be left out."""
        fault = self._fault
        if fault is None or fault.at != point:
            return False
        self._fault = None
        if fault.kind == "trickle":
            self._trickles = True
            return False
        if fault.kind == "stall":
            self._stalls = True
        elif fault.kind in ("malformed", "oversized"):
            self._send(_MALFORMED if fault.kind == "malformed" else b"X-Flood: x\n" * (_FLOOD_BYTES // 11))
        elif fault.kind == "reset":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.running = False
            self._sock.close()
        else:
            if fault.kind == "truncate":
                self._send(b"Content-Type: text/event-plain\nContent-Length: 4000\n\nEvent-Name: CHAN")
            self.running = False
            self._outgoing.put(None)
        return True


_MALFORMED = b"Content-Type text/event-plain\nContent-Length: -1\n\n"


def _parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
