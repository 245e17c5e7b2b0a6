"""Whole calls between two independent SIP stacks: SIPp in FreeSWITCH's place, SIPp as carriers, Kamailio between them.

The scenarios are ``sipp/*.xml``, one for each party; SIPp itself fails a call that does not go as its scenario says.
The calls run through one edge, several at once; the tests then read what each party's trace says of its own call.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edge_lab import Edge, Resolver
from edge_stage import decodings
from ports import HOST, kept_port
from sipp import Carrier, Message, Sipp

from esl_shield.audit import known

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIOS = Path(__file__).parent / "sipp"
AT_ONCE = 6
ONE_CALL = ("-m", "1", "-timeout", "10s", "-timeout_error")
DIGESTS = {"authorization", "proxy-authorization"}
ACCOUNT = "auth_user=acct;auth_password=pw"


@dataclass(frozen=True)
class Shape:
    """Who plays what: FreeSWITCH's side, the carriers in the order they are tried, and what carriers.list adds."""

    switch: str
    carriers: tuple[str, ...]
    attributes: str = ""


pytestmark = pytest.mark.skipif(
    not shutil.which("sipp") and os.environ.get("CI") != "true", reason="sipp (Debian's sip-tester) is not there"
)

SHAPES = {
    "answered, the agent hangs up": Shape("switch_talks", ("carrier_answers",)),
    "answered, the customer hangs up": Shape("switch_is_left", ("carrier_hangs_up",)),
    "early media, then the answer": Shape("switch_talks", ("carrier_plays_early_media",)),
    "reliable 183 and PRACK": Shape("switch_acknowledges_early_media", ("carrier_wants_prack",)),
    "UPDATE from each side": Shape("switch_updates", ("carrier_is_updated",)),
    "hold by each side": Shape("switch_holds", ("carrier_is_held",)),
    "cancelled while ringing": Shape("switch_cancels", ("carrier_rings",)),
    "busy": Shape("switch_gets_486", ("carrier_is_busy",)),
    "digest, 401": Shape("switch_talks", ("carrier_challenges",), ACCOUNT),
    "digest, 407": Shape("switch_talks", ("carrier_challenges_as_proxy",), ACCOUNT),
    "two tags ring": Shape("switch_hears_two_tags", ("carrier_forks",)),
    "carrier records its route": Shape("switch_talks", ("carrier_records_its_route",)),
    "redirected": Shape("switch_gets_503", ("carrier_redirects",)),
    "redirected, the next carrier answers": Shape("switch_talks", ("carrier_redirects", "carrier_answers")),
    "refused, the next carrier answers": Shape("switch_talks", ("carrier_is_away", "carrier_answers")),
    "hostile, answered": Shape("switch_talks", ("hostile_carrier_answers",)),
    "hostile, hangs up": Shape("switch_is_left", ("hostile_carrier_hangs_up",)),
    "hostile, busy": Shape("switch_gets_486", ("hostile_carrier_is_busy",)),
}


@dataclass
class Played:
    """One call and its parties, with what they wrote down of it."""

    serial: int
    shape: Shape
    token: str
    number: str
    permit: str
    ports: list[int]
    carriers: list[Carrier] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    def begin(self, folder: Path, edge: Edge) -> None:
        """Start the carriers, then FreeSWITCH's side."""
        for name, port in zip(self.shape.carriers, self.ports, strict=True):
            self.carriers.append(Carrier(folder, f"{self.serial}-{name}", _scenario(name), *ONE_CALL, port=port))
        self.switch = Sipp(
            folder, f"{self.serial}-{self.shape.switch}", _scenario(self.shape.switch), f"{HOST}:{edge.inside[1]}",
            *ONE_CALL, "-cid_str", str(uuid.uuid4()), "-s", self.token,
            "-key", "permit", self.permit, "-key", "gateway", f"set-{self.serial}",
        )  # fmt: skip

    def end(self) -> None:
        """Wait until all parties are through."""
        self.codes = {party.name: party.wait() for party in (self.switch, *self.carriers)}

    def stop(self) -> None:
        """End what still runs."""
        for party in (*self.carriers, *([self.switch] if hasattr(self, "switch") else [])):
            party.stop()

    @property
    def arrived(self) -> list[Message]:
        """What carriers received."""
        return [message for carrier in self.carriers for message in carrier.messages if message.received]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Played]]:
    """Every shape's call through one edge, a few at the same time."""
    folder = tmp_path_factory.mktemp("sipp")
    resolver = Resolver()
    calls = {name: _plan(serial, shape) for serial, (name, shape) in enumerate(SHAPES.items(), 1)}
    lines = [
        f"{call.serial} sip:{HOST}:{port} 0 {9 - rank} name=carrier{rank};{call.shape.attributes}"
        for call in calls.values()
        for rank, port in enumerate(call.ports)
    ]
    resolver.numbers.update({call.token: call.number for call in calls.values()})
    # SIPp takes an OPTIONS for a call of its own, and what one process overtook in another for a fault.
    defines = "#!redefine EDGE_PING_S 0\n#!redefine EDGE_WORKERS 1"
    extra = 'modparam("tm", "retr_timer1", 4000)'  # loopback loses nothing: what comes twice only came late
    edge = Edge(folder / "edge", resolver.url, lines, defines=defines, extra=extra)
    waiting = list(calls.values())
    try:
        while batch := waiting[:AT_ONCE]:
            del waiting[:AT_ONCE]
            for call in batch:
                call.begin(folder, edge)
            for call in batch:
                call.end()
        yield calls
        logged = edge.log.read_bytes()
        for call in calls.values():
            assert known.scan_bytes(logged, known.forms(call.number, call.token)) == []
    finally:
        for call in calls.values():
            call.stop()
        edge.stop()
        resolver.stop()


