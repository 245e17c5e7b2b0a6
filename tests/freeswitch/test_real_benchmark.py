"""The end-to-end benchmark runs, small, and its table says what each way to the carrier did."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = Path(__file__).parents[2] / "benchmarks" / "switch.py"


@pytest.mark.timeout(200)  # its own PostgreSQL, FreeSWITCH, edge, workers and calls
def test_smoke():
    """Each way is told, whatever rate a busy machine holds; shielded calls are recorded, no number is shown."""
    small = ["--rates", "4", "--rounds", "1", "--seconds", "2", "--tokens", "200"]
    done = subprocess.run(
        [sys.executable, str(SWITCH), *small], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0 or "did not hold" in done.stderr, done.stdout + done.stderr
    ways = ["static", "direct", *(["edge"] if shutil.which("kamailio") else [])]
    for way in ways:
        assert re.search(rf"^\| {way} \| 4 \| [0-9.]+ \| [0-9.]+ \| [0-8] \| 8 \|", done.stdout, re.MULTILINE), (
            done.stdout
        )
        assert re.search(rf"^{way}: holds [04] calls/s", done.stdout, re.MULTILINE), done.stdout
    recorded = re.search(r"^recorded .*'COMPLETED': (\d+)", done.stdout, re.MULTILINE)
    assert recorded, done.stdout
    assert 0 < int(recorded[1]) <= 16 * (len(ways) - 1)  # those before the first round too
    assert "fsync=on" in done.stdout
    assert not re.search(r"138\d{8}", done.stdout + done.stderr)
