"""A worker that speaks the call flow by rote and writes down the conversation, and a resolver with one number.

Recordings have the form of ``tests/data/transcripts``: ``> `` before each line from the worker, ``< `` before each line
from FreeSWITCH, ``# `` before remarks. Host name and addresses are replaced by fixed ones, lengths adjusted to fit.
"""

from __future__ import annotations

import hashlib
import hmac
import http.server
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote
from uuid import UUID, uuid4

from lab import DOMAIN, LUA_SECRET
from ports import HOST

from esl_shield.calls import dialstring
from esl_shield.calls.permits import Permit
from esl_shield.calls.records import Allowed
from esl_shield.calls.routing import Route
from esl_shield.calls.signs import EVENTS
from esl_shield.config.gateways import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.config.gateways import Delivery

CALLER_ID = "+862100000000"
ALARM_S = 300


class StandInResolver:
    """Answers ``POST /redeem`` for signed requests: 200 with ``uri``, or the status it is told to give."""

    def __init__(self, port: int, uri: Callable[[str], str], *, status: int = 200, text: str = "") -> None:
        outer = self
        self.requests: list[dict[str, str]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                outer.requests.append(form)
                seconds, _, signature = self.headers.get("X-Shield-Signature", "").partition(".")
                signed = "|".join((seconds, form.get("permit", ""), form.get("token", ""), form.get("gateway", "")))
                right = hmac.compare_digest(
                    signature, hmac.new(LUA_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
                )
                code, body = (status, text or uri(form["gateway"])) if right else (404, "refused")
                self.send_response(code)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((HOST, port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the listener."""
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Attempt:
    """One ``sendmsg execute`` in the worker's own words (``direct``, ``edge``), or a ``plain`` bridge to ``number``."""

    gateway: str
    delivery: str
    number: str = ""

    def route(self) -> Route:
        """The gateway as the worker's configuration would name it."""
        delivery: Delivery = "direct" if self.delivery == "direct" else "edge"
        return Route(Gateway(self.gateway, delivery, proxy="192.0.2.1:5060"), CALLER_ID)

    def command(self, token: str, timeout_s: int) -> tuple[str, str]:
        """The sendmsg and its Event-UUID."""
        execution, event_uuid = self._execution(token, timeout_s), str(uuid4())
        message = (
            f"sendmsg\nEvent-UUID: {event_uuid}\ncall-command: execute\nexecute-app-name: {execution.app}\n"
            f"execute-app-arg: {execution.argument}"
        )
        return message, event_uuid

    def _execution(self, token: str, timeout_s: int) -> dialstring.Execution:
        if self.delivery == "plain":
            return dialstring.Execution("bridge", f"sofia/gateway/{self.gateway}/{self.number}")
        return dialstring.execution(
            self.route(), token=token, domain=DOMAIN, permit=Permit(), sip_call_id=uuid4(), answer_timeout_s=timeout_s
        )


@dataclass
class Recording:
    """The lines of one conversation."""

    title: str
    lines: list[str] = field(default_factory=list)

    def add(self, mark: str, text: str) -> None:
        """Note what one side said."""
        self.lines += [f"{mark} {line}" for line in text.split("\n")]

    def add_frame(self, head: bytes, body: bytes) -> tuple[str, str]:
        """Note a frame of FreeSWITCH's, with fixed names of the machine; returns its two parts as noted."""
        head_text, body_text = _anonymous(head.decode()), _anonymous(body.decode())
        head_text = re.sub(r"(?m)^Content-Length: \d+", f"Content-Length: {len(body_text.encode())}", head_text)
        self.add("<", head_text + "\n")
        if body_text:
            self.add("<", body_text.removesuffix("\n"))
        return head_text, body_text

    def render(self) -> str:
        """The whole file."""
        return "\n".join([f"# {self.title}", *self.lines, ""])


class RecordingWorker:
    """Takes one call through ``attempts`` in order, then hangs up with the last failure's cause."""

    def __init__(
        self, port: int, recording: Recording, attempts: list[Attempt], *, timeout_s: int = 60, alarm_s: int = ALARM_S
    ) -> None:
        self._listener = socket.create_server((HOST, port))
        self._alarm_s = alarm_s
        self.recording, self._attempts, self._timeout_s = recording, attempts, timeout_s
        self._buffer = b""
        self.events: list[dict[str, str]] = []
        self.error: BaseException | None = None
        self.accepted, self.done = False, threading.Event()
        threading.Thread(target=self._guard, daemon=True).start()

    @property
    def result(self) -> tuple[str, str]:
        """``shield_result`` and ``shield_cause`` as the channel's last event has them; empty without the script."""
        last = next((event for event in reversed(self.events) if "Event-Name" in event), {})
        return last.get("variable_shield_result", ""), last.get("variable_shield_cause", "")

    def stop(self) -> None:
        """Stop listening; a call that was accepted goes on."""
        self._listener.close()

    def wait(self, within_s: float = 20.0) -> None:
        """Wait until the conversation is over; raises what went wrong in it."""
        if not self.done.wait(within_s):
            message = "the conversation did not end"
            raise TimeoutError(message)
        if self.error:
            raise self.error

    def _guard(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error
        finally:
            self._listener.close()
            if self.accepted:
                self._socket.close()
            self.done.set()

    def _say(self, *commands: str) -> None:
        for command in commands:
            self.recording.add(">", command + "\n")
        self._socket.sendall("".join(command + "\n\n" for command in commands).encode())

    def _read(self) -> dict[str, str] | None:
        """The next frame's headers, an event's own headers included; None when FreeSWITCH closes."""
        while b"\n\n" not in self._buffer:
            if not self._fill():
                return None
        head, self._buffer = self._buffer.split(b"\n\n", 1)
        length = re.search(rb"^Content-Length: (\d+)", head, re.MULTILINE)
        body = b""
        if length:
            while len(self._buffer) < int(length[1]):
                self._fill()
            body, self._buffer = self._buffer[: int(length[1])], self._buffer[int(length[1]) :]
        head_text, body_text = self.recording.add_frame(head, body)
        pairs = [line.partition(": ") for line in (head_text + "\n" + body_text).split("\n")]
        return {name: unquote(value) for name, _, value in reversed(pairs) if name}

    def _fill(self) -> bool:
        data = self._socket.recv(65536)
        self._buffer += data
        return bool(data)

    def _serve(self) -> None:
        self._socket, _ = self._listener.accept()
        self._socket.settimeout(60)
        self.accepted = True
        self._say("connect")
        channel = self._read()
        uuid_, token = channel["Unique-ID"], channel["Caller-Destination-Number"]
        attempts = list(self._attempts)
        variables = dialstring.parked_leg_variables(
            attempts[0].route(),
            UUID(uuid_),
            answer_timeout_s=self._timeout_s,
            call=UUID(uuid_),
            allowed=Allowed("ALLOWED"),
        )
        dressing = f"api uuid_setvar_multi {uuid_} {variables}"
        execute, waiting = attempts.pop(0).command(token, self._timeout_s)
        self._say(
            f"filter Unique-ID {uuid_}",
            f"event plain {' '.join(EVENTS)}",
            dressing,
            f"api sched_del {uuid_}",
            f"api sched_hangup +{self._alarm_s} {uuid_} NORMAL_TEMPORARY_FAILURE",
            "linger",
            execute,
        )
        while (event := self._read()) is not None:
            self.events.append(event)
            if event.get("Event-Name") == "CHANNEL_HANGUP_COMPLETE":
                self._say("exit")
            if event.get("Event-Name") != "CHANNEL_EXECUTE_COMPLETE" or event["Application-UUID"] != waiting:
                continue
            if event["Answer-State"] == "hangup":
                continue  # the agent's leg is ending: HANGUP_COMPLETE follows
            if attempts:
                execute, waiting = attempts.pop(0).command(token, self._timeout_s)
                self._say(dressing, execute)
            else:
                self._say(f"sendmsg\ncall-command: hangup\nhangup-cause: {_cause(event)}")
        self.recording.lines.append("# socket closed by FreeSWITCH")


def _cause(event: dict[str, str]) -> str:
    """What to hang the agent's leg up with after the last failed attempt."""
    by_result = {"destination": "OUTGOING_CALL_BARRED", "refused": "NORMAL_TEMPORARY_FAILURE"}
    cause = by_result.get(event.get("variable_shield_result", "")) or event.get("variable_shield_cause")
    if not cause:
        early = event["variable_originate_disposition"] == "SUCCESS"
        cause = event["variable_bridge_hangup_cause" if early else "variable_originate_disposition"]
    return "NORMAL_TEMPORARY_FAILURE" if cause == "INVALID_GATEWAY" else cause


def _anonymous(text: str) -> str:
    text = re.sub(r"(FreeSWITCH-(?:Hostname|Switchname): ).*", r"\1vm", text)
    text = re.sub(r"(FreeSWITCH-IPv4: ).*", r"\g<1>192.0.2.2", text)
    return re.sub(r"(FreeSWITCH-IPv6: ).*", r"\1fd00%3A%3A2", text)
