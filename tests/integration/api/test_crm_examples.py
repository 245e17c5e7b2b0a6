"""docs/crm.md: its examples run as they are printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from vault_lab import ROOT

BLOCKS = re.findall(
    r"^```(sh|python)\n(.*?)^```$", (ROOT / "docs" / "crm.md").read_text(), flags=re.DOTALL | re.MULTILINE
)
NUMBERS = ("2079460123", "2079460201", "2079460203")


@pytest.fixture(scope="module")
def printed(crm):
    """What all examples print, in the document's order; each must end well."""
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("curl is not installed")
    environment = os.environ | {"SHIELD": f"http://127.0.0.1:{crm.api.port}", "KEY": crm.key}
    crm.database.query("SELECT shield_api.set_dialling('acme', false, 'token', 1000)")
    said = []
    for language, text in BLOCKS:
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), text
        said.append(done.stdout)
    return said


def test_every_example_runs_and_shows_no_number(crm, printed):
    """Curl and Python say what the text says they do."""
    made, found, changed, batch, permission, click, dialled, blocked, calls, _export = printed
    token = re.search(r'"token": "([0-9]{14})"', made)[1]
    assert token in found
    assert '"status": "revoked"' in changed
    assert "2035-01-31T18:00:00+00:00" in changed
    assert re.fullmatch(r"C-2001 [0-9]{14}\nC-2002 number\.[a-z_]+\nC-2003 [0-9]{14}\n", batch)
    granted, listed = map(json.loads, permission.replace("}{", "}\n{").splitlines())
    assert (granted["ref"], granted["state"], listed["permissions"]) == ("TASK-812", "valid", [granted])
    assert (json.loads(click)["state"], json.loads(click)["ref"]) == ("ASKED", "TASK-812")
    assert dialled == "ASKED TASK-813 click.not_found\n"
    on, listed, off = map(json.loads, blocked.replace("}{", "}\n{").splitlines())
    assert (on["blocked"], on in listed["tokens"], off["blocked"]) == (True, True, False)
    of_alias, of_ref = map(json.loads, calls.replace("}{", "}\n{").splitlines())
    assert of_alias["calls"] == []
    assert {call["ref"] for call in of_ref["calls"]} <= {"TASK-812"}
    assert not any(number in text for text in printed for number in NUMBERS)
