"""Edge delivery through a real FreeSWITCH and a real Kamailio: the number stands nowhere in FreeSWITCH.

The table is that of ``test_real_leaks``, a column for each temper of the carrier; every row in FreeSWITCH is nought.
"""

from __future__ import annotations

import shutil
from typing import NamedTuple

import pytest
import scenarios as sip
from census import Census, table
from edge_lab import SECRET, Edge
from lab import DOMAIN
from polling import until
from ports import HOST
from shield import Shield
from stage import CARRIER_A, CARRIER_B

from esl_shield.audit import known

USER = "1001"
TALKS = sip.agent_talks(USER, DOMAIN)
ROWS: dict[str, dict[str, int]] = {}
OUTSIDE = ("carrier: INVITEs", "other carriers")

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


class Case(NamedTuple):
    number: str
    agent: str
    carrier: str
    final: int


CASES = {
    "polite": Case("+8613800138080", TALKS, sip.carrier_answers(ring_ms=800), 200),
    "hostile": Case("+8613800138081", TALKS, sip.carrier_answers(hostile=True, ring_ms=800), 200),
    "hostile, hangs up": Case(
        "+8613800138082", sip.agent_is_left(USER, DOMAIN), sip.carrier_hangs_up(hostile=True), 200
    ),
    "hostile, busy": Case(
        "+8613800138083", sip.agent_is_refused(USER, DOMAIN, 486),
        sip.carrier_refuses(486, "Busy", ringing=True, hostile=True), 486,
    ),
    "hostile, 183 and busy": Case(
        "+8613800138084", sip.agent_is_refused(USER, DOMAIN, 486),
        sip.carrier_early_media(then=486, phrase="Busy", hostile=True), 486,
    ),
    "hostile, cancelled": Case("+8613800138085", sip.agent_cancels(USER, DOMAIN), sip.carrier_rings(hostile=True), 487),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def printed_table(measured):
    """Add the table when all columns are known."""
    yield
    measured.append("\nedge delivery\n" + table(ROWS))


@pytest.fixture
def edge(stage, tmp_path):
    """The edge where FreeSWITCH's gateway looks for it, in front of both carriers."""
    carriers = [
        f"1 sip:{HOST}:{stage.port_of(name)} 0 {rank} name={name}" for name, rank in ((CARRIER_A, 9), (CARRIER_B, 1))
    ]
    resolver = f"http://{HOST}:{stage.ports.resolver}/redeem"
    edge = Edge(tmp_path / "edge", resolver, carriers, inside=stage.ports.edge)
    yield edge
    edge.stop()


@pytest.mark.parametrize("name", CASES)
def test_edge_delivery_leaves_the_number_nowhere_in_freeswitch(database, stage, switch, tap, edge, name):
    """Log at debug, all CDRs of both legs, every event, the core database and the phone hold no form of the number."""
    case = CASES[name]
    census = Census(switch, tap)
    shield = Shield(database, stage, edge=SECRET)
    shield.resolver()
    shield.worker()
    token = shield.token(case.number)
    wire, other = stage.carrier(CARRIER_A, case.carrier), stage.carrier(CARRIER_B, sip.carrier_answers())
    phone = stage.agent(case.agent, dialled=token)
    until(lambda: switch.channels() == 2 or phone.process.poll() is not None, "both legs are listed")
    while_up = census.look()
    assert phone.wait() == 0, phone.statuses
    census.settle()
    assert case.final in phone.statuses
    row = ROWS[f"edge, {name}"] = census.count(
        case.number, agent=phone, carrier=wire, others=[other], while_up=while_up
    )
    assert {place: count for place, count in row.items() if count and place not in OUTSIDE} == {}

    invites = {message.text for message in wire.invites}
    assert len(invites) == 1
    (invite,) = invites
    assert invite.startswith(f"INVITE sip:{case.number}@")
    assert invite.count(case.number[1:]) == 2  # the Request-URI and To
    assert row["other carriers"] == 0

    forms = known.encodings(case.number, token)
    assert not known.scan_tree(switch.folder, forms)
    assert not known.scan_bytes(b"\n".join(tap.events), forms)
    assert not known.scan_bytes("\n".join(m.text for m in phone.messages).encode(), forms)
    assert not known.scan_bytes(shield.dump(), forms)
    assert not known.scan_bytes(edge.log.read_bytes(), forms)


def test_the_edge_takes_the_next_carrier_within_one_permit(database, stage, edge):
    """A carrier's 503 costs no second permit: the edge tries the other carrier, and the agent hears it ring."""
    shield = Shield(database, stage, edge=SECRET)
    shield.resolver()
    shield.worker()
    number = "+8613800138086"
    first = stage.carrier(CARRIER_A, sip.carrier_refuses(503, "Out of lines"))
    second = stage.carrier(CARRIER_B, sip.carrier_answers())
    phone = stage.agent(TALKS, dialled=shield.token(number))
    assert phone.wait() == 0, phone.statuses
    call = shield.call("COMPLETED")
    assert call["attempts"] == 1
    assert all(m.first_line.startswith(f"INVITE sip:{number}@") for m in (*first.invites, *second.invites))
    assert first.invites
    assert second.invites


def test_without_an_edge_the_agent_hears_a_refusal(database, stage):
    """With nobody at the edge's address the call ends with 503."""
    shield = Shield(database, stage, edge=SECRET)
    shield.resolver()
    shield.worker()
    phone = stage.agent(sip.agent_is_refused(USER, DOMAIN, 503), dialled=shield.token("+8613800138087"))
    assert phone.wait(40) == 0, phone.statuses


def test_a_resolver_that_is_away_is_a_503(database, stage, edge):
    """The edge refuses with 503 when the resolver is away, and so does the worker to the agent."""
    shield = Shield(database, stage, edge=SECRET)
    shield.worker()
    phone = stage.agent(sip.agent_is_refused(USER, DOMAIN, 503), dialled=shield.token("+8613800138088"))
    assert phone.wait() == 0, phone.statuses
    assert phone.seconds_to_final < 3
