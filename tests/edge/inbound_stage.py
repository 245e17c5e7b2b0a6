"""An edge with customers' side and two FreeSWITCHes around it; the search through what each side received."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from edge_stage import Stage, decodings
from sip_peer import SDP, Dialog, Message, Peer, render

from esl_shield.audit import known

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DID = "+442079460900"
EXTENSION = "zq71839"  # of the agent who answers, in no random tag: the customer's side must never see it
LINES = (
    "90 sip:127.0.0.1:5060 0 0 name=alpha;did_strip=0;did_prefix=+44;caller_prefix=+",
    "91 sip:{first} 0 0 name=first;sockname=inside",
    "91 sip:{second} 0 0 name=second;sockname=inside",
)


class InboundStage(Stage):
    """An edge that takes calls from any address of this machine and brings them to ``first`` and ``second``."""

    def __init__(self, folder: Path, lines: Iterable[str] = LINES, *, tls: str = "") -> None:
        self.first, self.second = Peer(), Peer()
        super().__init__(folder, list(lines), tls=tls, inbound=True, first=self.first, second=self.second)

    @property
    def freeswitches(self) -> tuple[Peer, Peer]:
        """Both FreeSWITCHes."""
        return self.first, self.second

    def customer(self) -> tuple[str, str]:
        """A fresh token and the number ``/mask`` knows by it."""
        token, number = super().customer()
        self.resolver.tokens[number] = token
        return token, number

    def call(self, number: str = "", **invite: object) -> Calling:
        """A customer calls: the INVITE is on its way."""
        token = ""
        if not number:
            token, number = self.customer()
        return Calling(self, token, number, **invite)  # type: ignore[arg-type]

    def ring(self, **invite: object) -> Calling:
        """A customer calls, up to FreeSWITCH's INVITE."""
        calling = self.call(**invite)  # type: ignore[arg-type]
        calling.reaches_freeswitch()
        return calling

    def forget(self) -> None:
        """Begin a test with nothing heard."""
        super().forget()
        self.resolver.forms.clear()
        for peer in self.freeswitches:
            peer.drain()
            peer.heard.clear()
            peer._waiting.clear()

    def findings(self) -> list[str]:
        """Forms of the numbers in what FreeSWITCHes received, and of the extension in what customers' side received."""
        found = []
        for peer in self.freeswitches:
            peer.drain()
        needles = {needle: form for token, number in self.known for needle, form in known.forms(number, token).items()}
        for message in [m for peer in self.freeswitches for m in peer.heard] if needles else ():
            heard = b"\n".join(decodings(message.raw))
            found += [f"{f.form} in {message.first[:12]}" for f in known.scan_bytes(heard, needles)]
        self.alpha.drain()
        inner = [EXTENSION.encode(), *(f":{peer.port}".encode() for peer in self.freeswitches)]
        for message in self.alpha.heard:
            heard = message.raw.replace(b"m=audio %d " % self.first.port, b"")
            found += [f"{what.decode()} in {message.first[:12]}" for what in inner if what in heard]
        return found

    def close(self) -> None:
        """End everything."""
        super().close()
        for peer in self.freeswitches:
            peer.close()


