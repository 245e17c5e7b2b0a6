"""The demo, as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_comes_out_as_it_says(cluster):
    """Every call of the demo ends as its kind must, and nothing written holds a number."""
    done = subprocess.run([sys.executable, "-m", "esl_shield", "demo"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (0, "demo: 200 calls, 150 bridged, 50 refused, 0 leaks"), done.stdout
