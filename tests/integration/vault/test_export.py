"""Exports: every alias and token of a tenant, never a number, in flat memory."""

import subprocess
import sys

import pytest

MOST_MB = 40
ROWS = 200_000


def test_export(vault):
    """Aliases and tokens come out as the import gave them, tokens without alias too, and nothing else."""
    vault.import_(vault.write("in.csv", "number,alias", ["13800138001,C-1", "13800138002,", "13800138001,C-9"]))
    done = vault.run("token", "export", "--tenant", "acme", "--output", str(vault.folder / "all.csv"))
    assert (done.returncode, done.stderr) == (0, "3 rows\n")
    exported = sorted((row["alias"], row["token"]) for row in vault.output("all.csv"))
    assert exported == sorted((row["alias"], row["token"]) for row in vault.output())
    assert (vault.folder / "all.csv").stat().st_mode & 0o777 == 0o600
    assert "138001380" not in (vault.folder / "all.csv").read_text()


def test_refusals(vault):
    """An unknown tenant, a login without the right and a folder as output are told, and nothing is written."""
    out = str(vault.folder / "all.csv")
    unknown = vault.run("token", "export", "--tenant", "nobody", "--output", out)
    assert (unknown.returncode, "[tenant.unknown]" in unknown.stderr) == (2, True)
    worker = vault.config(vault.database.login("worker"), keys=False)
    refused = vault.run("token", "export", "--tenant", "acme", "--output", out, config=worker)
    assert (refused.returncode, "[database.right_missing]" in refused.stderr) == (2, True)
    assert vault.run("token", "export", "--tenant", "acme", "--output", str(vault.folder)).returncode == 2
    assert list(vault.folder.glob("all*")) == []


@pytest.mark.slow
def test_flat_memory(vault):
    """An export of 200,000 tokens takes no more memory than one of none (server-side cursor)."""
    code = (
        "import resource, sys; from esl_shield.cli.main import main\n"
        "try: main()\nfinally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )

    def peak():
        arguments = ["token", "export", "--tenant", "acme", "--output", str(vault.folder / "all.csv"), "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", str(vault.config()), *arguments],
            capture_output=True, check=True, env=vault.environment(),
        )  # fmt: skip
        return int(done.stderr.split()[-1]) / 1024

    before = peak()
    vault.database.query(
        "INSERT INTO shield.tokens (tenant_id, token, ciphertext, key_version) SELECT id, '77' ||"
        f" lpad(g::text, 12, '0'), sha256('a') || sha256('b'), 1 FROM shield.tenants, generate_series(1, {ROWS}) g"
    )
    assert peak() - before < MOST_MB
    assert (vault.folder / "all.csv").read_bytes().count(b"\n") == ROWS + 1
