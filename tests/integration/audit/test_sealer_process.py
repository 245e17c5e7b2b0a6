"""The sealer as a process, and the commands an operator and an auditor run."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from polling import until

from esl_shield import config as configuration
from esl_shield.audit.heads import read_heads
from esl_shield.service.sealer import WELL_WITHIN_S, SealerService
from esl_shield.service.sitemetrics import SealerMetrics

READY_S = 60


class Process:
    """``esl-shield sealer`` running; what it wrote is in ``lines``."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "esl_shield", "--config", str(config), "sealer", *arguments],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("sealer ready on "):
                self.ready.set()
        self.ready.set()

    def wait_ready(self) -> str:
        assert self.ready.wait(READY_S)
        return next(line for line in self.lines if "ready on" in line).split()[-1]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.reader.join(5)
        self.process.stderr.close()
        return code


@pytest.fixture
def cli(site):
    """Run a command with the configuration of a role."""
    key = site.folder / "sealing.key"
    key.write_text(site.seed.hex() + "\n")
    key.chmod(0o400)
    urls = {"sealer": site.sealer_login.url, "auditor": site.auditor_login.url}

    def config(role: str, more: str = "") -> Path:
        path = site.folder / f"{role}.toml"
        sealing = f'[sealing]\nkey = "file:{key}"\nheads = "{site.heads_path}"\nevery_s = 0.05\n{more}\n'
        metrics = '[metrics]\nlisten = "127.0.0.1:0"\n'
        database = f'[database]\nurl = "{urls[role]}"\nconnect_timeout_s = 5\n'
        path.write_text(database + (sealing + metrics if role == "sealer" else ""))
        path.chmod(0o600)
        return path

    def run(role: str | None, *arguments: str) -> subprocess.CompletedProcess:
        options = ("--config", str(config(role))) if role else ()
        return subprocess.run(
            [sys.executable, "-m", "esl_shield", *options, *arguments], capture_output=True, text=True, check=False
        )

    run.config = config
    run.key = key
    return run


def all_sealed(site):
    """Whether every event is in a block whose head is exported."""
    waiting, blocks = site.sql("SELECT waiting, blocks FROM dba.sealing")[0]
    heads = list(read_heads(str(site.heads_path))) if site.heads_path.exists() else []
    return waiting == 0 and blocks and heads and heads[-1].block.number == blocks


def test_a_killed_sealer_is_followed_by_one_that_goes_on(site, cli):
    """Killed again and again under load, it leaves a chain that its successor continues, without a gap."""
    site.sealer._database.close()
    stop = threading.Event()

    def write():
        connection = site.database.connect()
        while not stop.wait(0.002):
            connection.cursor().execute("INSERT INTO shield.audit_events (kind) VALUES ('call.authorized')")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(3):
            sealer = Process(cli.config("sealer"))
            sealer.wait_ready()
            before = site.sql("SELECT count(*) FROM shield.audit_blocks")[0][0]
            until(lambda b=before, t=turn: site.sql("SELECT count(*) FROM shield.audit_blocks")[0][0] > b + t, "blocks")
            sealer.end(signal.SIGKILL)
    finally:
        stop.set()
        writer.join()
    last = Process(cli.config("sealer"))
    last.wait_ready()
    until(lambda: all_sealed(site), "all sealed", within_s=30)
    assert last.end() == 0
    report = site.verify()
    assert (report.findings, report.events) == ([], site.sql("SELECT count(*) FROM shield.audit_events")[0][0])


def test_a_stand_by_takes_over(site, cli):
    """Of two sealers one seals; when it dies the other goes on, and each says on its page which it is."""
    site.sealer._database.close()
    first, address = Process(cli.config("sealer")), ""
    address = first.wait_ready()
    second = Process(cli.config("sealer"))
    other = second.wait_ready()
    assert "esl_shield_sealer_active 1.0" in _page(address)
    assert "esl_shield_sealer_active 0.0" in _page(other)
    first.end(signal.SIGKILL)
    site.write_events(2)
    until(lambda: all_sealed(site), "all sealed", within_s=30)
    until(lambda: "esl_shield_sealer_active 1.0" in _page(other), "the other goes on")
    until(lambda: 'esl_shield_site_permits{state="live"} 0.0' in _page(other), "figures of the site", within_s=60)
    parts = json.loads(_page(other, "readyz"))["parts"]
    assert parts == {"sealing": "ok", "heads": "ok", "lag": "ok"}
    page = _page(other)
    assert "esl_shield_sealer_lag_seconds" in page
    assert 'esl_shield_sealer_unexported_heads{to="file"} 0.0' in page
    assert second.end() == 0
    assert site.verify().findings == []


