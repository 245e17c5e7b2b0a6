"""The vault's benchmarks run, small, and print what they measure."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("vault_import.py", ["--rows", "3000", "--small", "2000"], ["rows/s", "max RSS", "pycryptodome: "]),
        ("vault_redeem.py", ["--permits", "200", "--rounds", "1"], ["200 permits over 32 connections", "median"]),
        (
            "vault_calls.py",
            ["--small", "100", "--big", "300", "--calls", "20", "--rounds", "1", "--plans"],
            ["ratio of interleaved rounds", " on tokens_", "Subplans Removed: 15"],
        ),
        (
            "vault_questions.py",
            ["--tokens", "2000", "--calls", "500", "--days", "2", "--rounds", "1", "--plans"],
            ["Who resolved what, today?", "How many tokens has each tenant", "audit_events_20"],
        ),
    ],
    ids=["import", "redeem", "calls", "questions"],
)
def test_smoke(name, arguments, told):
    """A benchmark of a few rows ends well and says on what machine and with which settings it was made."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    for words in (*told, "fsync=on", "machine", "median of 50"):
        assert words in done.stdout
    assert "138001" not in done.stdout
