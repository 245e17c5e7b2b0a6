"""The canary's configuration on the lab's site, and its commands run as a security officer runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import AGENT_PASSWORD, DOMAIN, ESL_PASSWORD
from shield import TENANT
from sipp import HOST

from esl_shield.audit import reports

if TYPE_CHECKING:
    from shield import Shield
    from stage import Stage

USER = "1001"
_ROOT = Path(__file__).resolve().parents[2]


class CanarySite:
    """``leakscan`` and ``doctor`` with a canary's configuration."""

    def __init__(self, shield: Shield, stage: Stage, *, more: str = "", talk_s: float = 1.0) -> None:
        self.folder = shield.folder / "canary"
        self.folder.mkdir()
        database, ports = shield.database, stage.ports
        scanner = database.login("scanner", lookups_per_s=1000)
        canary = database.login("canary", [TENANT])
        self.write("phone", AGENT_PASSWORD.format(user=USER))
        self.write("esl", ESL_PASSWORD)
        reports.make_keys(str(self.folder / "report.key"))
        self.config = self.folder / "canary.toml"
        self.config.write_text(
            f'[database]\nurl = "{scanner.url}"\n[keys]\nkek = "file:{shield.folder}/kek"\n'
            f'[freeswitch]\naddress = "{HOST}:{ports.esl}"\npassword = "file:{self.folder}/esl"\n'
            f'[canary]\ntenant = "{TENANT}"\ndomain = "{DOMAIN}"\nagent = "{USER}"\n'
            f'password = "file:{self.folder}/phone"\nswitch = "{HOST}:{ports.agents}"\n'
            f'signing_key = "file:{self.folder}/report.key"\ntalk_s = {talk_s}\nrecord_s = 8\nquiet_s = 0.5\n'
            f'settle_s = 10\n[canary.database]\nurl = "{canary.url}"\n{more}'
        )
        self.config.chmod(0o600)

    def write(self, name: str, content: str) -> Path:
        """Write a secret's file."""
        path = self.folder / name
        path.write_text(content + "\n")
        path.chmod(0o400)
        return path

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-m", "esl_shield", "--config", str(self.config), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=100, cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )  # fmt: skip

    def prove(self, *arguments: str, stdin: str = "") -> tuple[int, dict[str, Any], str]:
        """Run ``leakscan --canary`` and verify its report: exit code, report, and what it printed besides."""
        done = self.run("leakscan", "--canary", *arguments, stdin=stdin)
        assert done.stdout, done.stderr
        path = self.folder / "report.json"
        path.write_text(done.stdout)
        report = reports.verify(str(path), reports.public_key(str(self.folder / "report.key.pub")))
        assert json.loads(done.stdout)["report"] == report
        return done.returncode, report, done.stdout + done.stderr
