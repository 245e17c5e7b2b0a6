"""The KEK moved from a file into a PKCS#11 device (SoftHSM2) and back by the command line; a resolver on each side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from resolver_process import NUMBERS

DEVICE = "[keys.device]\ntimeout_s = 1.0\nopen_timeout_s = 20.0\n"


@pytest.fixture
def keys(database, tmp_path):
    """Run a command of keys as the administrator, with a KEK and an earlier one; it must succeed."""

    def run(command: str, kek: str, previous: str) -> str:
        path = tmp_path / "admin.toml"
        section = f'[keys]\nkek = "{kek}"\nprevious = ["{previous}"]\n{DEVICE}'
        path.write_text(f'[database]\nurl = "{database.admin.url}"\n{section}')
        path.chmod(0o600)
        done = subprocess.run(
            [sys.executable, "-m", "esl_shield", "--config", str(path), "keys", command], capture_output=True,
            text=True, timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_kek_moves_into_a_device_and_back(start_resolver, vault, hsm, keys, tmp_path):
    """Init and rewrap in both directions; before, between and after, a resolver that knows the KEKs has the number."""

    def works(kek, previous=None) -> bool:
        resolver = start_resolver(kek=kek, previous=previous, resolver=DEVICE)
        well = resolver.get("/healthz").status == 200
        return well and resolver.edge(vault.permit()).body == NUMBERS["mobile"]

    inside, old, new = hsm.uri(direct=True), f"file:{vault.kek_file}", f"file:{tmp_path}/kek-2"
    assert keys("init", inside, old).startswith("created KEK ")
    assert works(inside, old)
    assert len(keys("rewrap", inside, old).splitlines()) == 2
    assert works(inside)
    assert keys("init", new, inside).startswith("created KEK ")
    assert works(new, inside)
    assert len(keys("rewrap", new, inside).splitlines()) == 2
    assert works(new)
