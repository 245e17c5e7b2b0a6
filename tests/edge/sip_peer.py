"""SIP peers that say exactly what a test wants and keep every byte they got: FreeSWITCH's side, and carriers."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gevent import select  # a double of FreeSWITCH may live in this thread and must go on answering
from ports import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE_S = 5.0
_SHORT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "m": "contact",
    "i": "call-id",
    "l": "content-length",
    "c": "content-type",
}
SDP = (
    "v=0\r\no=FreeSWITCH 1700000001 1700000002 IN IP4 127.0.0.1\r\ns=FreeSWITCH\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


class Silence(AssertionError):
    """Nothing that was waited for arrived."""


@dataclass(frozen=True)
class Message:
    """One SIP message as it was on the wire, and who sent it."""

    raw: bytes
    source: tuple[str, int] = (HOST, 0)
    lines: tuple[tuple[str, str], ...] = ()
    first: str = ""
    body: str = ""

    @classmethod
    def parse(cls, raw: bytes, source: tuple[str, int]) -> Message:
        """Split a message; header names in lower case, long form."""
        head, _, body = raw.decode("latin-1").partition("\r\n\r\n")
        first, *rest = head.split("\r\n")
        lines = []
        for line in rest:
            name, _, value = line.partition(":")
            lines.append((_SHORT.get(name.strip().lower(), name.strip().lower()), value.strip()))
        return cls(raw, source, tuple(lines), first, body)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.lines if key == name.lower()]

    def __getitem__(self, name: str) -> str:
        return (self.all(name) or [""])[0]

    @property
    def status(self) -> int:
        """A response's code; 0 for a request."""
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method, of a response that of its request."""
        return self["cseq"].split()[-1] if self.status else self.first.split()[0]

    @property
    def uri(self) -> str:
        """The Request-URI."""
        return self.first.split()[1]

    @property
    def cseq(self) -> int:
        """CSeq's number."""
        return int(self["cseq"].split()[0])

    def tag(self, name: str) -> str:
        """The tag of From or To."""
        found = re.search(r";tag=([^;\s]+)", self[name])
        return found[1] if found else ""

    @property
    def contact(self) -> str:
        """Contact's URI."""
        return uri_of(self["contact"])

    @property
    def names(self) -> set[str]:
        """The headers there are."""
        return {name for name, _ in self.lines}


def uri_of(value: str) -> str:
    """The URI within a name-addr."""
    found = re.search(r"<([^>]+)>", value)
    return found[1] if found else value.split(";", maxsplit=1)[0].strip()


def render(first: str, headers: Iterable[tuple[str, str]], body: bytes | str = b"", content_type: str = "") -> bytes:
    """Write a message."""
    data = body.encode("utf-8") if isinstance(body, str) else body
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if not any(line.lower().startswith("content-length:") for line in lines):
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + data


