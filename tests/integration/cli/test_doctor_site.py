"""`esl-shield doctor` over a running site: PostgreSQL, worker and resolver as they are set up by our own commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from fix_site import CallCentre

# What is said of a site on trial: gateways without a caller ID, and of root's worker that root reads every key.
KNOWN = {
    "worker": {"config.gateways": "warning"} | ({} if os.geteuid() else {"keys.readers": "unknown"}),
    "resolver": {"sealing.journal": "warning"},
    "admin": {},
}


def _doctor(config: Path, role: str) -> dict[str, tuple[str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "esl_shield", "--config", str(config), "doctor", "--role", role, "--format", "json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    found = map(json.loads, done.stdout.splitlines())
    return {line["check"]: (line["severity"], line["sentence"]) for line in found}


@pytest.mark.parametrize("role", KNOWN)
def test_each_roles_configuration_finds_a_well_site(call_centre: CallCentre, tmp_path: Path, role: str):
    """Each role's own file, with the ports the processes drew, finds nothing but what is known of a site on trial."""
    config = call_centre.site.config(role)
    if role == "resolver":
        address = call_centre.site._processes["resolver"].address
        (tmp_path / "resolver.toml").write_text(config.read_text().replace("127.0.0.1:0", str(address)))
        (tmp_path / "resolver.toml").chmod(0o600)
        config = tmp_path / "resolver.toml"
    found = _doctor(config, role)
    odd = {
        c: s
        for c, (s, sentence) in found.items()
        if s != "ok" and not sentence.startswith(("Not asked: ", "Nothing was")) and c != "sealing.lag"  # nobody seals
    }
    told = {c: s for c, (s, sentence) in found.items() if s == "unknown"}
    assert odd | told == KNOWN[role] | {"database.administrators": "info"}, found
    assert found["database.functions"][0] == found["time.database"][0] == "ok"
    if role == "resolver":
        assert found["processes.health"][0] == found["processes.refusal"][0] == found["keys.wraps"][0] == "ok"
