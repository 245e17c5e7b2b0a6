"""Area ``edge``: whether each edge answers FreeSWITCH, refuses a call without a permit, and keeps silent to strangers.

Places no call: the INVITE names no number, so nothing behind the edge could be rung by it.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
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
            sock.settimeout(_TIMEOUT_S)
            return _exchange(sock, method, host, port)
        except OSError:
            return 0


def _exchange(sock: socket.socket, method: str, host: str, port: int) -> int:
    own, own_port = sock.getsockname()[:2]
    call, branch, tag = str(uuid.uuid4()), f"z9hG4bK{secrets.token_hex(8)}", secrets.token_hex(4)
    for _ in range(_TRIES):
        sock.send(_message(method, f"{host}:{port}", f"{own}:{own_port}", call, branch, tag))
        try:
            while True:
                text = sock.recv(_DATAGRAM).decode("utf-8", "replace")
                status = re.match(r"SIP/2\.0 ([0-9]{3}) ", text)
                if status is None or call not in text or int(status[1]) < _FINAL:
                    continue
                if method == "INVITE":
                    to = re.search(r"(?im)^to:[^\r\n]*", text)
                    sock.send(
                        _message("ACK", f"{host}:{port}", f"{own}:{own_port}", call, branch, tag, to[0] if to else "")
                    )
                return int(status[1])
        except TimeoutError:
            continue
    return 0


def _message(method: str, target: str, own: str, call: str, branch: str, tag: str, to: str = "") -> bytes:
    return "\r\n".join((
        f"{method} sip:doctor@{target} SIP/2.0", f"Via: SIP/2.0/UDP {own};branch={branch};rport", "Max-Forwards: 2",
        f"From: <sip:doctor@{own}>;tag={tag}", to or f"To: <sip:doctor@{target}>", f"Call-ID: {call}",
        f"CSeq: 1 {method}", f"Contact: <sip:doctor@{own}>", "Content-Length: 0", "", "",
    )).encode()  # fmt: skip


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
              "Its inside address is for FreeSWITCH alone.", "site.cfg: EDGE_FREESWITCH with FreeSWITCH's addresses only.", _strangers),
    ),
)  # fmt: skip
