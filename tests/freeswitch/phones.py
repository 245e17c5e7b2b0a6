"""Telephones that keep several calls at once: agents' desks, which register, and the carrier's side of customers.

A phone answers what comes within a call by itself (re-INVITE, UPDATE, INFO, NOTIFY, BYE) from a thread of its own; a
test tells it what to start. Everything it heard is kept. ``hostile`` phones repeat the user they were called at
wherever a message of theirs has room.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polling import until
from sip_peer import Message, render
from sipp import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_serial = itertools.count(1)
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, NOTIFY, REFER"
_TELEPHONE_EVENT = 101
_SIGNALS = "0123456789*#ABCD"


@dataclass
class Line:
    """One call of a phone, as RFC 3261 12 keeps a dialog; ``remote_sdp`` is the last description heard."""

    phone: Phone
    call_id: str
    local: str
    remote: str
    target: str
    invite: Message | None = None  # what called us
    routes: list[str] = field(default_factory=list)
    cseq: int = 0
    statuses: list[int] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    answered: bool = False
    ended: bool = False
    remote_sdp: str = ""
    session_expires: str = ""

    # What a test does:

    def answer(self, *headers: tuple[str, str]) -> None:
        """Answer the call that rings."""
        assert self.invite
        self.phone._respond(self.invite, 200, self, headers=[*self.phone.spread(self), *headers], sdp=True)
        self.answered = True

    def ring(self) -> None:
        """Say 180."""
        assert self.invite
        self.phone._respond(self.invite, 180, self, headers=self.phone.spread(self))

    def hang_up(self) -> None:
        """Send BYE and wait for its answer."""
        self.request("BYE")
        self.ended = True
        self.until(lambda: self.status_of("BYE") >= 200, "BYE is answered")

    def hold(self) -> None:
        """Put the other side on hold by a re-INVITE."""
        self._reinvite("sendonly")

    def unhold(self) -> None:
        """Take it back."""
        self._reinvite("sendrecv")

    def refresh(self, *headers: tuple[str, str]) -> None:
        """Repeat the description unchanged, as a session timer's refresh does."""
        self._reinvite("sendrecv", *headers)

    def _reinvite(self, direction: str, *headers: tuple[str, str]) -> None:
        cseq = self.request("INVITE", headers=[*self.phone.spread(self), *headers], sdp=direction)
        self.until(lambda: self.status_of("INVITE", cseq) >= 200, f"re-INVITE is answered, {direction}")
        assert self.status_of("INVITE", cseq) == 200, self.statuses
        self.request("ACK", cseq=cseq)

    def refer(self, to: str, *, replaces: Line | None = None) -> None:
        """Send REFER to an extension or a token, or with Replaces to the far end of another line of this phone."""
        target = f"<sip:{to}@{self.phone.domain}>"
        if replaces:
            remote, local = _tag(replaces.remote), _tag(replaces.local)
            quoted = f"{replaces.call_id}%3Bto-tag%3D{remote}%3Bfrom-tag%3D{local}".replace("@", "%40")
            target = f"<sip:{to}@{self.phone.domain}?Replaces={quoted}>"
        self.request(
            "REFER", headers=[("Refer-To", target), ("Referred-By", f"<sip:{self.phone.user}@{self.phone.domain}>")]
        )
        self.until(lambda: self.status_of("REFER") >= 200, "REFER is answered")
        if replaces:
            self.until(lambda: "SIP/2.0 200 OK" in self.notified(), "the transfer is confirmed")
            if not self.ended:
                self.hang_up()  # whoever connected two others is done with both

    def info(self, signal: str) -> None:
        """Send a digit in a SIP INFO."""
        cseq = self.request("INFO", body=f"Signal={signal}\r\nDuration=160\r\n", content_type="application/dtmf-relay")
        self.until(lambda: self.status_of("INFO", cseq) >= 200, "INFO is answered")

    def notified(self) -> list[str]:
        """The sipfrags of the NOTIFYs heard."""
        return [m.body.strip() for m in self.heard if m.method == "NOTIFY" and not m.status]

    def requests(self, method: str) -> list[Message]:
        """Requests of that method heard in this call."""
        return [m for m in self.heard if not m.status and m.method == method]

    def until(self, condition: Callable[[], object], what: str, within_s: float = 8.0) -> None:
        """Wait for a condition, naming phone and call."""
        until(condition, f"{self.phone.name}: {what}; statuses {self.statuses}", within_s=within_s)

    def until_answered(self) -> Line:
        """Wait for the 200 of our INVITE."""
        self.until(lambda: self.answered or self.ended, "the call is answered")
        assert self.answered, self.statuses
        return self

    def until_ended(self, within_s: float = 8.0) -> None:
        """Wait for the other side's BYE, or a refusal."""
        self.until(lambda: self.ended, "the call is ended", within_s)

    def status_of(self, method: str, cseq: int = 0) -> int:
        """The final code of our latest request of a method; 0 while there is none."""
        finals = [m for m in self.heard if m.status >= 200 and m.method == method and (not cseq or m.cseq == cseq)]
        return finals[-1].status if finals else 0

    # The wire:

    def request(
        self, method: str, *, headers: Iterable[tuple[str, str]] = (), body: str = "", content_type: str = "",
        sdp: str = "", cseq: int = 0, branch: str = "",
    ) -> int:  # fmt: skip
        """Send a request within the call; returns its CSeq."""
        if not cseq:
            self.cseq += 1
        number = cseq or self.cseq
        lines = [
            ("Via", self.phone.via(branch)),
            *(("Route", route) for route in self.routes),
            ("From", self.local), ("To", self.remote), ("Call-ID", self.call_id), ("CSeq", f"{number} {method}"),
            ("Max-Forwards", "70"), ("Contact", self.phone.contact(self)), ("Allow", ALLOW), *headers,
        ]  # fmt: skip
        text = self.phone.sdp(self, sdp) if sdp else body
        kind = "application/sdp" if sdp else content_type
        self.phone.send(render(f"{method} {self.target} SIP/2.0", lines, text, kind))
        return number