class Calling:
    """One customer's call from the carrier ``alpha``."""

    def __init__(
        self,
        stage: InboundStage,
        token: str,
        number: str,
        *,
        did: str = DID,
        from_: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | str = SDP,
        content_type: str = "",
        call_id: str = "",
        vias: Iterable[str] = (),
        cseq: int = 1,
        tag: str = "",
        contact: str = "",
        to: str = "",
    ) -> None:
        self.stage, self.token, self.number, self.carrier = stage, token, number, stage.alpha
        host = f"{self.carrier.host}:{self.carrier.port}"
        self.call_id = call_id or f"{secrets.token_hex(8)}@{host}"
        self.tag = tag or secrets.token_hex(6)
        self.from_ = (from_ or f'"{number}" <sip:{number}@{host}>') + f";tag={self.tag}"
        self.via = [self.carrier.via(), *vias]
        self.uri = f"sip:{did}@{stage.edge.outside[0]}:{stage.edge.outside[1]}"
        self.to = to or f"<{self.uri}>"
        self.cseq = cseq
        self.contact = contact or f"<sip:{number}@{host}>"
        lines = [
            *(("Via", via) for via in self.via),
            ("Max-Forwards", "70"),
            ("From", self.from_),
            ("To", self.to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} INVITE"),
            ("Contact", self.contact),
            *headers,
        ]
        ctype = content_type or ("application/sdp" if body else "")
        self.sent = render(f"INVITE {self.uri} SIP/2.0", lines, body, ctype)
        self.inner: Message | None = None
        self.switch: Peer = stage.first
        self.customer: Dialog | None = None  # the carrier's view
        self.agent: Dialog | None = None  # FreeSWITCH's view
        self.again()

    def again(self) -> None:
        """Send the INVITE (once more)."""
        self.carrier.send(self.sent, self.stage.edge.outside)

    def reaches_freeswitch(self, *, not_at: Peer | None = None) -> Message:
        """The INVITE as a FreeSWITCH gets it; whichever of them is called."""
        before = {id(m) for peer in self.stage.freeswitches for m in peer.heard if m.method == "INVITE"}
        for _ in range(1000):
            for peer in self.stage.freeswitches:
                if peer is not_at:
                    continue
                message = peer._receive(0.005)
                if message is None:
                    continue
                peer.heard.append(message)
                peer._waiting.append(message)
                if message.method == "INVITE" and not message.status and id(message) not in before:
                    peer._waiting.remove(message)
                    self.switch, self.inner = peer, message
                    return message
        raise AssertionError("no FreeSWITCH was called")

    def told(self, what: str | int, **waiting: object) -> Message:
        """The customer's side's next message of this call."""
        return self.carrier.expect(what, where=lambda m: m["call-id"] == self.call_id, **waiting)  # type: ignore[arg-type]

    def hears(self, what: str | int, **waiting: object) -> Message:
        """FreeSWITCH's next message of this call."""
        return self.switch.expect(what, where=lambda m: m["call-id"] == self.inner["call-id"], **waiting)  # type: ignore[arg-type,index]

    def reply(self, code: int, phrase: str = "OK", **reply: object) -> None:
        """FreeSWITCH answers, naming the agent wherever there is room."""
        headers = [
            ("Contact", f"<sip:{EXTENSION}@{self.switch.host}:{self.switch.port}>"),
            ("P-Asserted-Identity", f'"{EXTENSION}" <sip:{EXTENSION}@10.1.2.3>'),
            ("Remote-Party-ID", f"<sip:{EXTENSION}@10.1.2.3>;party=calling"),
            ("X-FS-Display-Number", EXTENSION),
            ("Reason", f'Q.850;cause=16;text="{EXTENSION}"'),
            *reply.pop("headers", []),  # type: ignore[misc]
        ]
        body = reply.pop("body", SDP if code in (183, 200) else "")
        assert self.inner is not None
        self.switch.reply(self.inner, code, phrase, tag="fs1", headers=headers, body=body, **reply)  # type: ignore[arg-type]

    def answer(self, **reply: object) -> Message:
        """FreeSWITCH answers, the customer's side acknowledges; returns the 200 that side got."""
        assert self.inner is not None
        self.reply(200, **reply)
        answer = self.told(200)
        self.customer = Dialog(
            self.carrier, self.call_id, self.from_, answer["to"], answer.contact, self.stage.edge.outside,
            routes=answer.all("record-route"), cseq=self.cseq,
        )  # fmt: skip
        self.customer.contact = self.contact
        self.customer.routes = []  # the carrier's own proxies are the carrier's matter
        self.customer.request("ACK")
        self.agent = Dialog(
            self.switch, self.inner["call-id"], f"{self.inner['to']};tag=fs1", self.inner["from"],
            self.inner.contact, self.stage.edge.inside, routes=self.inner.all("record-route"), cseq=500,
        )  # fmt: skip
        self.agent.contact = f"<sip:{EXTENSION}@{self.switch.host}:{self.switch.port}>"
        self.hears("ACK")
        return answer

    def cancel(self) -> None:
        """The customer gives up."""
        lines = [
            *(("Via", via) for via in self.via[:1]),
            ("From", self.from_),
            ("To", self.to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} CANCEL"),
            ("Max-Forwards", "70"),
        ]
        self.carrier.send(render(f"CANCEL {self.uri} SIP/2.0", lines), self.stage.edge.outside)

    def acknowledge(self, refusal: Message) -> None:
        """The customer's side acknowledges a refusal."""
        lines = [
            *(("Via", via) for via in self.via[:1]),
            ("From", self.from_),
            ("To", refusal["to"]),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} ACK"),
            ("Max-Forwards", "70"),
        ]
        self.carrier.send(render(f"ACK {self.uri} SIP/2.0", lines), self.stage.edge.outside)

    def hang_up(self) -> None:
        """The customer ends the call."""
        assert self.customer is not None
        self.customer.request("BYE")
        self.switch.reply(self.hears("BYE"), 200, "OK")
        self.carrier.expect(200, where=lambda m: m.method == "BYE" and m["call-id"] == self.call_id)
