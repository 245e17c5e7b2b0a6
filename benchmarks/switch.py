"""Calls a second end to end through a real FreeSWITCH: with the shield, against a static dialplan on the same machine.

    FREESWITCH=/path/to/freeswitch python benchmarks/switch.py [--quick] [--rates 10,20,40] [--rounds 3] [--seconds 10]

SIPp plays agents' telephones (digest, an agent and a token or number drawn for each call) and the carrier (rings 0.1 s,
answers); calls talk 1.5 s. Ways to the carrier, in turn at each rate: `static` bridges the dialled number to the gateway;
`direct` and `edge` hand the dialled token to a worker, whose authorisation and records are committed with fsync on, and
deliver it by the Lua script or by the edge (left out without Kamailio). A way holds a rate at which, by the median of its
rounds, 99.9 % of the calls are answered and the 99th percentile of the post-dial delay stays under 500 ms; one that does
not is tried at no higher rate. It ends with 1 when a way does not hold the lowest rate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import lab_path  # noqa: F401 - makes what comes next importable
from switch_calls import challenging, dial
from switch_lab import STATIC
from switch_report import ANSWERED, P99_MS, holds, show, table
from switch_site import switch_site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch_site import Measured, SwitchSite

RATES = (10, 20, 40, 60, 80, 100, 120, 160, 200, 280, 400)
QUICK_RATES = (10, 20, 40, 80, 120, 160)


def sipp_limit(folder: Path, rates: Sequence[int], seconds: int) -> int:
    """Find the highest rate, calls a second, that SIPp's telephones and carrier hold without anything between them."""
    reached = 0
    with challenging(folder) as other:
        for rate in rates:
            heard = dial(folder, to=other.port, way=STATIC, dialled=["100"], rate=rate, seconds=seconds)
            print(
                f"SIPp alone {rate:3d}/s p50 {heard.p50_ms:.1f} p99 {heard.p99_ms:.1f} ms, {heard.failed} of"
                f" {heard.calls} failed",
                flush=True,
            )
            if heard.answered / heard.calls < ANSWERED or heard.p99_ms >= P99_MS:
                break
            reached = rate
    return reached


def rounds(place: SwitchSite, rates: Sequence[int], count: int, seconds: int) -> list[Measured]:
    """Run every way at rising rates, in turn within a round, each until it does not hold one."""
    for way in place.ways:  # the first calls open connections and fill caches
        place.run(way, rates[0], 2)
    found: list[Measured] = []
    ways = list(place.ways)
    for rate in rates:
        at_rate: dict[str, list[Measured]] = {way: [] for way in ways}
        for turn in range(count):
            for way in ways if turn % 2 == 0 else ways[::-1]:
                at_rate[way].append(place.run(way, rate, seconds))
                show(at_rate[way][-1])
        found += [run for runs in at_rate.values() for run in runs]
        # Static goes on while another does: ratios want it beside them.
        ways = [way for way in ways if way == STATIC or holds(at_rate[way])]
        if not holds(at_rate[STATIC]):
            break
    return found


def main() -> None:
    """Run the plan, print a line as each run ends, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rates and tokens, shorter runs")
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")], help="calls/s, rising")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way at each rate")
    parser.add_argument("--seconds", type=int, help="how long each run begins calls")
    parser.add_argument("--tokens", type=int, help="how many the vault holds")
    options = parser.parse_args()
    binary = os.environ.get("FREESWITCH", "")
    if missing := [tool for tool in (binary or "FREESWITCH", "sipp") if not shutil.which(tool)]:
        parser.error(f"{', '.join(missing)} cannot be run; FREESWITCH names the binary, sipp is Debian's sip-tester")
    rates = options.rates or (QUICK_RATES if options.quick else RATES)
    seconds = options.seconds or (5 if options.quick else 15)
    tokens = options.tokens or (5_000 if options.quick else 100_000)
    with tempfile.TemporaryDirectory(prefix="esl-shield-switch-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        with switch_site(binary, tokens, folder) as place:
            if not place.edge:
                print("edge        left out: kamailio is not installed", flush=True)
            limit = sipp_limit(folder, [rates[-1], rates[-1] * 2], seconds)
            found = rounds(place, rates, options.rounds, seconds)
            print(table(found, limit))
            print(f"recorded    {place.recorded()}", flush=True)
    lowest = {way: [run for run in found if (run.way, run.rate) == (way, rates[0])] for way in place.ways}
    if short := [way for way, runs in lowest.items() if not holds(runs)]:
        sys.exit(f"{' and '.join(short)} did not hold {rates[0]} calls/s")


if __name__ == "__main__":
    main()
