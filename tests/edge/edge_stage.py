"""An edge with carriers and FreeSWITCH's side around it, and the search through what FreeSWITCH's side received."""

from __future__ import annotations

import base64
import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from edge_lab import Edge, Resolver
from sip_peer import SDP, Call, Dialog, Message, Peer, Switch, callee

from esl_shield.audit import known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_AREAS = (113, 114, 115, 116, 117, 118, 121, 131, 141, 151, 161)  # each with a thousand numbers kept for fiction
_serial = itertools.count(1)
CARRIERS = (
    "1 sip:{alpha} 0 20 name=alpha",
    "1 sip:{beta} 0 10 name=beta",
    "2 sip:{beta} 0 0 name=beta;auth_user=acct;auth_password=pw;from_user=acct",
)


class Stage:
    """An edge, two carriers, and the tokens its resolver knows; ``carriers`` are lines of carriers.list.

    ``more`` are further peers that these lines name.
    """

    def __init__(
        self,
        folder: Path,
        carriers: Sequence[str] = CARRIERS,
        *,
        tls: str = "",
        nameserver: str = "",
        inbound: bool = False,
        **more: Peer,
    ) -> None:
        self.resolver = Resolver()
        self.alpha, self.beta = Peer(), Peer()
        self.switches: list[Switch] = []
        self.known: list[tuple[str, str]] = []
        peers = {"alpha": self.alpha, "beta": self.beta, **more}
        names = {name: f"{peer.host}:{peer.port}" for name, peer in peers.items()}
        lines = [line.format(**names) for line in carriers]
        self.edge = Edge(folder, self.resolver.url, lines, tls=tls, nameserver=nameserver, inbound=inbound)

    def customer(self) -> tuple[str, str]:
        """A fresh token and the number it stands for."""
        serial = next(_serial)
        token, number = f"81{serial:012d}", f"+44{_AREAS[serial // 1000]}4960{serial % 1000:03d}"
        self.resolver.numbers[token] = number
        self.known.append((token, number))
        return token, number

    def switch(self, edge: Edge | None = None) -> Switch:
        """FreeSWITCH's side on a port of its own."""
        switch = Switch((edge or self.edge).inside)
        self.switches.append(switch)
        return switch

    def dial(self, carrier: Peer | None = None, **invite: object) -> Ringing:
        """Call a fresh token up to the carrier's INVITE."""
        token, number = self.customer()
        switch = self.switch()
        call = switch.invite(token, **invite)  # type: ignore[arg-type]
        request = (carrier or self.alpha).expect("INVITE", where=lambda m: m["call-id"] == call.call_id)
        return Ringing(self, token, number, switch, call, carrier or self.alpha, request)

    def forget(self) -> None:
        """Begin a test with nothing heard."""
        for switch in self.switches:
            switch.close()
        self.switches.clear()
        self.known.clear()
        self.resolver.status = 0
        self.resolver.gate.set()
        for peer in (self.alpha, self.beta):
            peer.drain()
            peer.heard.clear()
            peer._waiting.clear()

    def findings(self) -> list[str]:
        """Forms of the numbers in what FreeSWITCH's side received, as it is and with every parameter decoded."""
        found = []
        for switch in self.switches:
            switch.drain()
            needles = {
                needle: form for token, number in self.known for needle, form in known.forms(number, token).items()
            }
            for message in switch.heard if needles else ():
                heard = b"\n".join(decodings(message.raw))
                found += [f"{finding.form} in {message.first[:12]}" for finding in known.scan_bytes(heard, needles)]
        return found

    def logged(self) -> list[str]:
        """Forms of the numbers in what the edge logged."""
        found = []
        for token, number in self.known:
            found += [f.form for f in known.scan_bytes(self.edge.log.read_bytes(), known.forms(number, token))]
        return found

    def close(self) -> None:
        """End everything."""
        self.forget()
        self.edge.stop()
        self.resolver.stop()
        self.alpha.close()
        self.beta.close()


class Ringing:
    """A call that reached a carrier."""

    def __init__(
        self, stage: Stage, token: str, number: str, switch: Switch, call: Call, carrier: Peer, invite: Message
    ) -> None:
        self.stage, self.token, self.number = stage, token, number
        self.switch, self.call, self.carrier, self.invite = switch, call, carrier, invite
        self.tag = f"c{next(_serial)}"
        self.contact = f"<sip:{number}@{carrier.host}:{carrier.port}>"
        self.remote: Dialog | None = None

    def answer(self, **reply: object) -> Message:
        """The carrier answers, FreeSWITCH acknowledges; returns the 200 FreeSWITCH got."""
        headers = [("Contact", self.contact), *reply.pop("headers", [])]  # type: ignore[misc]
        self.carrier.reply(self.invite, 200, "OK", tag=self.tag, headers=headers, body=reply.pop("body", SDP), **reply)  # type: ignore[arg-type]
        answer = self.call.expect(200)
        self.call.ack()
        self.remote = callee(self.carrier, self.invite, self.tag, self.stage.edge.outside)
        self.expect("ACK")
        return answer

    def expect(self, method: str, **waiting: object) -> Message:
        """The carrier's next request of this call."""
        return self.carrier.expect(method, where=lambda m: m["call-id"] == self.call.call_id, **waiting)  # type: ignore[arg-type]

    def hears(self, what: str | int, **waiting: object) -> Message:
        """FreeSWITCH's next message of this call."""
        return self.switch.expect(what, where=lambda m: m["call-id"] == self.call.call_id, **waiting)  # type: ignore[arg-type]

    def hang_up(self) -> None:
        """FreeSWITCH ends the call."""
        self.call.dialog.request("BYE")
        self.carrier.reply(self.expect("BYE"), 200, "OK")
        self.switch.expect(200, where=lambda m: m.method == "BYE" and m["call-id"] == self.call.call_id)


def decodings(raw: bytes) -> Iterator[bytes]:
    """The bytes of a message, unquoted, and every word of it that reads as base64 or hex."""
    yield raw
    yield unquote_to_bytes(raw)
    for word in re.findall(rb"[A-Za-z0-9+/_.=-]{8,}", raw):
        clean = word.replace(b"-", b"+").replace(b"_", b"/").replace(b".", b"=")
        for start in range(4):
            text = clean[start:].rstrip(b"=")
            try:
                yield base64.b64decode(text + b"=" * (-len(text) % 4))
            except ValueError:
                continue
        for start in range(2):
            even = word[start:][: (len(word) - start) // 2 * 2]
            if re.fullmatch(rb"[0-9a-fA-F]+", even):
                yield bytes.fromhex(even.decode())