def test_heads_are_sent_until_they_are_taken(site, cli):
    """An address that refuses for a while gets every head in the end, in order, each time with the secret."""
    site.sealer._database.close()
    secret = site.folder / "heads.secret"
    secret.write_text("swordfish-" * 4 + "\n")
    secret.chmod(0o400)
    taken, sent_with, refusals = [], [], iter([503, 500])

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent_with.append(self.headers["Authorization"])
            status = next(refusals, 200)
            if status == 200:
                taken.extend(json.loads(json.loads(line)["header"])["block"] for line in body.splitlines())
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'heads_url = "http://127.0.0.1:{server.server_port}/heads"\nheads_secret = "file:{secret}"'
        sealer = Process(cli.config("sealer", url))
        sealer.wait_ready()
        for _ in range(3):
            site.write_events(1)
            until(lambda: all_sealed(site), "all sealed", within_s=30)
        blocks = site.sql("SELECT max(number) FROM shield.audit_blocks")[0][0]
        until(lambda: taken == list(range(1, blocks + 1)), "every head", within_s=30)
        assert sealer.end() == 0
        server.shutdown()
    assert len(sent_with) > 2
    assert set(sent_with) == {"Bearer " + "swordfish-" * 4}
    assert "swordfish" not in "".join(sealer.lines)


def test_the_lag_moves_with_what_waits(site, cli):
    """What ends while an older transaction is open waits: its age is the lag, which grows until it is sealed."""
    site.sealer._database.close()
    sealer = Process(cli.config("sealer"))
    address = sealer.wait_ready()
    until(lambda: _figures(address) == (0, 0, 0), "nothing waits", within_s=30)
    holder = site.database.connect()
    holder.autocommit = False
    holder.cursor().execute("SELECT pg_current_xact_id()")
    site.write_events(3)
    lag_s, waiting, held = until(lambda: (f := _figures(address))[1] == 3 and f, "three wait", within_s=30)
    ((oldest_s,),) = site.sql("SELECT lag_s FROM dba.sealing")
    assert 0 < lag_s <= oldest_s
    assert held == waiting
    until(lambda: _figures(address)[0] > oldest_s, "the lag grows", within_s=30)
    holder.rollback()
    until(lambda: _figures(address) == (0, 0, 0), "all are sealed", within_s=30)
    assert sealer.end() == 0


def test_the_commands_of_an_auditor(site, cli):
    """init-key, verify, export and the check of an export work together; tampering is exit code 1."""
    site.write_events(3)
    site.seal()
    made = cli("sealer", "audit", "init-key")
    assert (made.returncode, made.stdout.strip()) == (0, site.signer.public.hex), made.stderr
    assert oct(cli.key.stat().st_mode & 0o777) == "0o400"
    trust = ("--from-head", str(site.heads_path), "--public-key", str(site.public_key))
    proved = cli("auditor", "audit", "verify", *trust)
    assert (proved.returncode, "all as sealed" in proved.stdout) == (0, True), proved.stderr
    call = str(site.sql("SELECT call FROM shield.audit_events WHERE call IS NOT NULL LIMIT 1")[0][0])
    exported = cli("auditor", "audit", "export", "--call", call)
    assert (exported.returncode, exported.stdout.count("\n")) == (0, 1), exported.stderr
    file = site.folder / "proofs.ndjson"
    file.write_text(exported.stdout)
    offline = ("audit", "verify", "--offline", str(file), "--public-key", str(site.public_key))
    assert cli(None, *offline).stdout == "1 events: all proved\n"
    file.write_text(exported.stdout.replace("agent ", "agenT "))
    assert cli(None, *offline).returncode == 1
    site.sql("UPDATE shield.audit_events SET agent = 'x' WHERE call = %s", call)
    found = cli("auditor", "audit", "verify", *trust, "--format", "json")
    assert found.returncode == 1
    assert json.loads(found.stdout.splitlines()[0])["kind"] == "edited"
    assert cli("auditor", "audit", "export", "--call", call).returncode == 1
    assert "audit.trust_missing" in cli("auditor", "audit", "verify").stderr
    file.write_text("no proof\n")
    refused = cli(None, *offline)
    assert (refused.returncode, "audit.evidence_unreadable" in refused.stderr) == (2, True)


def test_a_look_that_hangs_is_behind(site, cli):
    """A database that holds a look up for longer than seals may lag makes the sealer unready, before it answers."""
    config = configuration.load(cli.config("sealer"))
    sealer = SealerService.from_config(config, SealerMetrics())
    ok = {"sealing": "ok", "heads": "ok", "lag": "ok"}
    assert sealer._parts() == ok
    sealer._looked_at -= WELL_WITHIN_S + 1
    assert sealer._parts() == ok | {"lag": "behind"}
    sealer.stop(0)


def test_a_login_of_some_tenants_cannot_prove_blocks_of_all(site):
    """An auditor limited to a tenant is told so, instead of proving half."""
    from esl_shield.errors.sealing import ViewIncomplete  # noqa: PLC0415

    site.seal()
    site.auditor_login = site.database.login("auditor", ["acme"])
    with pytest.raises(ViewIncomplete):
        site.verify()


def _page(address: str, page: str = "metrics") -> str:
    with urllib.request.urlopen(f"http://{address}/{page}", timeout=10) as response:
        return response.read().decode()


def _figures(address: str) -> tuple[float, float, float]:
    """The lag in seconds, how many events wait, and how many of them for an open transaction."""
    page = _page(address)

    def figure(name: str) -> float:
        return float(re.search(rf"^esl_shield_sealer_{name} (\S+)$", page, re.MULTILINE)[1])

    return figure("lag_seconds"), figure("waiting_events"), figure("held_events")
