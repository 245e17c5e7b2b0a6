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
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lines import ALLOW, Line, line_user
from media import TELEPHONE_EVENT, Media
from polling import until
from ports import HOST
from sip_peer import Message, render

if TYPE_CHECKING:
    from collections.abc import Iterable

_serial = itertools.count(1)
_PHRASES = {
    180: "Ringing", 183: "Session Progress", 200: "OK", 302: "Moved Temporarily", 481: "No Such Call",
    487: "Request Terminated",
}  # fmt: skip


@dataclass(frozen=True)
class HeardMessage:
    """A message as ``census`` reads it."""

    text: str
    received: bool = True


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

    def call_in(self, did: str, number: str) -> Line:
        """Call a DID as the customer with that number."""
        local = f'"{number}" <sip:{number}@{HOST}:{self.port}>;tag={secrets.token_hex(6)}'
        target = f"sip:{did}@{HOST}:{self.to[1]}"
        line = Line(self, f"{number}-{secrets.token_hex(8)}@{HOST}", local, f"<{target}>", target, user=number)
        self.lines.append(line)
        line.request("INVITE", headers=self.spread(line), sdp="sendrecv")
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
        kinds = f"8 {TELEPHONE_EVENT}" if self.events else "8"
        events = f"a=rtpmap:{TELEPHONE_EVENT} telephone-event/8000\r\na=fmtp:{TELEPHONE_EVENT} 0-16\r\n"
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
        if message.status == 200:
            line.target = message.contact or line.target
            if not line.answered:
                line.answered = True
                line.routes = list(reversed(message.all("record-route")))
                line.session_expires = message["session-expires"]
            # Each copy of it: until an ACK has arrived the other side takes no re-INVITE (RFC 3261 13.2.2.4, 14.2).
            if line.acknowledges:
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


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
