"""What a search leaves behind while it holds numbers: nothing in /proc, in temporary files or in the server's log."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fix_postgres import ShieldDatabase
from vault_lab import TENANT, VaultLab

from esl_shield.audit import known
from esl_shield.config.database import DatabaseConfig
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.db.upgrade import make_roles, upgrade

SETTINGS = {"log_statement": "all", "log_min_error_statement": "debug5", "log_min_duration_statement": "0"}
PLANTED = [f"+86138001380{at:02d}" for at in range(20)]
NEEDLES = {form: name for number in PLANTED for form, name in known.forms(number).items()}
# More than is read at once and than a pipe holds: when it is written, what is planted was read.
AFTER = b"a line of a log, 192.0.2.1:5060\n" * 100_000


@pytest.fixture
def talkative(tmp_path):
    """A server that logs all it is asked, and a scanner's login without the settings that would keep it from that."""
    with EmbeddedPostgres(settings=SETTINGS) as postgres:
        engine = sqlalchemy_engine(DatabaseConfig(postgres.url()))
        make_roles(engine)
        upgrade(engine)
        database = ShieldDatabase(postgres, "postgres")
        lab = VaultLab(database, tmp_path)
        yield lab
        lab.close()
        database.close()


def _shown(process: subprocess.Popen[bytes]) -> bytes:
    """Return what other users of the machine are shown of a process and its children."""
    processes = [process.pid, *map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for pid in processes for name in ("cmdline", "environ"))


@pytest.mark.slow
def test_nothing_a_search_leaves_behind_holds_a_number(talkative, tmp_path):
    """Numbers it found are not in its arguments or environment, in temporary files or in the server's log."""
    seeder = talkative.seeder()
    for number in PLANTED:
        seeder.add(number, None, None)
    login = talkative.database.login("scanner", tenants=[TENANT], lookups_per_s=1000)
    role = login.url.split("//")[1].split(":")[0]
    talkative.database.query(f"ALTER ROLE {role} RESET ALL")
    log = talkative.database.cluster.folder / "server.log"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        talkative.command("leakscan", "--quiet", "-", config=talkative.config(login)), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env={**talkative.environment(), "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write("\n".join(PLANTED).encode() + b"\n" + AFTER)
    process.stdin.flush()
    shown, files = _shown(process), known.scan_tree(temporary, NEEDLES)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, len(out.splitlines()), err) == (1, len(PLANTED), b"")
    assert b"leakscan" in shown
    assert known.scan_bytes(shown, NEEDLES) == []
    assert files == known.scan_tree(temporary, NEEDLES) == []
    logged = log.read_bytes()
    assert b"shield_api.find_leaks(" in logged
    assert b"shield_api.leakscan_filter(" in logged
    assert known.scan_bytes(logged, NEEDLES) == []
    # A number in a statement would be there to be found.
    connection = talkative.database.connect(login)
    connection.cursor().execute("SELECT %s", (PLANTED[0],))
    assert known.scan_bytes(log.read_bytes(), NEEDLES) != []
