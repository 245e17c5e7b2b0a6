"""One call of a telephone: the dialog as RFC 3261 12 keeps it, what a test does in it and what was heard in it."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polling import until
from sip_peer import Message, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phones import Phone

ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, NOTIFY, REFER"
TRIES = 3  # of a re-INVITE


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
    acknowledges: bool = True  # the 200s of its INVITEs
    user: str = ""  # who the phone is in this call, if not who was called

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

    def play_early(self) -> None:
        """Say 183 with a description: what is said from here on is early media."""
        assert self.invite
        self.phone._respond(self.invite, 183, self, headers=self.phone.spread(self), sdp=True)

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
        """Offer a description; asks again when RFC 3261 14 wants it: 500 with Retry-After, or 491."""
        for _ in range(TRIES):
            status, retry_after_s = self.offer(direction, *headers)
            if status == 200:
                return
            assert retry_after_s is not None, self.statuses
            threading.Event().wait(retry_after_s)
        raise AssertionError(self.statuses)

    def offer(self, direction: str, *headers: tuple[str, str]) -> tuple[int, int | None]:
        """Send one re-INVITE; its final status, and after how many seconds it may be repeated."""
        cseq = self.request("INVITE", headers=[*self.phone.spread(self), *headers], sdp=direction)
        self.until(lambda: self.status_of("INVITE", cseq) >= 200, f"re-INVITE is answered, {direction}")
        final = next(m for m in self.heard if m.status >= 200 and m.method == "INVITE" and m.cseq == cseq)
        if final.status == 491:
            return 491, 3
        return final.status, int(final["retry-after"]) if final["retry-after"] else None

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


def line_user(line: Line) -> str:
    """Who a phone is in a call: the user part it was made to, but for a customer who calls in."""
    if line.user:
        return line.user
    uri = line.invite.uri if line.invite else line.target
    return uri.split(":", 1)[1].split("@", maxsplit=1)[0]


def _tag(value: str) -> str:
    found = re.search(r";tag=([^;\s]+)", value)
    return found[1] if found else ""
