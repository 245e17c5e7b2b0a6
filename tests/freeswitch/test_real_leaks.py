"""The table: occurrences of the number, everything logged at debug and both legs in every CDR.

The plain bridge is the control: where it shows nothing, a nought in direct delivery would prove nothing.
"""

from __future__ import annotations

import pytest
import scenarios as sip
from census import Census, table
from lab import DOMAIN
from polling import until
from recorder import Attempt
from shield import Shield
from stage import CARRIER_A, CARRIER_B, EMERGENCY

from esl_shield.audit import known

USER = "1001"
ROWS: dict[str, dict[str, int]] = {}
NOWHERE = ("log at info", "XML CDR", "JSON CDR", "CSV CDR", "SQLite CDR", "core database", "show channels", "phone")
TALKS = sip.agent_talks(USER, DOMAIN)


@pytest.fixture(scope="module", autouse=True)
def printed_table(measured):
    """Print the table when all rows are known."""
    yield
    measured.append("\n" + table(ROWS))


@pytest.fixture
def census(switch, tap):
    """Counts in every place."""
    return Census(switch, tap)


def _take(stage, census, row, number, *, dialled, agent, carrier):
    """Make one call and count; returns the agent and the carrier."""
    first = stage.carrier(CARRIER_A, carrier)
    others = [stage.carrier(gateway, sip.carrier_answers()) for gateway in (CARRIER_B, EMERGENCY)]
    phone = stage.agent(agent, dialled=dialled)
    until(lambda: stage.switch.channels() == 2 or phone.process.poll() is not None, "both legs are listed")
    while_up = census.look()
    code = phone.wait()
    assert code == 0, phone.statuses
    census.settle()
    ROWS[row] = census.count(number, agent=phone, carrier=first, others=others, while_up=while_up)
    return phone, first


@pytest.mark.parametrize("hostile", [False, True], ids=["polite", "hostile"])
def test_the_control_shows_the_number_everywhere(stage, census, hostile):
    """A plain bridge leaves the number in the log, each CDR, the core database, events and, if hostile, the phone."""
    number = "+8613800138060" if hostile else "+8613800138061"
    worker = stage.worker([Attempt(CARRIER_A, "plain", number)])
    _take(
        stage, census, f"plain bridge, {'hostile' if hostile else 'polite'}", number,
        dialled="70001234567893", agent=TALKS, carrier=sip.carrier_answers(hostile=hostile, ring_ms=800),
    )  # fmt: skip
    worker.wait()
    row = ROWS[f"plain bridge, {'hostile' if hostile else 'polite'}"]
    assert not [place for place in NOWHERE if place != "phone" and not row[place]], row
    assert bool(row["phone"]) == hostile
    assert (row["carrier: INVITEs"], row["other carriers"]) == (1, 0)


DIRECT = {
    "polite": ("+8613800138070", TALKS, sip.carrier_answers(ring_ms=800)),
    "polite, transferred": (
        "+8613800138076", sip.agent_transfers(USER, DOMAIN, "110"), sip.carrier_hangs_up(talk_ms=1500),
    ),
    "hostile": ("+8613800138071", TALKS, sip.carrier_answers(hostile=True, ring_ms=800)),
    "hostile, hangs up": ("+8613800138072", sip.agent_is_left(USER, DOMAIN), sip.carrier_hangs_up(hostile=True)),
    "hostile, busy": (
        "+8613800138073", sip.agent_is_refused(USER, DOMAIN, 486),
        sip.carrier_refuses(486, "Busy", ringing=True, hostile=True),
    ),
    "hostile, 183 and busy": (
        "+8613800138074", sip.agent_is_refused(USER, DOMAIN, 486),
        sip.carrier_early_media(then=486, phrase="Busy", hostile=True),
    ),
    "hostile, cancelled": ("+8613800138075", sip.agent_cancels(USER, DOMAIN), sip.carrier_rings(hostile=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", DIRECT)
def test_direct_delivery_leaves_the_number_on_the_wire_and_in_b_leg_events_only(
    database, stage, census, name, measured
):  # fmt: skip
    """Nothing FreeSWITCH or we write holds the number in any form; the carrier's wire holds it in one Request-URI."""
    number, agent, carrier = DIRECT[name]
    shield = Shield(database, stage)
    shield.resolver()
    shield.worker()
    phone, wire = _take(
        stage, census, f"direct, {name}", number, dialled=shield.token(number), agent=agent, carrier=carrier
    )
    row = ROWS[f"direct, {name}"]
    measured.append(f"direct, {name}: headers of events that hold the number: {dict(census.headers(number))}")
    assert not {place: row[place] for place in NOWHERE if row[place]}
    assert row["log at debug"] == 0 or "hostile" in name

    (invite,) = {message.text for message in wire.invites}
    assert invite.startswith(f"INVITE sip:{number}@")
    assert invite.count(number[1:]) == 1
    assert row["other carriers"] == 0

    forms = known.encodings(number)
    written = known.scan_tree(stage.switch.folder, forms)
    if "hostile" in name:  # debug prints the carrier's SDP, in which it may repeat the number
        debug = {str(stage.switch.debug_log), str(stage.switch.console)}
        written = [finding for finding in written if finding.path not in debug]
    assert not written
    assert not known.scan_bytes("\n".join(m.text for m in phone.messages).encode(), forms)
    assert not known.scan_bytes(shield.dump(), forms)
