"""A telephone that places one call at a time over UDP, as an agent's does: digest, INVITE, ACK, talk, BYE.

Invariants: every wait ends; each call ends with BYE or CANCEL, an error or an interruption included; everything
FreeSWITCH sent is kept for the search; neither the password nor a datagram is in an error.
"""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esl_shield.errors.canary import PhoneAway
from esl_shield.service.canary import sip

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from esl_shield.config.canary import CanaryConfig

# RFC 3261 timers: T1 doubles up to T2; a request nobody answers is given up sooner than its 32 s.
_T1_S, _T2_S = 0.5, 4.0
_SILENCE_S = 5.0
_DATAGRAM = 65535
_PROVISIONAL, _OK, _FAILED = 100, 200, 300
_RINGING = (180, 183)
_CHALLENGES = {401: ("www-authenticate", "Authorization"), 407: ("proxy-authenticate", "Proxy-Authorization")}
_ALLOW = ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE")


@dataclass
class Attempt:
    """One call as the telephone saw it: ``status`` is the final SIP answer, 0 when there was none."""

    dialled: str
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    status: int = 0
    rang: bool = False
    answered: bool = False
    heard: list[bytes] = field(default_factory=list, repr=False)


class Phone:
    """The telephone of [canary] agent; use it as a context. Raises PhoneAway when there is no way to FreeSWITCH."""

    def __init__(self, config: CanaryConfig, password: str) -> None:
        self._config, self._password = config, password
        family = socket.AF_INET6 if ":" in config.switch.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._media = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.connect((config.switch.host, config.switch.port))
            self.host, self._port = self._socket.getsockname()[:2]
            self._media.bind((self.host, 0))
        except OSError as error:
            self.close()
            raise PhoneAway(address=config.switch, problem=error.strerror or "no way there") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the ports back."""
        self._socket.close()
        self._media.close()

    def call(self, dialled: str, while_up: Callable[[], None] = lambda: None) -> Attempt:
        """Dial; ``while_up`` is called when it rings, is answered and before we hang up. Returns when it is over."""
        return _Call(self, dialled, while_up).run()

    # For the call:

    @property
    def config(self) -> CanaryConfig:
        """Whose telephone this is."""
        return self._config

    @property
    def own(self) -> str:
        """Our address in URIs."""
        return f"[{self.host}]:{self._port}" if ":" in self.host else f"{self.host}:{self._port}"

    def offer(self) -> str:
        """Where audio may come to."""
        return sip.offer(self.host, self._media.getsockname()[1])

    def proof(self, challenges: tuple[str, ...], uri: str) -> str | None:
        """Answer a challenge to an INVITE."""
        return sip.digest(challenges, user=self._config.agent, password=self._password, method="INVITE", uri=uri)

    def send(self, data: bytes) -> None:
        """Send to FreeSWITCH; that its port is closed shows as no answer."""
        try:
            self._socket.send(data)
        except OSError:
            return

    def receive(self, until: float) -> bytes | None:
        """Return the next datagram, None once it is ``until`` (of ``time.monotonic``)."""
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                return self._socket.recv(_DATAGRAM)
            except TimeoutError:
                return None
            except OSError:  # the ICMP error of an earlier datagram: nobody listens there, perhaps not yet
                time.sleep(min(left, 0.05))
        return None


class _Call:
    def __init__(self, phone: Phone, dialled: str, while_up: Callable[[], None]) -> None:
        config = phone.config
        self._phone, self._while_up = phone, while_up
        self._attempt = Attempt(dialled)
        self._uri = self._target = f"sip:{dialled}@{config.domain}"
        self._from = f"<sip:{config.agent}@{config.domain}>;tag={secrets.token_hex(6)}"
        self._to = f"<{self._uri}>"
        self._routes: tuple[str, ...] = ()
        self._cseq = 0
        self._branch = ""
        self._over = False
        self._heard_of = False

    def run(self) -> Attempt:
        try:
            if self._invite():
                self._talk()
        except BaseException:
            self._give_up()
            raise
        return self._attempt

    def _invite(self) -> bool:
        """Dial, prove who we are, wait for the answer; returns whether it was answered."""
        final = self._dial(())
        if final and final.status in _CHALLENGES:
            asked, answered = _CHALLENGES[final.status]
            proof = self._phone.proof(final.all(asked), self._uri)
            if proof:
                final = self._dial(((answered, proof),))
        self._attempt.status = final.status if final else 0
        return self._attempt.answered

    def _dial(self, extra: sip.Headers) -> sip.Message | None:
        self._cseq += 1
        self._branch = sip.BRANCH + secrets.token_hex(8)
        request = self._request("INVITE", self._cseq, self._branch, extra, body=self._phone.offer())
        now = time.monotonic()
        final = self._await("INVITE", request, now + self._phone.config.ring_s)
        if final is None and self._heard_of:
            self._phone.send(self._request("CANCEL", self._cseq, self._branch))
            final = self._await("INVITE", None, time.monotonic() + _SILENCE_S)
        return final

    def _await(self, method: str, request: bytes | None, deadline: float) -> sip.Message | None:
        """Send until something is answered, then wait for the final answer; None if none came."""
        self._heard_of = False
        interval, again = _T1_S, time.monotonic()
        silent = again + _SILENCE_S
        while (now := time.monotonic()) < deadline and (self._heard_of or now < silent):
            if request and not self._heard_of and now >= again:
                self._phone.send(request)
                again, interval = now + interval, min(2 * interval, _T2_S)
            until = deadline if self._heard_of or not request else min(again, deadline, silent)
            message = self._next(until)
            if message and message.status and message.cseq == (self._cseq, method):
                self._heard_of = True
                if message.status >= _OK:
                    return self._finally(message) if method == "INVITE" else message
                self._rings(message)
        return None

    def _rings(self, message: sip.Message) -> None:
        if message.status in _RINGING and not self._attempt.rang:
            self._attempt.rang = True
            self._while_up()

    def _finally(self, message: sip.Message) -> sip.Message:
        """Acknowledge the final answer of the INVITE."""
        if message.status >= _FAILED:
            self._phone.send(self._request("ACK", self._cseq, self._branch, to=message.first("to")))
            return message
        self._attempt.answered = True
        self._to, self._target = message.first("to"), message.target or self._target
        self._routes = tuple(reversed(message.all("record-route")))
        self._phone.send(self._request("ACK", self._cseq))
        return message

    def _talk(self) -> None:
        self._while_up()
        end = time.monotonic() + self._phone.config.talk_s
        while not self._over and time.monotonic() < end:
            self._next(end)
        if not self._over:
            self._while_up()  # what FreeSWITCH lists of channels may come later than the channels
            self._hang_up()

    def _hang_up(self) -> None:
        self._cseq += 1
        self._over = True
        self._await("BYE", self._request("BYE", self._cseq), time.monotonic() + _SILENCE_S)

    def _give_up(self) -> None:
        """End the call without waiting; FreeSWITCH's own timers end what does not reach it."""
        if self._attempt.answered and not self._over:
            self._phone.send(self._request("BYE", self._cseq + 1))
        elif not self._attempt.answered and self._branch:
            self._phone.send(self._request("CANCEL", self._cseq, self._branch))

    def _next(self, until: float) -> sip.Message | None:
        """Return the next message of this call; answers requests and repeated 200s by itself."""
        data = self._phone.receive(until)
        message = sip.parse(data) if data else None
        if data is None or message is None or message.first("call-id") != self._attempt.call_id:
            return None
        self._attempt.heard.append(data)
        if message.method:
            self._take(message)
        elif self._attempt.answered and message.status == _OK and message.cseq[1] == "INVITE":
            self._phone.send(self._request("ACK", message.cseq[0]))  # ours was lost
        return message

    def _take(self, request: sip.Message) -> None:
        if request.method == "ACK":
            return
        copied = [(name, value) for name, value in request.headers if name in ("via", "from", "to", "call-id", "cseq")]
        body = self._phone.offer() if request.method == "INVITE" else ""
        contact = ("Contact", self._contact())
        self._phone.send(sip.render("SIP/2.0 200 OK", [*copied, contact, _ALLOW], body))
        self._over = self._over or request.method == "BYE"

    def _contact(self) -> str:
        return f"<sip:{self._phone.config.agent}@{self._phone.own}>"

    def _request(
        self, method: str, cseq: int, branch: str = "", extra: sip.Headers = (), *, to: str = "", body: str = ""
    ) -> bytes:
        via = f"SIP/2.0/UDP {self._phone.own};branch={branch or sip.BRANCH + secrets.token_hex(8)};rport"
        headers = [
            ("Via", via), ("Max-Forwards", "70"), *(("Route", route) for route in self._routes), ("From", self._from),
            ("To", to or self._to), ("Call-ID", self._attempt.call_id), ("CSeq", f"{cseq} {method}"),
            ("Contact", self._contact()), _ALLOW, *extra,
        ]  # fmt: skip
        return sip.render(f"{method} {self._target} SIP/2.0", headers, body)
