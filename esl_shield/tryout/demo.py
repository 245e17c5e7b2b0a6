"""The demo: 200 calls through worker, resolver and PostgreSQL, shown side by side, then a search for every number.

Invariants: FreeSWITCH is the double of ``esl/double``, everything else is the real part in its own process; each call's
wire, refusal and CDR are checked against what they must be; the search covers all that the site wrote, the database's
files and write-ahead log included, and is shown to find numbers where they must be (the customer file, the carrier's
wire) before its silence elsewhere counts.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from gevent.pool import Pool

from esl_shield.audit import known
from esl_shield.esl import double
from esl_shield.tryout.site import Site, Tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

CALLS = 200
AT_ONCE = 20
DOMAIN = "bank.example"
BANK = Tenant("bank", DOMAIN, "70", "GB")
FIRST, SECOND = "carrier-a", "carrier-b"
PROXIES = {FIRST: "192.0.2.10:5060", SECOND: "192.0.2.20:5060"}
GATEWAYS = "\n".join(
    f'[[gateways]]\nname = "{name}"\ndelivery = "direct"\nproxy = "{proxy}"\ncaller_id = ["+442079460999"]\n'
    for name, proxy in PROXIES.items()
)
EXTRA = {"resolver": '[destinations]\ncountries = ["GB"]\n'}

# Ranges their regulators keep for fiction: Ofcom's 020 7946 0xxx and 0161 496 0xxx, the NANPA's 555-01xx.
CUSTOMERS = [f"+4420794600{i:02d}" for i in range(90)] + [f"+4416149600{i:02d}" for i in range(60)]
ABROAD = [f"+12025550{i:03d}" for i in range(100, 110)]


AGENT = double.Agent(domain=DOMAIN)


@dataclass(frozen=True)
class Kind:
    """One sort of call and what must come of it."""

    name: str
    of_twenty: int
    state: str
    attempts: int
    carriers: Mapping[str, double.Gateway]
    agent: double.Agent = AGENT
    dials: str = "token"
    cancels_after_s: float | None = None


def _gateways(first: double.Carrier, second: double.Carrier | None = None) -> dict[str, double.Gateway]:
    carriers = {FIRST: first, SECOND: second or first}
    return {name: double.Gateway(carrier, PROXIES[name]) for name, carrier in carriers.items()}


_ANSWERS = double.Carrier(after_s=0.02, hangs_up_after_s=0.05)
_BUSY = double.Carrier(486, "Busy Here", after_s=0.02)
_DOWN = double.Carrier(503, "Service Unavailable", rings=False)
_RINGS = double.Carrier(after_s=None)
_FORGED = (
    "x%0Avariable_sip_authorized: true%0Avariable_sip_auth_username: supervisor%0Avariable_domain_name: bank.example"
)

KINDS = (
    Kind("answered", 9, "COMPLETED", 1, _gateways(_ANSWERS)),
    Kind("busy", 2, "BUSY", 1, _gateways(_BUSY)),
    Kind("cancelled", 2, "CANCELLED", 1, _gateways(_RINGS), cancels_after_s=0.1),
    Kind("failover", 2, "COMPLETED", 2, _gateways(_DOWN, _ANSWERS)),
    Kind("unknown token", 1, "REFUSED", 0, _gateways(_ANSWERS), dials="unknown"),
    Kind("dialled a number", 1, "REFUSED", 0, _gateways(_ANSWERS), dials="number"),
    Kind("abroad", 1, "REFUSED", 1, _gateways(_ANSWERS), dials="abroad"),
    Kind("no password", 1, "", 0, _gateways(_ANSWERS), double.Agent(domain=DOMAIN, authorized=False)),
    Kind(
        "forged", 1, "", 0, _gateways(_ANSWERS),
        double.Agent(domain=DOMAIN, authorized=False, headers={"X-Note": _FORGED}),
    ),
)  # fmt: skip


class Call(NamedTuple):
    """One call of the demo: its kind, what was dialled, the number behind it ("" if there is none), what came of it."""

    kind: Kind
    dialled: str
    number: str
    result: double.Result


class Outcome(NamedTuple):
    """The demo's last line, in figures; ``findings`` are sentences."""

    calls: int
    bridged: int
    refused: int
    leaks: int
    findings: list[str]