class Peer:
    """One party on one UDP socket."""

    def __init__(self, host: str = HOST, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port or free_port()))
        self.host, self.port = self._socket.getsockname()
        self.heard: list[Message] = []
        self._waiting: list[Message] = []

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def transport(self) -> str:
        """What Via names."""
        return "UDP"

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send bytes."""
        self._socket.sendto(data, to)

    def _receive(self, within_s: float) -> Message | None:
        if not select.select([self._socket], [], [], max(0.0, within_s))[0]:
            return None
        data, source = self._socket.recvfrom(65535)
        return Message.parse(data, source)

    def expect(
        self, what: str | int, *, within_s: float = PATIENCE_S, where: Callable[[Message], bool] = lambda _: True
    ) -> Message:
        """Wait for a request of this method or a response of this code; other messages stay for later."""

        def wanted(message: Message) -> bool:
            named = message.status == what if isinstance(what, int) else (not message.status and message.method == what)
            return named and where(message)

        deadline = time.monotonic() + within_s
        while True:
            for message in self._waiting:
                if wanted(message):
                    self._waiting.remove(message)
                    return message
            message = self._receive(deadline - time.monotonic())
            if message is None:
                heard = [m.first for m in self.heard[-8:]]
                raise Silence(f"no {what} within {within_s} s; heard {heard}")
            if message.raw.strip():
                self.heard.append(message)
                self._waiting.append(message)

    def hears_nothing(self, what: str | int, *, within_s: float) -> bool:
        """Whether no such message arrives for so long."""
        try:
            self.expect(what, within_s=within_s)
        except Silence:
            return True
        return False

    def drain(self) -> None:
        """Take in what has already arrived."""
        while message := self._receive(0.0):
            self.heard.append(message)
            self._waiting.append(message)

    def via(self, extra: str = "") -> str:
        """A Via of ours with a fresh branch."""
        return f"SIP/2.0/{self.transport} {self.host}:{self.port};branch=z9hG4bK{secrets.token_hex(8)};rport{extra}"

    def reply(
        self,
        request: Message,
        code: int,
        phrase: str = "X",
        *,
        tag: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | str = b"",
        content_type: str = "",
        replace: dict[str, str] | None = None,
    ) -> None:
        """Answer a request; ``replace`` puts other values for the headers a response repeats."""
        replace = replace or {}
        out: list[tuple[str, str]] = []
        for name in ("via", "from", "to", "call-id", "cseq"):
            values = [replace[name]] if name in replace else request.all(name)
            for value in values:
                tagged = name == "to" and tag and "tag=" not in value
                out.append((name.title(), value + (f";tag={tag}" if tagged else "")))
        out.extend(headers)
        ctype = content_type or ("application/sdp" if body else "")
        self.answer_raw(request, render(f"SIP/2.0 {code} {phrase}", out, body, ctype))

    def answer_raw(self, request: Message, data: bytes) -> None:
        """Send bytes to where a request came from."""
        self.send(data, request.source)


class StreamPeer(Peer):
    """A carrier that listens on TCP, or on TLS with a context; one connection at a time is enough."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._listener = socket.create_server((HOST, free_port()))
        self.host, self.port = self._listener.getsockname()
        self.heard = []
        self._waiting = []
        self._connections: list[socket.socket] = []
        self._buffers: dict[socket.socket, bytes] = {}
        self.refused: list[str] = []

    @property
    def transport(self) -> str:
        return "TLS" if self._context else "TCP"

    def close(self) -> None:
        for connection in (*self._connections, self._listener):
            connection.close()

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        back = [connection for connection in self._connections if connection.getpeername() == to]
        (back or self._connections)[-1].sendall(data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE_S)
        if self._context:
            try:
                connection = self._context.wrap_socket(connection, server_side=True)
            except (ssl.SSLError, OSError) as error:
                self.refused.append(str(error))
                return
        self._connections.append(connection)
        self._buffers[connection] = b""

    def _whole(self) -> Message | None:
        for connection, data in self._buffers.items():
            head, found, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
            if not found:
                continue
            length = int(re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)[1])
            if len(rest) >= length:
                self._buffers[connection] = rest[length:]
                return Message.parse(head + found + rest[:length], connection.getpeername())
        return None

    def _receive(self, within_s: float) -> Message | None:
        deadline = time.monotonic() + within_s
        while True:
            if message := self._whole():
                return message
            pending = [c for c in self._connections if isinstance(c, ssl.SSLSocket) and c.pending()]
            ready = (
                pending
                or select.select([self._listener, *self._connections], [], [], max(0.0, deadline - time.monotonic()))[0]
            )
            if not ready:
                return None
            for readable in ready:
                if readable is self._listener:
                    self._accept()
                    continue
                try:
                    data = readable.recv(65535)
                except (ssl.SSLError, OSError) as error:
                    self.refused.append(str(error))
                    data = b""
                if not data:
                    self._connections.remove(readable)
                    del self._buffers[readable]
                    readable.close()
                    continue
                self._buffers[readable] += data


@dataclass
class Dialog:
    """One side's view of a call, as RFC 3261 12 keeps it."""

    peer: Peer
    call_id: str
    local: str
    remote: str
    target: str
    edge: tuple[str, int]
    routes: list[str] = field(default_factory=list)
    cseq: int = 1
    contact: str = ""

    def request(
        self,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | str = b"",
        content_type: str = "",
        cseq: int = 0,
        via: str = "",
        to: tuple[str, int] | None = None,
        local: str = "",
    ) -> bytes:
        """Send a request within the call; returns what was sent."""
        if method not in ("ACK", "CANCEL") and not cseq:
            self.cseq += 1
        lines = [
            ("Via", via or self.peer.via()),
            *(("Route", route) for route in self.routes),
            ("From", local or self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq or self.cseq} {method}"),
            ("Max-Forwards", "70"),
        ]
        if method in ("INVITE", "UPDATE"):
            lines.append(("Contact", self.contact or f"<sip:{self.peer.host}:{self.peer.port}>"))
        lines.extend(headers)
        ctype = content_type or ("application/sdp" if body else "")
        data = render(f"{method} {self.target} SIP/2.0", lines, body, ctype)
        self.peer.send(data, to or self.edge)
        return data

    def refresh(self, message: Message) -> None:
        """Take the remote target and the tag from a message of the other side."""
        if message["contact"]:
            self.target = message.contact
        if message.status and message.tag("to"):
            self.remote = message["to"]


