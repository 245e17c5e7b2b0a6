"""The load generator of the hand-off's benchmark: built here, driven against a real worker and resolver."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from fix_site import NUMBERS, SHOP, eventually

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CALLS = 50


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Build the generator; yields the folder of its programs and the module that drives it."""
    if missing := [tool for tool in ("cc", "make") if not shutil.which(tool)]:
        reason = f"{' and '.join(missing)} not found (Debian: gcc, libc6-dev, make)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import handoff_load  # noqa: PLC0415 - a benchmark's module, which is no package
        import handoff_messages  # noqa: PLC0415
    finally:
        sys.path.remove(str(BENCHMARKS))
    return handoff_load.build(tmp_path_factory.mktemp("programs")), handoff_load, handoff_messages


def load_of(programs, folder, lines, domain):
    built, handoff_load, handoff_messages = programs
    load = handoff_load.Load(built, folder / "messages", folder / "tokens")
    load.messages.mkdir()
    handoff_messages.write(load.messages, domain=domain, token_length=len(lines[0].split(",")[0]))
    load.tokens.write_text("\n".join(lines) + "\n")
    return load


def test_fifty_calls_through_a_real_worker_and_resolver(programs, call_centre, tmp_path):
    """Each call is bridged, its permit gives its own number once, it is answered and ends well; its CDR says so."""
    lines = [f"{call_centre.token(SHOP, at)},{number}" for at, number in enumerate(NUMBERS)]
    load = load_of(programs, tmp_path, lines, SHOP.domain)
    secret = tmp_path / "secret"
    secret.write_text(call_centre.site.edge_secret + "\n")
    load.resolver = ["--resolver", call_centre.redeem.url.split(":")[2].split("/")[0], "--secret", str(secret)]
    before = completed(call_centre)
    told = load.run(call_centre.worker[1], 25, CALLS, "--hold-ms", "50")
    counts = {key: told[key] for key in ("begun", "bridged", "redeemed", "answered", "completed", "failed", "stuck")}
    assert counts == {**dict.fromkeys(counts, CALLS), "failed": 0, "stuck": 0}, told["failures"]
    assert told["handoff"]["count"] == CALLS
    assert 0 < told["handoff"]["p50_ms"] <= told["handoff"]["p99_ms"] <= told["handoff"]["max_ms"]
    assert eventually(lambda: completed(call_centre) == before + CALLS)


def completed(call_centre):
    """Count the shop's calls whose CDR says they were answered and ended."""
    rows = call_centre.query("SELECT count(*) FROM dba.calls WHERE tenant = %s AND state = 'COMPLETED'", SHOP.name)
    return rows[0]["count"]


def test_refused_calls_are_counted_as_failures(programs, call_centre, tmp_path):
    """A token nobody has is refused with 404, and the generator says so instead of measuring it."""
    load = load_of(programs, tmp_path, ["81000000000000,+442079460100"], SHOP.domain)
    told = load.run(call_centre.worker[1], 50, 5)
    assert (told["bridged"], told["failed"], told["failures"]) == (0, 5, {"refused_404": 5})


def test_the_null_server_keeps_up(programs, tmp_path):
    """Against a server that decides nothing every call ends well, so failures are never the generator's own."""
    load = load_of(programs, tmp_path, ["81000000000000,+442079460100"], SHOP.domain)
    with programs[1].null_server(load) as port:
        told = load.run(port, 200, 100, "--hold-ms", "20")
    assert (told["completed"], told["failed"]) == (100, 0)