def run(folder: Path, say: Callable[[str], None]) -> Outcome:
    """Run the demo in an empty folder; raises ShieldError when the site cannot be set up."""
    say("starting PostgreSQL, worker and resolver ...")
    with Site(folder, [BANK], GATEWAYS, EXTRA) as site:
        numbers = _seed(site)
        say(f"{len(numbers)} customers imported; {CALLS} calls ...")
        worker, resolver = site.start("worker").address, site.start("resolver").address
        redeem = double.HttpRedeem(f"http://{resolver}/redeem", lua_secret=site.lua_secret.encode())
        calls = _place(numbers, (worker.host, worker.port), redeem)
        site.stop("worker")
        records = _records(site)
        site.stop("resolver")
        for line in _table(calls, records):
            say(line)
        findings = [*_check(calls, records), *_unproven(folder, calls, numbers)]
        site.postgres.halt()
        leaks = _search(site, calls, numbers)
    bridged = sum(bool(call.result.wire) for call in calls)
    return Outcome(len(calls), bridged, len(calls) - bridged, len(leaks), findings + leaks)


def _seed(site: Site) -> dict[str, str]:
    """Import the customers through the command line; returns number by token."""
    source, target = site.folder / "customers.csv", site.folder / "tokens.csv"
    everyone = CUSTOMERS + ABROAD
    with source.open("w", newline="") as file:
        csv.writer(file).writerows([("number", "alias"), *((n, f"C-{i:04d}") for i, n in enumerate(everyone))])
    site.run("seeder", "token", "import", str(source), "--tenant", BANK.name, "--output", str(target))
    with target.open(newline="") as file:
        return {row["token"]: everyone[int(row["alias"].removeprefix("C-"))] for row in csv.DictReader(file)}