class Phone:
    """One SIP endpoint. ``user`` registers at ``to`` if ``password`` is given; a carrier has no password."""

    def __init__(
        self, name: str, *, to: int, domain: str = HOST, user: str = "carrier", password: str = "", port: int = 0,
        hostile: bool = False, answers: bool = True, events: bool = True, forwards_to: str = "",
        session_expires: str = "",
    ) -> None:  # fmt: skip
        self.name, self.to, self.domain, self.user, self.password = name, (HOST, to), domain, user, password
        self.forwards_to = forwards_to  # answers calls with 302
        self.hostile, self.answers, self.events, self.session_expires = hostile, answers, events, session_expires
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, port))
        self.port = self._socket.getsockname()[1]
        self.media = Media()
        self.answer_with: tuple[tuple[str, str], ...] = ()  # headers for the calls to come
        self.lines: list[Line] = []
        self.heard: list[Message] = []
        self.sent: list[bytes] = []
        self._answers: dict[tuple[str, str], bytes] = {}
        self._stopping = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if password:
            self._register()

    def stop(self) -> None:
        """Say nothing more."""
        self._stopping.set()
        self._wake.send(b"x")
        self._thread.join(5)
        for sock in (self._socket, self._wake, self._woken):
            sock.close()
        self.media.stop()

    def dial(self, dialled: str, *headers: tuple[str, str]) -> Line:
        """Call an extension or a token; answers a challenge."""
        local = f'"Agent {self.user}" <sip:{self.user}@{self.domain}>;tag={secrets.token_hex(6)}'
        target = f"sip:{dialled}@{self.domain}"
        line = Line(self, f"{secrets.token_hex(8)}@{HOST}", local, f"<{target}>", target)
        self.lines.append(line)
        extra = [*headers, *([("Session-Expires", self.session_expires)] if self.session_expires else [])]
        branch = secrets.token_hex(8)
        cseq = line.request("INVITE", headers=[("Supported", "timer, replaces"), *extra], sdp="sendrecv", branch=branch)
        line.until(lambda: line.status_of("INVITE", cseq) or line.answered, "INVITE is answered")
        challenge = next((m for m in line.heard if m.status == 407), None)
        if challenge:
            line.request("ACK", cseq=cseq, branch=branch)
            proof = ("Proxy-Authorization", self._proof("INVITE", target, challenge["proxy-authenticate"]))
            line.request("INVITE", headers=[proof, ("Supported", "timer, replaces"), *extra], sdp="sendrecv")
        return line

    def ringing(self, count: int = 1) -> Line:
        """Wait for the ``count``-th call to this phone."""
        until(lambda: len(self.called()) >= count, f"{self.name} is called")
        return self.called()[count - 1]

    def called(self) -> list[Line]:
        """Calls that came in, oldest first."""
        return [line for line in self.lines if line.invite]

    @property
    def messages(self) -> list[HeardMessage]:
        """The same in the form the census counts."""
        return [HeardMessage(message.raw.decode("latin-1")) for message in list(self.heard)]

    @property
    def invites(self) -> list[HeardMessage]:
        """INVITEs heard, re-INVITEs included."""
        return [m for m in self.messages if m.text.startswith("INVITE ")]

    # For lines:

    def via(self, branch: str = "") -> str:
        """A Via of ours."""
        return f"SIP/2.0/UDP {HOST}:{self.port};branch=z9hG4bK{branch or secrets.token_hex(8)};rport"

    def contact(self, line: Line) -> str:
        """Our Contact; a hostile phone's names who was called."""
        return f"<sip:{line_user(line) if self.hostile else self.user}@{HOST}:{self.port}>"

    def sdp(self, line: Line, direction: str) -> str:
        """Our description; the session's name is the hostile phone's to choose."""
        name = line_user(line) if self.hostile else "-"
        kinds = f"8 {_TELEPHONE_EVENT}" if self.events else "8"
        events = f"a=rtpmap:{_TELEPHONE_EVENT} telephone-event/8000\r\na=fmtp:{_TELEPHONE_EVENT} 0-16\r\n"
        return (
            f"v=0\r\no=phone 1 {next(_serial)} IN IP4 {HOST}\r\ns={name}\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
            f"m=audio {self.media.port} RTP/AVP {kinds}\r\na=rtpmap:8 PCMA/8000\r\n"
            f"{events if self.events else ''}a={direction}\r\n"
        )

    def spread(self, line: Line) -> list[tuple[str, str]]:
        """What a hostile phone adds to each of its messages."""
        if not self.hostile:
            return []
        user = line_user(line)
        return [
            ("P-Asserted-Identity", f'"{user}" <sip:{user}@{HOST}>'),
            ("Remote-Party-ID", f'"{user}" <sip:{user}@{HOST}>;party=called'),
            ("P-Called-Party-ID", f"<sip:{user}@{HOST}>"),
            ("Referred-By", f"<sip:{user}@{HOST}>"),
            ("X-Called", user),
            ("Reason", f'Q.850;cause=16;text="{user}"'),
            ("User-Agent", user),
        ]

    def send(self, data: bytes) -> None:
        """Send to our proxy."""
        self.sent.append(data)
        self._socket.sendto(data, self.to)

    # The thread:

    def _run(self) -> None:
        while not self._stopping.is_set():
            readable, _, _ = select.select([self._socket, self._woken], [], [])
            if self._socket in readable:
                data, source = self._socket.recvfrom(65535)
                if data.strip():
                    self._take(Message.parse(data, source))

    def _take(self, message: Message) -> None:
        self.heard.append(message)
        line = next((line for line in self.lines if line.call_id == message["call-id"]), None)
        if message.status:
            if line:
                line.heard.append(message)
                self._take_response(line, message)
            return
        key = (message["via"], message["cseq"])
        if key in self._answers:  # a retransmission
            self._socket.sendto(self._answers[key], message.source)
            return
        if message.method == "OPTIONS" and not line:
            self._respond(message, 200, None)
        elif message.method == "INVITE" and not line:
            self._take_call(message)
        elif line:
            line.heard.append(message)
            self._take_request(line, message)
        elif message.method != "ACK":
            self._respond(message, 481, None)

    def _take_call(self, message: Message) -> None:
        line = Line(
            self, message["call-id"], f"{message['to']};tag={secrets.token_hex(6)}", message["from"], message.contact,
            invite=message, routes=message.all("record-route"), remote_sdp=message.body,
        )  # fmt: skip
        line.heard.append(message)
        self.lines.append(line)
        if self.forwards_to:
            self._respond(message, 302, line, contact=f"<sip:{self.forwards_to}>")
            return
        self.media.towards(message.body)
        line.ring()
        if self.answers:
            line.answer(*self.answer_with)

    def _take_request(self, line: Line, message: Message) -> None:
        if message.method == "ACK":
            return
        if message.method == "CANCEL":
            self._respond(message, 200, line)
            assert line.invite
            self._respond(line.invite, 487, line)
            line.ended = True
            return
        if message.body and message.method in ("INVITE", "UPDATE"):
            line.remote_sdp = message.body
            self.media.towards(message.body)
        if message.contact:
            line.target = message.contact
        described = message.method == "INVITE" or (message.method == "UPDATE" and bool(message.body))
        expires = [("Session-Expires", message["session-expires"])] if message["session-expires"] else []
        if expires:
            expires.append(("Require", "timer"))
        extra = expires if message.method in ("INVITE", "UPDATE") else []
        self._respond(message, 200, line, headers=[*self.spread(line), *extra], sdp=described)
        if message.method == "BYE":
            line.ended = True

    def _take_response(self, line: Line, message: Message) -> None:
        line.statuses.append(message.status)
        if message.method != "INVITE" or message.status < 101:
            return
        if message.tag("to") and message.status < 300:
            line.remote = message["to"]
        if message.body:
            line.remote_sdp = message.body
            self.media.towards(message.body)
        if message.status == 200 and not line.answered:
            line.answered, line.target = True, message.contact
            line.routes = list(reversed(message.all("record-route")))
            line.session_expires = message["session-expires"]
            line.request("ACK", cseq=message.cseq)
        elif message.status >= 300 and message.status != 407:
            line.ended = not line.answered
            line.request("ACK", cseq=message.cseq, branch=message["via"].split("branch=z9hG4bK")[1].split(";")[0])

    def _respond(
        self, request: Message, code: int, line: Line | None, *, headers: Iterable[tuple[str, str]] = (),
        sdp: bool = False, contact: str = "",
    ) -> None:  # fmt: skip
        lines = [
            *((name.title(), value) for name in ("via",) for value in request.all(name)),
            *((name.title(), value) for name in ("record-route",) for value in request.all(name)),
            ("From", request["from"]),
            ("To", line.local if line and line.invite is request else request["to"]),
            ("Call-ID", request["call-id"]), ("CSeq", request["cseq"]),
            *([("Contact", contact or self.contact(line))] if line else []),
            ("Allow", ALLOW), ("Supported", "timer"), *headers,
        ]  # fmt: skip
        held = "sendonly" in request.body
        body = self.sdp(line, "recvonly" if held else "sendrecv") if sdp and line else ""
        data = render(f"SIP/2.0 {code} {_PHRASES.get(code, 'X')}", lines, body, "application/sdp" if body else "")
        if code >= 200:
            self._answers[(request["via"], request["cseq"])] = data
        self.sent.append(data)
        self._socket.sendto(data, request.source)

    def _register(self) -> None:
        target = f"sip:{self.domain}"
        local = f"<sip:{self.user}@{self.domain}>"
        line = Line(self, f"r{secrets.token_hex(8)}", f"{local};tag={secrets.token_hex(4)}", local, target)
        self.lines.append(line)
        cseq = line.request("REGISTER", headers=[("Expires", "300")])
        line.until(lambda: line.status_of("REGISTER", cseq), "REGISTER is challenged")
        challenge = line.heard[-1]["www-authenticate"]
        proof = ("Authorization", self._proof("REGISTER", target, challenge))
        cseq = line.request("REGISTER", headers=[("Expires", "300"), proof])
        line.until(lambda: line.status_of("REGISTER", cseq) == 200, "REGISTER is accepted")
        self.lines.remove(line)

    def _proof(self, method: str, uri: str, challenge: str) -> str:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        cnonce = secrets.token_hex(8)
        mine = _md5(f"{self.user}:{given['realm']}:{self.password}")
        answer = _md5(f"{mine}:{given['nonce']}:00000001:{cnonce}:auth:{_md5(f'{method}:{uri}')}")
        return (
            f'Digest username="{self.user}", realm="{given["realm"]}", nonce="{given["nonce"]}", uri="{uri}", '
            f'response="{answer}", algorithm=MD5, cnonce="{cnonce}", qop=auth, nc=00000001'
        )