class Switch(Peer):
    """FreeSWITCH's side: calls tokens through the edge."""

    def __init__(self, edge: tuple[str, int], host: str = HOST) -> None:
        super().__init__(host)
        self.edge = edge

    def invite(
        self,
        token: str,
        permit: str = "",
        *,
        gateway: str = "edge-a",
        call_id: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: str = SDP,
        caller: str = "+442079460999",
        display: str = '"+442079460999" ',
        cseq: int = 1,
        to: tuple[str, int] | None = None,
    ) -> Call:
        """Send an INVITE as mod_sofia does for the worker's bridge."""
        call_id = call_id or str(uuid.uuid4())
        edge = to or self.edge
        via = self.via()
        local = f"{display}<sip:{caller}@{self.host}>;tag={secrets.token_hex(6)}"
        target = f"sip:{token}@{edge[0]}:{edge[1]}"
        lines = [
            ("Via", via),
            ("Max-Forwards", "68"),
            ("From", local),
            ("To", f"<{target}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} INVITE"),
            ("Contact", f"<sip:gw+{gateway}@{self.host}:{self.port};transport=udp;gw={gateway}>"),
            ("User-Agent", "FreeSWITCH-mod_sofia/1.11.1"),
            ("Supported", "timer, path, replaces"),
            ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY"),
            ("Remote-Party-ID", f"<sip:{caller}@{self.host}>;party=calling;screen=yes;privacy=off"),
            ("X-FS-Support", "update_display,send_info"),
            ("X-Shield-Permit", permit or secrets.token_hex(16)),
            ("X-Shield-Gateway", gateway),
            *headers,
        ]
        data = render(f"INVITE {target} SIP/2.0", lines, body, "application/sdp" if body else "")
        dialog = Dialog(self, call_id, local, f"<{target}>", target, edge, cseq=cseq)
        dialog.contact = f"<sip:gw+{gateway}@{self.host}:{self.port};transport=udp;gw={gateway}>"
        self.send(data, edge)
        return Call(dialog, data, via)


@dataclass
class Call:
    """A call FreeSWITCH's side made."""

    dialog: Dialog
    sent: bytes
    via: str

    @property
    def call_id(self) -> str:
        """Its Call-ID."""
        return self.dialog.call_id

    def again(self) -> None:
        """Retransmit the INVITE."""
        self.dialog.peer.send(self.sent, self.dialog.edge)

    def expect(self, code: int, *, within_s: float = PATIENCE_S) -> Message:
        """Wait for a response of this call; a 2xx or a tagged 1xx updates the dialog."""
        message = self.dialog.peer.expect(code, within_s=within_s, where=lambda m: m["call-id"] == self.call_id)
        if 100 < code < 300:
            self.dialog.refresh(message)
            self.dialog.routes = list(reversed(message.all("record-route")))
        return message

    def _same_transaction(self, method: str, message: Message | None = None) -> None:
        d = self.dialog
        lines = [
            ("Via", self.via),
            ("From", d.local),
            ("To", message["to"] if message else d.remote),
            ("Call-ID", d.call_id),
            ("CSeq", f"{d.cseq} {method}"),
            ("Max-Forwards", "70"),
        ]
        uri = self.sent.split(b" ", 2)[1].decode()
        d.peer.send(render(f"{method} {uri} SIP/2.0", lines), d.edge)

    def cancel(self) -> None:
        """Give up before the answer."""
        self._same_transaction("CANCEL")

    def ack_refusal(self, message: Message) -> None:
        """Acknowledge a final refusal."""
        self._same_transaction("ACK", message)

    def ack(self, *, to: tuple[str, int] | None = None) -> None:
        """Acknowledge an answer."""
        self.dialog.request("ACK", to=to)


def callee(carrier: Peer, invite: Message, tag: str, edge: tuple[str, int]) -> Dialog:
    """The carrier's dialog of an INVITE it answers with this tag."""
    return Dialog(
        carrier,
        invite["call-id"],
        f"{invite['to']};tag={tag}",
        invite["from"],
        invite.contact,
        edge,
        cseq=100,
    )