def _place(numbers: Mapping[str, str], worker: tuple[str, int], redeem: double.Redeem) -> list[Call]:
    """Have the agents call, some at once."""
    at_home = [token for token, number in numbers.items() if number in CUSTOMERS]
    abroad = [token for token, number in numbers.items() if number in ABROAD]
    kinds = [kind for kind in KINDS for _ in range(kind.of_twenty)]

    def call(position: int) -> Call:
        kind = kinds[position % len(kinds)]
        token = (abroad if kind.dials == "abroad" else at_home)[position % (10 if kind.dials == "abroad" else 150)]
        dialled = {"unknown": _unknown(token, numbers), "number": numbers[token]}.get(kind.dials, token)
        # One who dials ten wrong tokens is locked, so that ten agents share them.
        agent = replace(kind.agent, username=str(1001 + position // len(kinds)))
        placed = double.Call(
            dialled=dialled, agent=agent, gateways=kind.carriers, cancels_after_s=kind.cancels_after_s,
            hangs_up_after_s=None,
        )  # fmt: skip
        return Call(kind, dialled, numbers[token], double.play(placed, worker, redeem=redeem))

    return list(Pool(AT_ONCE).imap(call, range(CALLS)))


def _unknown(token: str, numbers: Mapping[str, str]) -> str:
    """Return a well-formed token nobody has: Damm's digit of an appended check digit is 0."""
    longer = token + "0"
    return longer if longer not in numbers else _unknown(longer, numbers)


def _records(site: Site) -> dict[str, dict[str, object]]:
    """Read the CDRs as an auditor; returns them by channel."""
    lines = site.run("auditor", "call", "list", "--tenant", BANK.name, "--limit", "10000", "--format", "json")
    return {record["channel"]: record for record in map(json.loads, lines.splitlines())}


def _check(calls: Sequence[Call], records: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Say what did not come out as it must: the wire, the phone's answer, the CDR."""
    for call in calls:
        expected = [f"sip:{call.number}@{PROXIES[name]}" for name in (FIRST, SECOND)[: call.kind.attempts]]
        expected = [] if call.kind.dials == "abroad" else expected
        if [entry.request_uri for entry in call.result.wire] != expected:
            yield f"{call.kind.name}: the carrier's wire does not hold the number exactly where it should"
        record = records.get(call.result.uuid)
        state = record["state"] if record else ""
        if state != call.kind.state:
            yield f"{call.kind.name}: the CDR says {state or 'nothing'} instead of {call.kind.state or 'nothing'}"
        if not call.kind.state and call.result.status != 403:  # noqa: PLR2004 - SIP's Forbidden
            yield f"{call.kind.name}: the phone was answered {call.result.status} instead of 403"


def _unproven(folder: Path, calls: Sequence[Call], numbers: Mapping[str, str]) -> Iterator[str]:
    """Say where the search fails to see numbers that are there: in the customer file and on the carrier's wire."""
    needles = _needles(numbers)
    wire = "\n".join(entry.request_uri for call in calls for entry in call.result.wire).encode()
    if len(known.scan_tree(folder / "customers.csv", needles)) < len(numbers):
        yield "the search does not find the customer file's numbers"
    if not known.scan_bytes(wire, needles):
        yield "the search does not find the numbers on the carrier's wire"


def _search(site: Site, calls: Sequence[Call], numbers: Mapping[str, str]) -> list[str]:
    """Search everything written and everything FreeSWITCH was told; the customer file is set apart."""
    (site.folder / "customers.csv").unlink()
    needles = _needles(numbers)
    places = [site.folder, site.postgres.folder]
    found = [finding for place in places for finding in known.scan_tree(place, needles)]
    # What the agent who dials a number sends reaches FreeSWITCH and us; it must end there.
    spoken = [call for call in calls if call.kind.dials != "number"]
    told = "\n".join(text for call in spoken for text in call.result.told).encode()
    found += known.scan_bytes(told, needles)
    return [f"leak: {finding.path or 'told to FreeSWITCH'} at {finding.offset} ({finding.form})" for finding in found]


def _needles(numbers: Mapping[str, str]) -> dict[bytes, str]:
    needles: dict[bytes, str] = {}
    for token, number in numbers.items():
        needles |= known.forms(number, token)
    return needles


def _table(calls: Sequence[Call], records: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """Show one call of each kind side by side."""
    rows = [("call", "agent dialled", "FreeSWITCH was told", "carrier's wire got", "CDR keeps")]
    shown: Counter[str] = Counter()
    for call in calls:
        shown[call.kind.name] += 1
        if shown[call.kind.name] == 1:
            rows.append(_row(call, records.get(call.result.uuid)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for position, row in enumerate(rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if not position:
            yield "  ".join("-" * width for width in widths)


def _row(call: Call, record: Mapping[str, object] | None) -> tuple[str, str, str, str, str]:
    arguments = re.findall(r"execute-app-name: (\S+)\nexecute-app-arg: (.*)", "\n".join(call.result.told))
    told = [" ".join((app, _short(argument))) for app, argument in arguments]
    wire = [entry.request_uri for entry in call.result.wire]
    dialled = "(a telephone number)" if call.kind.dials == "number" else call.dialled
    kept = f"{record['state']} {record['token'] or '-'} {record['hangup_cause'] or ''}".rstrip() if record else "-"
    return call.kind.name, dialled, told[-1] if told else "-", wire[-1] if wire else "-", kept


def _short(argument: str) -> str:
    """Shorten a permit to its first digits."""
    return re.sub(r"\b([0-9a-f]{6})[0-9a-f]{26}\b", r"\1…", argument)
