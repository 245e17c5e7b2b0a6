"""The canary's telephone against a scripted other side: every call ends, whatever the other side does."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from esl_shield.config.canary import CanaryConfig
from esl_shield.config.database import DatabaseConfig
from esl_shield.config.values import Address
from esl_shield.service.canary import phone as telephone
from esl_shield.service.canary import sip
from esl_shield.service.canary.phone import Phone

HOST, TOKEN = "127.0.0.1", "71234567890123"
CHALLENGE = 'Digest realm="d.example", nonce="abc", algorithm=MD5, qop="auth"'
ANSWER = ("Contact: <sip:switch@127.0.0.1>", "Record-Route: <sip:a;lr>", "Record-Route: <sip:b;lr>")


class Switch:
    """Answers each request by a table: method -> the answers to its first, second... (the last one repeats)."""

    def __init__(self, **script: list[tuple[str, ...]]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(10)
        self._script, self.heard = script, list[str]()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address(*self._socket.getsockname())

    @property
    def methods(self) -> list[str]:
        """What it was asked, in order."""
        return [text.split(" ", 1)[0] for text in self.heard]

    def _run(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(65535)
            except OSError:
                return
            text = data.decode()
            if text == "stop":
                return
            self.heard.append(text)
            method = text.split(" ", 1)[0]
            answers = self._script.get(method, [])
            number = min(self.methods.count(method), len(answers)) - 1
            for answer in answers[number] if number >= 0 else ():
                self._socket.sendto(self._written(answer, text), source)

    @staticmethod
    def _written(answer: str, request: str) -> bytes:
        first, *more = answer.split("\n")
        kept = [line for line in request.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line)]
        kept = [line for line in kept if not any(line.startswith(own.split(":")[0] + ":") for own in more)]
        if not first.startswith("SIP/2.0"):  # a request of theirs, within the call
            kept = [line.replace(line, re.sub(r"^CSeq: .*", f"CSeq: 9 {first.split()[0]}", line)) for line in kept]
        return "\r\n".join([first, *kept, *more, "Content-Length: 0", "", ""]).encode()

    def stop(self) -> None:
        """Listen no more."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"stop", (HOST, self.address.port))
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def dial(monkeypatch):
    """Dial against a script; returns the attempt and the other side."""
    monkeypatch.setattr(telephone, "_SILENCE_S", 0.6)
    monkeypatch.setattr(telephone, "_T1_S", 0.1)

    def call(while_up=lambda: None, ring_s=0.5, **script):
        switch = Switch(**script)
        config = CanaryConfig(
            tenant="t", domain="d.example", agent="1099", password="file:/p", switch=switch.address,
            database=DatabaseConfig("postgresql+psycopg2://c@/shield"), ring_s=ring_s, talk_s=0.2,
        )  # fmt: skip
        try:
            with Phone(config, "hush") as phone:
                return phone.call(TOKEN, while_up), switch
        finally:
            switch.stop()

    return call