@dataclass(frozen=True)
class HeardMessage:
    """A message as ``census`` reads it."""

    text: str
    received: bool = True


class Media:
    """RTP of one phone: a stream of silence, digits by RFC 4733, and what comes back."""

    def __init__(self) -> None:
        self.port = free_port()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, self.port))
        self._socket.settimeout(0.02)
        self._to: tuple[str, int] | None = None
        self._sequence, self._stamp, self._source = 1, 0, secrets.randbits(32)
        self._pending: list[bytes] = []
        self.digits: list[str] = []
        self.packets = 0
        self.loud = 0  # packets of audio that are not silence
        self.speaks = False
        self._last_event = -1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def towards(self, sdp: str) -> None:
        """Send to the address a description names."""
        host, port = re.search(r"^c=IN IP4 (\S+)", sdp, re.MULTILINE), re.search(r"^m=audio (\d+)", sdp, re.MULTILINE)
        if host and port:
            self._to = (HOST if host[1] == "0.0.0.0" else host[1], int(port[1]))  # noqa: S104 - hold of old

    def press(self, signal: str) -> None:
        """Queue a digit: 8 packets, the last 3 marked as its end."""
        code = _SIGNALS.index(signal)
        for position in range(8):
            end = 0x80 if position >= 5 else 0
            self._pending.append(struct.pack("!BBH", code, end | 10, min(position + 1, 6) * 160))

    def stop(self) -> None:
        """End the stream."""
        self._stopping.set()
        self._thread.join(2)
        self._socket.close()

    def _run(self) -> None:
        pressed_at = 0
        following = time.monotonic()
        while not self._stopping.is_set():
            self._receive(following - time.monotonic())
            if time.monotonic() < following:
                continue
            following += 0.02
            if not self._to:
                continue
            if self._pending:
                pressed_at = pressed_at or self._stamp
                self._send(_TELEPHONE_EVENT, pressed_at, self._pending.pop(0))
                pressed_at = pressed_at if len(self._pending) % 8 else 0
            else:
                self._send(8, self._stamp, (b"\x24\xa4" if self.speaks else b"\xd5\xd5") * 80)
            self._stamp += 160

    def _send(self, kind: int, stamp: int, payload: bytes) -> None:
        header = struct.pack("!BBHII", 0x80, kind, self._sequence & 0xFFFF, stamp & 0xFFFFFFFF, self._source)
        self._sequence += 1
        assert self._to
        self._socket.sendto(header + payload, self._to)

    def _receive(self, within_s: float) -> None:
        self._socket.settimeout(max(within_s, 0.001))
        try:
            data = self._socket.recv(2048)
        except TimeoutError:
            return
        kind, stamp = data[1] & 0x7F, struct.unpack("!I", data[4:8])[0]
        if kind == _TELEPHONE_EVENT:
            if stamp != self._last_event:
                self.digits.append(_SIGNALS[data[12]])
                self._last_event = stamp
            return
        self.packets += 1
        self.loud += len(set(data[12:]) - {0xD5, 0x55}) > 1


_PHRASES = {180: "Ringing", 200: "OK", 302: "Moved Temporarily", 481: "No Such Call", 487: "Request Terminated"}


def line_user(line: Line) -> str:
    """The user part a call was made to."""
    uri = line.invite.uri if line.invite else line.target
    return uri.split(":", 1)[1].split("@", maxsplit=1)[0]


def _tag(value: str) -> str:
    found = re.search(r";tag=([^;\s]+)", value)
    return found[1] if found else ""


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
