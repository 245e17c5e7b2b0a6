"""A parked leg's own thread: takes what the worker queues, runs it, and goes through the leg's end.

Sources: switch_ivr.c ``switch_ivr_park`` and ``switch_ivr_parse_event``, switch_core_session.c
``switch_core_session_exec``, switch_core_state_machine.c.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event as Signal
from gevent.queue import Queue

from esl_shield.esl.double import api, causes
from esl_shield.esl.double.applications import APPLICATIONS
from esl_shield.esl.double.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.esl.double.listener import Listener
    from esl_shield.esl.double.redeem import Redeem
    from esl_shield.esl.double.scenario import Call, Result
    from esl_shield.esl.double.wire import Command, Header


class Parked:
    """The agent's leg in ``socket``: its queue, its applications, its end."""

    def __init__(self, call: Call, socket_argument: str, result: Result, redeem: Redeem) -> None:
        self.call = call
        self.result = result
        self.redeem = redeem
        self.channel = Channel(call, socket_argument)
        self.connected = Signal()
        self.down = Signal()
        self.waiting = False
        self.listener: Listener | None = None
        self._queue: Queue[Command | None] = Queue()
        self._timers: list[gevent.Greenlet[..., object]] = []
        self._sched_hangups: list[gevent.Greenlet[..., object]] = []
        self._socket_data = (("Application", "socket"), ("Application-Data", socket_argument))
        self._socket_uuid = str(uuid.uuid4())
        self._started = time.monotonic()
        self._status = 0
        self._patience_s = call.cancels_after_s
        self._prologue = self._begin()

    # For the listener:

    def told(self, command: Command) -> None:
        """Note a command of the worker."""
        self.result.told.append(command.raw)
        point = {"connect": "connected", "sendmsg": "decided"}.get(command.name)
        if point:
            self.result.timings_s.setdefault(point, time.monotonic() - self._started)

    def queue(self, command: Command) -> None:
        """Queue a ``sendmsg``; one that hangs up is taken at once while the carrier is waited for."""
        if self.waiting and command.headers.get("call-command") == "hangup":
            self.after(0, lambda: self._obey(command))
        else:
            self._queue.put(command)

    def take_prologue(self) -> list[list[Header]]:
        """Return, once, the events that were fired before anybody could have subscribed."""
        taken, self._prologue = self._prologue, []
        return taken

    def cancel_sched_hangups(self) -> int:
        """Do what ``api sched_del`` does; returns how many tasks it deleted."""
        waiting = [task for task in self._sched_hangups if not task.dead]
        gevent.killall(waiting, block=False)
        self._sched_hangups = []
        return len(waiting)

    # For the dialplan and the applications:

    def after(self, seconds: float, act: Callable[[], object]) -> gevent.Greenlet[..., object]:
        """Do something later, unless the play is over by then."""
        self._timers.append(gevent.spawn_later(seconds, act))
        return self._timers[-1]

    def sched_hangup(self, seconds: float, cause: str = "NORMAL_TEMPORARY_FAILURE") -> None:
        """Do what ``sched_hangup`` does, the dialplan's or the api's: each call adds a task."""
        self._sched_hangups.append(self.after(seconds, lambda: self.hang_up(cause)))

    def wait(self, seconds: float | None) -> bool:
        """Wait for the carrier's next step; tells whether the leg ended meanwhile."""
        self.waiting = True
        try:
            return self.down.wait(seconds)
        finally:
            self.waiting = False

    def fire(self, name: str, first: tuple[Header, ...] = (), last: tuple[Header, ...] = ()) -> None:
        """Write an event from the state of now, if the worker asked for it, and send it."""
        if self.listener is not None and self.listener.wants(name):
            self.listener.fire(self.channel.event(name, first, last))

    def enter(self, call_state: str) -> None:
        """Change the leg's call state, and say so if it is another."""
        if call_state != self.channel.call_state:
            first = self.channel.enters(call_state)
            self.fire("CHANNEL_CALLSTATE", first=first)

    def phone_sees(self, status: int) -> None:
        """Note a SIP status on its way to the phone."""
        self.result.statuses.append(status)

    def pre_answer(self, *, by_carrier: bool = False) -> None:
        """Open media to the phone, once; late negotiation does so ahead of an answer as well."""
        channel = self.channel
        if channel.early or channel.answered or channel.down or not (by_carrier or channel.late_negotiation):
            return
        channel.pre_answer(by_carrier=by_carrier)
        if by_carrier:
            self.phone_sees(183)
        self.fire("CHANNEL_PROGRESS_MEDIA")
        channel.settle_media()
        self.enter("EARLY")

    def answer(self) -> None:
        """Answer the phone, once."""
        if self.channel.answered or self.channel.down:
            return
        self.pre_answer()
        self.channel.answer()
        self.phone_sees(200)
        self.fire("CHANNEL_ANSWER")
        self.channel.settle()
        for name, command in list(self.channel.variables.items()):
            if name.startswith("api_on_answer"):
                api.answer(self, command)
        self.enter("ACTIVE")

    def hang_up(self, cause: str, *, status: int = 0) -> None:
        """Hang the leg up, once; ``status`` is what an unanswered phone sees if not the cause's own."""
        if not self.channel.hangup(cause):
            return
        self._status = status or causes.status_of_cause(cause)
        self.fire("CHANNEL_HANGUP")
        self._reach("hangup")
        self.down.set()
        self._queue.put(None)

    def agent_ends(self) -> None:
        """Take the phone's BYE, or its CANCEL before an answer."""
        channel = self.channel
        if channel.down:
            return
        if not channel.answered:
            channel.note_cancel()
            self.hang_up("ORIGINATOR_CANCEL")
            return
        channel.note_bye()
        self.hang_up("NORMAL_CLEARING")
        channel.set("sip_hangup_disposition", "recv_bye")

    def agent_may_cancel(self) -> None:
        """Start the agent's patience, once, when the first INVITE is out."""
        seconds, self._patience_s = self._patience_s, None
        if seconds is not None:
            self.after(seconds, self.agent_ends)

    def agent_may_hang_up(self) -> None:
        """Start the agent's talk."""
        if self.call.hangs_up_after_s is not None:
            self.after(self.call.hangs_up_after_s, self.agent_ends)

    # The thread:

    def run(self) -> None:
        """Run what is queued until the leg is down, then end it."""
        gevent.wait([self.connected, self.down], count=1)
        while not self.channel.down:
            command = self._queue.get()
            if command is not None and not self.channel.down:
                self._obey(command)
        self._end()

    def respond_in_dialplan(self, status: int) -> None:
        """Refuse the phone without a worker, as the dialplan's own ``respond`` does."""
        self.hang_up(causes.cause_of_status(status), status=status)
        self._end()

    def stop(self) -> None:
        """Forget every timer."""
        gevent.killall(self._timers)

    def _begin(self) -> list[list[Header]]:
        channel = self.channel
        if not self.call.lagging:
            channel.begin_socket(self.call.worker_host)
            return []
        state = channel.event("CHANNEL_STATE")
        execute = channel.event("CHANNEL_EXECUTE", last=(*self._socket_data, ("Application-UUID", self._socket_uuid)))
        channel.begin_socket(self.call.worker_host)
        return [state, execute, channel.event("CHANNEL_PARK")]

    def _obey(self, command: Command) -> None:
        what = command.headers.get("call-command")
        if what == "hangup":
            self.hang_up(command.headers.get("hangup-cause") or "NORMAL_CLEARING")
        elif what == "execute":
            self._execute(command.headers)

    def _execute(self, headers: dict[str, str]) -> None:
        app, argument = headers.get("execute-app-name", ""), headers.get("execute-app-arg", "")
        run = APPLICATIONS.get(app)
        if run is None:
            self.hang_up("DESTINATION_OUT_OF_ORDER")
            return
        channel = self.channel
        channel.set("current_loop", 1)
        channel.set("total_loops", 1)
        channel.execute(app, argument)
        data: tuple[Header, ...] = (("Application", app), *((("Application-Data", argument),) if argument else ()))
        event_uuid = ("Application-UUID", headers.get("event-uuid") or str(uuid.uuid4()))
        self.fire("CHANNEL_EXECUTE", last=(*data, event_uuid))
        channel.set("current_application", app)
        response = run(self, argument) or "_none_"
        self.fire("CHANNEL_EXECUTE_COMPLETE", last=(*data, ("Application-Response", response), event_uuid))
        channel.set("current_loop", None)
        channel.set("total_loops", None)

    def _end(self) -> None:
        channel = self.channel
        self.fire("CHANNEL_UNPARK")
        done = (("Application-Response", "_none_"), ("Application-UUID", self._socket_uuid))
        self.fire("CHANNEL_EXECUTE_COMPLETE", last=(*self._socket_data, *done))
        channel.running_state = "CS_HANGUP"
        self.fire("CHANNEL_STATE")
        channel.mark("Channel-Hangup")
        self.enter("HANGUP")
        self._reach("state")
        channel.running_state = "CS_REPORTING"
        if not channel.answered:
            self.phone_sees(self._status)
        self.fire("CHANNEL_STATE")
        report = channel.reported()
        if self.listener is not None:
            self.listener.fire(report)
        self.result.hangup_cause = channel.hangup_cause
        self.result.timings_s["ended"] = time.monotonic() - self._started
        self._reach("end")

    def _reach(self, point: str) -> None:
        if self.listener is not None:
            self.listener.channel_reached(point)