def _plan(serial: int, shape: Shape) -> Played:
    ports = [kept_port() for _ in shape.carriers]
    return Played(serial, shape, f"82{serial:012d}", f"+441134960{serial:03d}", secrets.token_hex(16), ports)


def _scenario(name: str) -> str:
    return (SCENARIOS / f"{name}.xml").read_text()


def _places(message: Message, number: str) -> set[str]:
    """Where a message spells the number: ``uri`` for the request line, else the header's name in lower case."""
    first, *rest = message.text.splitlines()
    headers = {line.partition(":")[0].lower() for line in rest if number in line}
    return headers | ({"uri"} if number in first else set())


@pytest.mark.parametrize("name", SHAPES)
def test_both_stacks_call_it_a_good_call(played, name):
    """Every party's own scenario ran to its end."""
    assert set(played[name].codes.values()) == {0}, played[name].codes


@pytest.mark.parametrize("name", SHAPES)
def test_a_carrier_is_told_the_number_where_it_looks_for_it(played, name):
    """New calls name it in Request-URI and To, later requests in To, responses in From; a digest repeats the URI."""
    call = played[name]
    for carrier in call.carriers:
        assert carrier.invites
        for message in filter(lambda message: message.received, carrier.messages):
            begins = not message.status and ";tag=" not in _header(message, "To")
            if begins:
                assert message.first_line.split()[1] == f"sip:{call.number}@{HOST}:{carrier.port}"
                assert _header(message, "To") == f"<sip:{call.number}@{HOST}>"
            places = _places(message, call.number[1:])
            assert places >= ({"from"} if message.status else {"to"}), message.first_line
            # The ACK of a refusal goes where the INVITE went; a hostile carrier's Contact holds the number.
            addressed = begins or message.first_line.startswith("ACK ") or "hostile" in name
            assert places <= {"from" if message.status else "to", *DIGESTS, *(("uri",) if addressed else ())}


@pytest.mark.parametrize("name", SHAPES)
def test_freeswitchs_side_holds_no_form_of_the_number(played, name):
    """Nothing FreeSWITCH's side sent or received holds the number, nor base64, hex or an XOR that does."""
    call = played[name]
    needles = known.forms(call.number, call.token)
    assert len(call.switch.messages) >= 4
    for message in call.switch.messages:
        heard = b"\n".join(decodings(message.text.encode("latin-1")))
        assert call.token.encode() in heard
        assert [finding.form for finding in known.scan_bytes(heard, needles)] == [], message.first_line


@pytest.mark.parametrize("name", SHAPES)
def test_a_carrier_learns_neither_token_nor_permit(played, name):
    """Nothing a carrier received holds the token or the permit, decoded or not."""
    call = played[name]
    secret = dict.fromkeys(known.forms(f"+{call.token}"), "token") | {call.permit.encode(): "permit"}
    for message in call.arrived:
        heard = b"\n".join(decodings(message.text.encode("latin-1")))
        assert [finding.form for finding in known.scan_bytes(heard, secret)] == [], message.first_line


def test_each_early_tag_has_a_name_of_its_own(played):
    """Two branches that ring under two tags are two dialogs to FreeSWITCH, and the one that answers keeps its tag."""
    tags = {
        message.status: re.search(r";tag=(\S+)", _header(message, "To"))[1]
        for message in played["two tags ring"].switch.messages
        if message.received and message.status in (180, 183, 200) and "INVITE" in _header(message, "CSeq")
    }
    assert tags[180] != tags[183] == tags[200]


def _header(message: Message, name: str) -> str:
    return next(line.partition(":")[2].strip() for line in message.text.splitlines() if line.startswith(f"{name}:"))
