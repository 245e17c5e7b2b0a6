"""`leakscan --canary` through a real FreeSWITCH and a real edge: clean when it is, and never because nothing happened."""

from __future__ import annotations

import shutil

import pytest
import scenarios as sip
from canary_site import CanarySite
from edge_lab import SECRET, Edge
from shield import Shield
from sipp import HOST
from stage import CARRIER_A

from esl_shield.audit import known

pytestmark = pytest.mark.skipif(not shutil.which("kamailio"), reason="kamailio is not there")


@pytest.fixture
def edge(stage, tmp_path):
    """The edge where FreeSWITCH's gateway looks for it, in front of a carrier."""
    carriers = [f"1 sip:{HOST}:{stage.port_of(CARRIER_A)} 0 9 name={CARRIER_A}"]
    edge = Edge(tmp_path / "edge", f"http://{HOST}:{stage.ports.resolver}/redeem", carriers, inside=stage.ports.edge)
    yield edge
    edge.stop()


@pytest.fixture
def shield(database, stage, edge):  # noqa: ARG001 - the edge is behind it
    """A site with the edge: resolver and worker run."""
    shield = Shield(database, stage, edge=SECRET)
    shield.resolver()
    shield.role = shield.worker()
    return shield


def test_a_hiding_deployment_is_proved_clean(shield, stage, switch):
    """Answered calls, all logs and CDRs searched, nothing found: clean, exit 0; the carrier saw numbers of nobody."""
    carrier = stage.carrier(CARRIER_A, sip.carrier_answers(hostile=True))
    site = CanarySite(shield, stage)
    code, report, printed = site.prove("--calls", "2", str(switch.log), str(switch.db))
    assert report["reasons"] == []
    assert (code, report["verdict"]) == (0, "clean")
    assert [call["outcome"] for call in report["calls"]] == ["answered", "answered"]
    assert {place["place"]: place["sightings"] for place in report["freeswitch"]} == {
        "phone": 0, "show channels": 0, "agent's leg": 0, "carrier's leg": 0, "events": 0,
    }  # fmt: skip
    assert all(place["looks"] for place in report["freeswitch"])
    numbers = {message.text.split("sip:", 1)[1].split("@")[0] for message in carrier.invites}
    assert len(numbers) == 2
    needles = {form for number in numbers for form in known.encodings(number)}
    assert not known.scan_bytes(printed.encode(), needles)
