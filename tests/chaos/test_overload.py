"""Many times the calls a worker can take: what it takes it completes, the rest it refuses at once, and it recovers."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from fix_site import NUMBERS, SHOP, eventually

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.tryout.site import DATABASE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RATE, CALLS = 2000, 4000  # ten times what two busy processors take
PATIENCE_MS = 8000
REFUSED_WITHIN_MS = 2000  # FreeSWITCH's own patience with a socket (mod_event_socket.c), the listen queue included
PATIENT = "admission_timeout_s = 60\n"
OPEN = "SELECT id FROM dba.calls WHERE state IN ('AUTHORIZED', 'ANSWERED')"

pytestmark = [pytest.mark.load, pytest.mark.timeout(300)]  # some thousand calls through real processes


@pytest.fixture
def load(call_centre, tmp_path):
    """The load generator as this site's FreeSWITCH and edge."""
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
    made = handoff_load.Load(handoff_load.build(tmp_path / "programs"), tmp_path / "messages", tmp_path / "tokens")
    made.messages.mkdir()
    lines = [f"{call_centre.token(SHOP, at)},{number}" for at, number in enumerate(NUMBERS)]
    handoff_messages.write(made.messages, domain=SHOP.domain, token_length=len(lines[0].split(",")[0]))
    made.tokens.write_text("\n".join(lines) + "\n")
    secret = tmp_path / "secret"
    secret.write_text(call_centre.site.edge_secret + "\n")
    made.resolver = ["--resolver", call_centre.redeem.url.split(":")[2].split("/")[0], "--secret", str(secret)]
    return made


@pytest.fixture
def hurried(call_centre, tmp_path):
    """Where a worker listens that refuses as soon as one does by default, not as late as the others of the site."""
    config = tmp_path / "hurried.toml"
    config.write_text(call_centre.site.config("worker").read_text().replace(PATIENT, ""))
    config.chmod(0o600)
    address = call_centre.site.start("worker", config=config, name="hurried").address
    yield address.port
    call_centre.site.stop("hurried")


@pytest.fixture
def uncapped(call_centre):
    """Nothing but time limits the calls."""
    with sqlalchemy_engine(DatabaseConfig(call_centre.site.postgres.url(dbname=DATABASE))).begin() as connection:
        connection.exec_driver_sql("SELECT shield_api.set_caps(%s, NULL, NULL, NULL)", (SHOP.name,))
        connection.exec_driver_sql("UPDATE shield.logins SET mint_per_s = NULL WHERE role = 'worker'")


def test_ten_times_the_load_is_shed_and_what_is_taken_completes(call_centre, load, hurried, uncapped):
    """Every call completes with one record or is refused with 503 at once; none is stuck, and the next go well."""
    before = ended(call_centre)
    told = load.run(hurried, RATE, CALLS, "--hold-ms", "50", "--patience-ms", str(PATIENCE_MS))
    assert set(told["failures"]) == {"refused_503"}
    assert told["stuck"] == 0
    assert told["bridged"] == told["redeemed"] == told["completed"] > 0
    assert told["failures"]["refused_503"] == told["refusal"]["count"] == CALLS - told["completed"]
    assert told["refusal"]["max_ms"] < REFUSED_WITHIN_MS
    assert eventually(lambda: not call_centre.query(OPEN))
    now = ended(call_centre)
    assert now.pop("COMPLETED") == before.pop("COMPLETED", 0) + told["completed"]
    calmly = load.run(hurried, 20, 40, "--hold-ms", "50")
    assert (calmly["completed"], calmly["failed"]) == (40, 0)


def ended(call_centre):
    """Count the shop's records by state."""
    rows = call_centre.query("SELECT state, count(*) FROM dba.calls WHERE tenant = %s GROUP BY state", SHOP.name)
    return {row["state"]: row["count"] for row in rows}