def test_an_answered_call_is_proved_acknowledged_and_hung_up(dial):
    """Challenge, digest, ringing, answer, BYE along the route; while_up is called at each turn."""
    looks = []
    invite = [
        (f"SIP/2.0 407 Prove it\nProxy-Authenticate: {CHALLENGE}",),
        ("SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "\n".join(("SIP/2.0 200 OK", *ANSWER))),
    ]
    attempt, switch = dial(lambda: looks.append(1), INVITE=invite, BYE=[("SIP/2.0 200 OK",)])
    assert (attempt.status, attempt.rang, attempt.answered, len(looks)) == (200, True, True, 3)
    assert switch.methods == ["INVITE", "ACK", "INVITE", "ACK", "BYE"]
    proof = re.search(r"Proxy-Authorization: (.*)\r", switch.heard[2])
    assert proof
    assert 'username="1099"' in proof[1]
    assert "hush" not in "".join(switch.heard)
    bye = switch.heard[4]
    assert bye.startswith("BYE sip:switch@127.0.0.1 SIP/2.0\r\n")
    assert re.findall(r"Route: (\S+)", bye) == ["<sip:b;lr>", "<sip:a;lr>"]
    assert b"407 Prove it" in attempt.heard[0]


REFUSALS = {
    "refused": ([("SIP/2.0 404 Not Found",)], 404, ["INVITE", "ACK"]),
    "wrong password": ([(f"SIP/2.0 401 No\nWWW-Authenticate: {CHALLENGE}",)], 401, ["INVITE", "ACK"] * 2),
    "unknown digest": ([('SIP/2.0 401 No\nWWW-Authenticate: Digest algorithm="X"',)], 401, ["INVITE", "ACK"]),
    "rings for ever": ([("SIP/2.0 180 Ringing",)], 487, ["INVITE", "CANCEL", "ACK"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_call_that_is_not_answered_ends(dial, name):
    """Refusals are acknowledged, a wrong password is tried once, a call that only rings is cancelled."""
    invite, status, methods = REFUSALS[name]
    # the other side's 487 comes to the CANCEL, with the INVITE's CSeq
    attempt, switch = dial(INVITE=invite, CANCEL=[("SIP/2.0 200 OK",)])
    assert not attempt.answered
    if name == "rings for ever":
        assert (attempt.status, switch.methods) == (0, ["INVITE", "CANCEL"])
    else:
        assert (attempt.status, switch.methods) == (status, methods)


def test_silence_is_no_answer(dial):
    """Nobody there: the INVITE is repeated, then given up, and the status is 0."""
    attempt, switch = dial(ring_s=5)
    assert (attempt.status, attempt.answered) == (0, False)
    assert set(switch.methods) == {"INVITE"}
    assert len(switch.methods) > 2


def test_what_is_no_sip_and_what_is_another_call_is_passed_over(dial):
    """Junk and another call's answer end nothing; the other side's BYE is answered and ends the call."""
    ok = "\n".join(("SIP/2.0 200 OK", *ANSWER))
    attempt, switch = dial(INVITE=[("junk", "SIP/2.0 603 Decline\nCall-ID: x", ok)], ACK=[("BYE sip:x SIP/2.0",)])
    assert attempt.answered
    assert "BYE" not in switch.methods
    assert any(text.startswith("SIP/2.0 200 OK") and "BYE" in text for text in switch.heard)


def test_an_interruption_hangs_up(dial):
    """Whatever happens while the call is up, it does not stay up."""
    seen = []

    def interrupted():
        raise KeyboardInterrupt

    ok = "\n".join(("SIP/2.0 200 OK", *ANSWER))
    switch = Switch(INVITE=[(ok,)])
    config = CanaryConfig(
        tenant="t", domain="d.example", agent="1099", password="file:/p", switch=switch.address,
        database=DatabaseConfig("postgresql+psycopg2://c@/shield"),
    )  # fmt: skip
    with Phone(config, "hush") as phone, pytest.raises(KeyboardInterrupt):
        phone.call(TOKEN, interrupted)
    switch.stop()
    seen += switch.methods
    assert seen == ["INVITE", "ACK", "BYE"]


def test_the_digest_is_the_known_answer():
    """RFC 2617's example without qop (RFC 2069 form), whose answer is known."""
    given = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c"'
    proof = sip.digest([given], user="Mufasa", password="CircleOfLife", method="GET", uri="/dir/index.html")
    assert proof
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in proof
    assert 'opaque="5ccc069c"' in proof
    both = ['Digest realm="r", nonce="n", algorithm=SHA-512', 'Digest realm="r", nonce="n", algorithm=SHA-256']
    assert "algorithm=SHA-256" in str(sip.digest(both, user="u", password="p", method="INVITE", uri="sip:x"))


JUNK = {
    "nothing": b"", "blank": b"\r\n\r\n", "no status": b"SIP/2.0 99 X\r\n\r\n", "no version": b"INVITE sip:x\r\n\r\n",
    "no colon": b"SIP/2.0 200 OK\r\nno colon\r\n\r\n", "no text": b"\xff\xfe",
}  # fmt: skip


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_message_is_none(name):
    """Damaged datagrams are no exception."""
    assert sip.parse(JUNK[name]) is None
