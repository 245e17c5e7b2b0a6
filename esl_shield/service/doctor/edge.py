"""Area ``edge``: whether each edge answers FreeSWITCH, refuses a call without a permit, and keeps silent to strangers.

Places no call: the INVITE names no number, so nothing behind the edge could be rung by it.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esl_shield.service.doctor.finding import Area, Check, NotApplicableError, NotAskedError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esl_shield.config import Config
    from esl_shield.service.doctor.switch import SwitchFacts

_TIMEOUT_S = 1.0
_TRIES = 2
_PORT = 5060
_DATAGRAM = 65535
_STRANGER = "127.0.0.77"
_OK = 200
_FINAL = 200
_REFUSALS = range(400, 700)


@dataclass(frozen=True)
class EdgeFacts:
    """One edge's answers, as SIP status codes; 0: none came, None: not asked."""

    gateway: str
    address: str
    options: int
    unpermitted: int
    stranger: int | None


def ask_edges(config: Config, switch: SwitchFacts) -> tuple[EdgeFacts, ...]:
    """Ask every edge FreeSWITCH sends calls to; raises NotApplicableError when there is none."""
    found = []
    for gateway in config.gateways:
        if gateway.delivery != "edge" or gateway.name not in switch.gateways:
            continue
        profile, settings = switch.gateways[gateway.name]
        proxy = re.sub(r"^sips?:|;.*$", "", settings.get("proxy", ""))
        host, _, port = proxy.rpartition(":") if re.search(r":[0-9]+$", proxy) else (proxy, "", str(_PORT))
        source = switch.profiles.get(profile, {}).get("sip-ip", "")
        found.append(_ask(gateway.name, host.strip("[]"), int(port), source))
    if not found:
        message = 'no gateway of FreeSWITCH is one of [[gateways]] with delivery = "edge"'
        raise NotApplicableError(message)
    return tuple(found)


def _ask(gateway: str, host: str, port: int, source: str) -> EdgeFacts:
    options = request("OPTIONS", host, port, source)
    unpermitted = request("INVITE", host, port, source) if options else 0
    stranger = request("OPTIONS", host, port, _STRANGER) if _is_loopback(host) and options else None
    return EdgeFacts(gateway, f"{host}:{port}", options, unpermitted, stranger)


def request(method: str, host: str, port: int, source: str) -> int:
    """Send one request over UDP and return its final status; 0 when none came."""
    try:
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError:
        return 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        _bind(sock, source)
        try:
            sock.connect(target)
            return _exchange(sock, method, host, port)
        except OSError:
            return 0


@dataclass(frozen=True)
class _Call:
    """What identifies a request and its answers."""

    target: str
    own: str
    id: str
    branch: str
    tag: str

    def message(self, method: str, to: str = "") -> bytes:
        """Write a request; ``to`` is the answer's To, for an ACK."""
        return "\r\n".join((
            f"{method} sip:doctor@{self.target} SIP/2.0", f"Via: SIP/2.0/UDP {self.own};branch={self.branch};rport",
            "Max-Forwards: 2", f"From: <sip:doctor@{self.own}>;tag={self.tag}", to or f"To: <sip:doctor@{self.target}>",
            f"Call-ID: {self.id}", f"CSeq: 1 {method}", f"Contact: <sip:doctor@{self.own}>", "Content-Length: 0",
            "", "",
        )).encode()  # fmt: skip


def _exchange(sock: socket.socket, method: str, host: str, port: int) -> int:
    own, own_port = sock.getsockname()[:2]
    branch, tag = f"z9hG4bK{secrets.token_hex(8)}", secrets.token_hex(4)
    call = _Call(f"{host}:{port}", f"{own}:{own_port}", str(uuid.uuid4()), branch, tag)
    for _ in range(_TRIES):
        sock.send(call.message(method))
        try:
            text = _final(sock, call)
        except TimeoutError:
            continue
        if method == "INVITE":
            to = re.search(r"(?im)^to:[^\r\n]*", text)
            sock.send(call.message("ACK", to[0] if to else ""))
        return int(text.split(" ", 2)[1])
    return 0


def _final(sock: socket.socket, call: _Call) -> str:
    """Return the first final answer to this call; raises TimeoutError."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        text = sock.recv(_DATAGRAM).decode("utf-8", "replace")
        status = re.match(r"SIP/2\.0 ([0-9]{3}) ", text)
        if status and int(status[1]) >= _FINAL and call.id in text:
            return text
    raise TimeoutError


def _bind(sock: socket.socket, source: str) -> None:
    """Send as FreeSWITCH's profile would, where that address is this machine's."""
    try:
        sock.bind((source, 0))
    except OSError:
        return


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reached(facts: tuple[EdgeFacts, ...]) -> Iterator[str]:
    for edge in facts:
        if edge.options != _OK:
            said = f"answers OPTIONS with {edge.options}" if edge.options else "does not answer"
            yield f"the edge {edge.gateway} at {edge.address} {said}"


def _permits(facts: tuple[EdgeFacts, ...]) -> Iterator[Problem | str]:
    for edge in facts:
        if edge.options and edge.unpermitted not in _REFUSALS:
            said = f"answered it with {edge.unpermitted}" if edge.unpermitted else "did not answer it"
            yield f"the edge {edge.gateway} was sent a call without a permit and {said}"


def _strangers(facts: tuple[EdgeFacts, ...]) -> Iterator[str]:
    for edge in facts:
        if edge.stranger:
            yield f"the edge {edge.gateway} answers {_STRANGER}, which is no FreeSWITCH of yours"
    if all(edge.stranger is None for edge in facts):
        raise NotAskedError("only an edge on this machine can be asked as a stranger", Severity.INFO)


AREA = Area[tuple[EdgeFacts, ...]](
    "edge",
    "each edge, as FreeSWITCH would, over UDP; best on FreeSWITCH's machine",
    (
        Check("edge.reached", Severity.CRITICAL, "Every edge answers",
              "Calls through it fail otherwise.", "Start it; add FreeSWITCH's address to EDGE_FREESWITCH.", _reached),
        Check("edge.permits", Severity.CRITICAL, "Every edge refuses a call without a permit",
              "What calls without one is a plain proxy: a way past the shield.", "Look what listens there.", _permits),
        Check("edge.strangers", Severity.WARNING, "Every edge is silent to others than FreeSWITCH",
              "Its inside address is for FreeSWITCH alone.",
              "site.cfg: EDGE_FREESWITCH with FreeSWITCH's addresses only.", _strangers),
    ),
)  # fmt: skip
