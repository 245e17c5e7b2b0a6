"""One parked call: greenswitch's OutboundSession without its reader greenlets and its faults.

Invariants: the base's constructor is never called, so none of its greenlets, queues or buffers exist; whatever it
offers to the public is either done safely here or raises UnsafeMethod. Waiting, bounds and order are those of
``conversation``.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from greenswitch.esl import OutboundSession

from esl_shield.errors.freeswitch import CommandRefused, SessionGone, UnsafeMethod
from esl_shield.esl.commands import Command, Execute, Hangup, Reply, name_of
from esl_shield.esl.conversation import Conversation
from esl_shield.esl.frames import Event, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent import socket

__all__ = ["Command", "Event", "Execute", "Hangup", "Reply", "Session"]


class Session(Conversation, OutboundSession):
    """One call FreeSWITCH parked into us.

    ``keep`` and ``keep_events`` name the headers to store, as FrameReader has them. ``command_timeout_s`` bounds the
    wait for each reply, in seconds.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: object,
        *,
        keep: frozenset[str],
        command_timeout_s: float,
        limits: Limits | None = None,
        keep_events: frozenset[str] | None = None,
    ) -> None:
        # OutboundSession's own constructor would start two polling greenlets and an unbounded reader.
        Conversation.__init__(
            self, sock, keep=keep, command_timeout_s=command_timeout_s, limits=limits, keep_events=keep_events
        )
        self.address = address
        self.arrived = time.monotonic()  # when FreeSWITCH connected; the listener knows better
        self.session_data: Event | None = None

    def connect(self) -> Event:
        """Take over the parked channel and return its data; a second call returns the same.

        Raises CommandRefused, EslTimeout, FrameRejected, SessionGone.
        """
        if self.session_data is None:
            event = self._frames_for("connect")[0].event
            if event is None or "Unique-ID" not in event:
                raise CommandRefused(command="connect")
            self.session_data = event
        return self.session_data

    def execute(self, app: str, argument: str = "") -> str:
        """Queue a dialplan application on the channel and return the uuid its completion event will carry.

        Raises CommandRefused when FreeSWITCH does not take it, and what ``request`` raises.
        """
        self._refuse_when_ended()
        event_uuid = str(uuid.uuid4())
        self._insist(Execute(app, argument, event_uuid))
        return event_uuid

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the parked channel with a Q.850 cause name; raises what ``execute`` raises."""
        self._refuse_when_ended()
        self._insist(Hangup(cause))

    # What the base class promises, in its names:

    @property
    def uuid(self) -> str:
        """The parked channel's uuid; raises SessionGone before ``connect``."""
        return self._data["Unique-ID"]

    @property
    def call_uuid(self) -> str | None:
        """The channel's call uuid, if kept; raises SessionGone before ``connect``."""
        return self._data.get("variable_call_uuid")

    @property
    def caller_id_number(self) -> str | None:
        """The caller's number as the phone sent it (forgeable), if kept; raises SessionGone before ``connect``."""
        return self._data.get("Caller-Caller-ID-Number")

    @property
    def connected(self) -> bool:  # type: ignore[override]  # an attribute there, derived here
        """Whether commands can still be sent."""
        return not self._gone

    def send(self, data: str) -> Reply:
        """Send one single-line command and return its reply; raises what ``request`` raises."""
        return self.request(data)[0]

    def stop(self) -> None:
        """Do what ``close`` does."""
        self.close()

    def call_command(
        self,
        app_name: str,
        app_args: str | None = None,
        block: bool = False,
        response_timeout: float | None = None,
    ) -> str | Event:
        """Execute an application; with ``block`` wait for its end, at most ``response_timeout`` seconds."""
        event_uuid = self.execute(app_name, app_args or "")
        return self.wait_complete(event_uuid, response_timeout or self._command_timeout_s) if block else event_uuid

    def bridge(self, args: str, block: bool = True, response_timeout: float | None = None) -> str | Event:
        """Execute ``bridge``; with ``block`` wait for its end, at most ``response_timeout`` seconds."""
        return self.call_command("bridge", args, block=block, response_timeout=response_timeout)

    def playback(self, path: str, block: bool = True, response_timeout: float | None = None) -> str | Event:
        """Execute ``playback``; with ``block`` wait for its end, at most ``response_timeout`` seconds."""
        return self.call_command("playback", path, block=block, response_timeout=response_timeout)

    def answer(self) -> str:
        """Execute ``answer`` and return its uuid."""
        return self.execute("answer")

    def park(self) -> None:
        """Execute ``park``."""
        self.execute("park")

    def myevents(self) -> None:
        """Ask for every event of this channel; raises CommandRefused and what ``request`` raises."""
        self._insist("myevents")

    def linger(self, timeout: int | None = None) -> None:
        """Keep the socket open after the channel ends, for at most ``timeout`` seconds; raises CommandRefused."""
        self._insist("linger" if timeout is None else f"linger {timeout:d}")

    def uuid_break(self) -> None:
        """Break off the application the channel executes; raises what ``request`` raises."""
        self._refuse_when_ended()
        self.request(f"api uuid_break {self.uuid}")

    def raise_if_disconnected(self) -> None:
        """Raise SessionGone unless the channel is there and takes commands."""
        self._refuse_when_ended()
        if self.session_data is None or self._gone:
            raise SessionGone(reason=self._gone or "it was never connected")

    @property
    def _data(self) -> Event:
        if self.session_data is None:
            raise SessionGone(reason="it was never connected")
        return self.session_data

    def _refuse_when_ended(self) -> None:
        if self._lingering:
            raise SessionGone(reason="the channel has ended")

    def _insist(self, command: Command) -> None:
        if not self.request(command)[0].ok:
            raise CommandRefused(command=name_of(command))


def _unsafe(name: str, instead: str) -> Callable[..., NoReturn]:
    def method(self: Session, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001
        raise UnsafeMethod(method=name, instead=instead)

    method.__name__ = name
    method.__doc__ = f"Raise UnsafeMethod; use {instead}."
    return method


for _name, _instead in {
    "start_event_handlers": "next_event",
    "register_handle": "next_event",
    "unregister_handle": "next_event",
    "receive_events": "next_event",
    "process_events": "next_event",
    "handle_event": "next_event",
    "on_event": "next_event",
    "on_hangup": "next_event",
    "on_disconnect": "next_event",
    "register_expected_event": "wait_complete",
    "play_and_get_digits": "execute and wait_complete",
    "say": "execute and wait_complete",
}.items():
    setattr(Session, _name, _unsafe(_name, _instead))
