"""SIPp as agents' telephones and as the carrier: one run of calls at a rate, and what the telephones noted.

Post-dial delay is what an agent waits: from the first INVITE, digest challenge included, to the carrier's 180 (its 200 if
the 180 was lost).
"""

from __future__ import annotations

import contextlib
import csv
import random
import statistics
from typing import TYPE_CHECKING, NamedTuple

import scenarios as sip
from ports import HOST
from sipp import Carrier, Sipp
from switch_lab import AGENTS, FIRST_AGENT, password
from vault_bench import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RING_MS, TALK_MS = 100, 1500
PATIENCE_MS = 10_000  # without the next message a call has failed
_CHALLENGE = """<recv request="INVITE"/>
<send retrans="500"><![CDATA[

SIP/2.0 407 Proxy Authentication Required
[last_Via:]
[last_From:]
[last_To:];tag=[pid]P[call_number]
[last_Call-ID:]
[last_CSeq:]
Proxy-Authenticate: Digest realm="bench.example", nonce="[call_number]", algorithm=MD5, qop="auth"
Content-Length: 0

]]></send>
<recv request="ACK"/>
"""
# The telephones' scenario made to draw agent and digits from a file and to take the time: each text stands in it.
_TIMED = (
    ("[service]", "[field0]"),
    ("[authentication]", "[field2]"),  # SIPp reads the keyword in the file, with its name and password
    ('<send retrans="500"><![CDATA[\n\nINVITE', '<send retrans="500" start_rtd="1"><![CDATA[\n\nINVITE'),
    ('<recv response="180" optional="true"/>', '<recv response="180" optional="true" rtd="1"/>'),
    ('<recv response="200" rrs="true"/>', '<recv response="200" rrs="true" rtd="1"/>'),
)


class Heard(NamedTuple):
    """What the telephones noted of one run; delays in milliseconds, of calls that were answered or rang."""

    calls: int
    answered: int
    p50_ms: float
    p99_ms: float

    @property
    def failed(self) -> int:
        """Calls that did not go from dialling to hanging up as they should."""
        return self.calls - self.answered


def telephone() -> str:
    """Make the agents' scenario: dial, prove who one is, be answered, talk, hang up."""
    text = sip.agent_talks("[field1]", DOMAIN, talk_ms=TALK_MS)
    for old, new in _TIMED:
        if old not in text:
            raise AssertionError(old)
        text = text.replace(old, new, 1 if "start_rtd" in new else -1)
    return text


@contextlib.contextmanager
def carrier(folder: Path, port: int) -> Iterator[Carrier]:
    """Run the carrier all ways lead to."""
    with _stopping(Carrier(folder, "carrier", sip.carrier_answers(ring_ms=RING_MS), port=port, traced=False)) as made:
        yield made


@contextlib.contextmanager
def challenging(folder: Path) -> Iterator[Carrier]:
    """Run a carrier that asks for a digest itself: telephones that call it measure SIPp alone."""
    mark = '<scenario name="s">\n'
    scenario = sip.carrier_answers(ring_ms=RING_MS).replace(mark, mark + _CHALLENGE, 1)
    with _stopping(Carrier(folder, "challenging", scenario, traced=False)) as made:
        yield made


@contextlib.contextmanager
def _stopping(made: Carrier) -> Iterator[Carrier]:
    try:
        yield made
    finally:
        made.stop()


def dial(folder: Path, *, to: int, way: str, dialled: Sequence[str], rate: int, seconds: int) -> Heard:
    """Have agents make ``rate`` calls a second for ``seconds``, whatever becomes of earlier ones.

    Raises:
        RuntimeError: SIPp itself failed.

    """
    calls, first = rate * seconds, FIRST_AGENT[way]
    agents = [first + random.randrange(AGENTS) for _ in range(calls)]
    rows = [
        f"{random.choice(dialled)};{agent};[authentication username={agent} password={password(agent)}]\n"
        for agent in agents
    ]
    (folder / "calls.csv").write_text("SEQUENTIAL\n" + "".join(rows))
    for old in (*folder.glob("phones_*_rtt.csv"), folder / "phones.stat"):
        old.unlink(missing_ok=True)
    phones = Sipp(
        folder, "phones", telephone(), f"{HOST}:{to}", "-inf", str(folder / "calls.csv"), "-r", str(rate),
        "-m", str(calls), "-l", str(calls), "-recv_timeout", str(PATIENCE_MS), "-timer_resol", "2",
        "-trace_rtt", "-rtt_freq", "1", "-trace_stat", "-stf", str(folder / "phones.stat"), "-fd", "1", traced=False,
    )  # fmt: skip
    try:
        if phones.wait(seconds + 60) not in (0, 1):  # 1: a call failed
            raise RuntimeError((folder / "phones.log").read_text()[-500:])
    finally:
        phones.stop()
    return _heard(folder, calls)


def _heard(folder: Path, calls: int) -> Heard:
    with (folder / "phones.stat").open() as file:
        last = list(csv.DictReader(file, delimiter=";"))[-1]
    took = []
    for path in folder.glob("phones_*_rtt.csv"):  # none when no call rang
        with path.open() as file:
            took += [float(row[1]) for row in csv.reader(file, delimiter=";") if row[1][:1].isdigit()]
    cuts = (
        statistics.quantiles(took if len(took) > 1 else took * 2, n=100, method="inclusive")
        if took
        else [float("inf")] * 99
    )
    return Heard(calls, int(last["SuccessfulCall(C)"]), cuts[49], cuts[98])
