"""``esl-shield serve`` with a real sealer and housekeeper: events are sealed, months made, both leave in turn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from polling import until
from sealing_site import SealingSite
from supervised import serving

AHEAD = 15  # months; an upgrade makes twelve
PATIENCE_S = 60.0
SEALED = "SELECT coalesce(sum(octet_length(leaves)) / 32, 0) FROM shield.audit_blocks"
MONTHS = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'shield.audit_events'::regclass"


@pytest.fixture
def site(database, tmp_path):
    """A tenant whose events a sealer may seal, and the configurations of both keepers."""
    database.tenant("acme")
    site = SealingSite(database, tmp_path)
    key = tmp_path / "sealing.key"
    key.write_text(site.seed.hex() + "\n")
    key.chmod(0o400)
    sealing = f'[sealing]\nkey = "file:{key}"\nheads = "{site.heads_path}"\nevery_s = 0.05\n'
    retention = f"[retention]\nmonths_ahead = {AHEAD}\n"
    logins = {"sealer": (site.sealer_login, sealing), "housekeeper": (database.login("housekeeper"), retention)}
    for role, (login, more) in logins.items():
        path = tmp_path / f"{role}.toml"
        path.write_text(f'[database]\nurl = "{login.url}"\nconnect_timeout_s = 5\n{more}')
        path.chmod(0o600)
    return site


@pytest.fixture
def supervisor(site, tmp_path):
    """The supervisor over both, started."""
    with serving(tmp_path, "sealer 1 sealer.toml", "housekeeper 1 housekeeper.toml") as made:
        yield made


def test_a_supervised_sealer_and_housekeeper_do_their_work_and_leave(site, supervisor):
    """Events are sealed and months made under the supervisor; SIGTERM ends a sound chain and both, the sealer last."""
    before = site.sql(MONTHS)[0][0]
    children = supervisor.children()
    assert {Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2] for pid in children} == {b"sealer", b"3600"}
    site.write_events(20)
    ((written,),) = site.sql("SELECT count(*) FROM shield.audit_events")
    until(lambda: site.sql(SEALED)[0][0] >= written, "sealed events", within_s=PATIENCE_S)
    until(lambda: site.sql(MONTHS)[0][0] >= AHEAD + 2, f"more months than {before}", within_s=PATIENCE_S)
    site.write_events(5)
    assert supervisor.end() == 0, supervisor.log.read_text()
    left = re.findall(r"serve.child_left child=(\w+)-1 pid=[0-9]+ exit_code=([0-9]+)", supervisor.log.read_text())
    assert left == [("housekeeper", "0"), ("sealer", "0")]
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    site.seal()  # what came too late is the next sealer's, behind the same chain
    report = site.verify()
    assert (report.findings, report.events >= written + 5) == ([], True)
