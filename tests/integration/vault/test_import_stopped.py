"""Imports that run at the same time, are killed or interrupted: one token per number, nothing doubled or lost."""

import random
import signal
import subprocess
import time

import pytest

from esl_shield.vault import cipher
from esl_shield.vault.seedkeys import open_keys

_WAITING = (
    "FROM pg_stat_activity WHERE application_name LIKE '%seeding%' AND datname = current_database()"
    " AND wait_event_type = 'Lock'"
)


def _file(vault, name, first, count):
    return vault.write(name, "number,alias", [f"138{n:08d},C-{n}" for n in range(first, first + count)])


def _start(vault, file, out):
    command = vault.command("token", "import", str(file), "--tenant", "acme", "--output", str(vault.folder / out))
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=vault.folder, env=vault.environment(), stdin=pipe, stdout=pipe, stderr=pipe)


def _check(vault, out, first, count):
    """Each row of the output is its number's only token, and the ciphertext behind it opens to that number."""
    rows = vault.output(out)
    assert [row["alias"] for row in rows] == [f"C-{n}" for n in range(first, first + count)]
    seeder = vault.seeder()
    keys = open_keys(vault.kek, seeder.tenant)
    kept = {token: bytes(blob) for token, blob in vault.database.query("SELECT token, ciphertext FROM shield.tokens")}
    for row in rows:
        number = cipher.decrypt(keys.data, kept[row["token"]], seeder.tenant.id, row["token"], 1)
        assert number.reveal() == f"+86138{int(row['alias'][2:]):08d}"


@pytest.mark.slow
def test_overlapping_imports(vault):
    """Imports of overlapping files at the same time give each number one token, and all outputs agree."""
    files = [(_file(vault, f"in{at}.csv", at * 2000, 10_000), f"out{at}.csv", at * 2000) for at in range(3)]
    running = [_start(vault, file, out) for file, out, _ in files]
    for process in running:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    tokens = {}
    for _, out, first in files:
        _check(vault, out, first, 10_000)
        for row in vault.output(out):
            assert tokens.setdefault(row["alias"], row["token"]) == row["token"]
    assert len(tokens) == 14_000
    assert vault.imported() == {14_000}


@pytest.mark.slow
def test_killed_at_any_moment(vault):
    """An import killed again and again, then run to its end, doubles and loses nothing; its output appears once."""
    file = _file(vault, "in.csv", 0, 24_000)
    out = vault.folder / "out.csv"
    chance = random.Random(4711)  # noqa: S311 - any moments will do
    for _ in range(6):
        process = _start(vault, file, "out.csv")
        before = vault.count("tokens")
        deadline = time.monotonic() + 60
        while vault.count("tokens") == before < 24_000 and process.poll() is None and time.monotonic() < deadline:
            pass  # each look is a round trip, so this neither spins nor waits longer than the import needs
        with_delay = time.monotonic() + chance.random() * 0.5
        while time.monotonic() < with_delay and process.poll() is None:
            vault.count("tokens")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if out.exists():  # the import was complete; the next run starts with everything in the database
            _check(vault, "out.csv", 0, 24_000)
            out.unlink()
        assert len(vault.imported()) == 1
    done = vault.import_(file)
    assert done.returncode == 0, done.stderr
    _check(vault, "out.csv", 0, 24_000)
    assert vault.count("tokens") == 24_000
    assert not (vault.folder / "out.csv.partial").exists()


def test_killed_before_the_rename(vault):
    """An import killed with every row in, before its output had its name, gives that output the next time."""
    file = _file(vault, "in.csv", 0, 10)
    code = (
        "import os, signal; from esl_shield.vault.csvfile import Output;"
        "Output.commit = lambda self: os.kill(os.getpid(), signal.SIGKILL);"
        "from esl_shield.cli.main import main; main()"
    )
    command = vault.command("token", "import", str(file), "--tenant", "acme", "--output", "out.csv")
    killed = subprocess.run(
        [command[0], "-c", code, *command[3:]],
        cwd=vault.folder,
        env=vault.environment(),
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL
    assert vault.count("tokens") == 10
    assert not (vault.folder / "out.csv").exists()
    assert vault.import_(file).returncode == 0
    _check(vault, "out.csv", 0, 10)


def test_interrupted(vault):
    """Ctrl-C ends an import with 130 and no output; what is in the database is whole, and the next run completes it."""
    file = _file(vault, "in.csv", 0, 60_000)
    process = _start(vault, file, "out.csv")
    while vault.count("tokens") == 0 and process.poll() is None:
        pass  # each look is a round trip
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert list(vault.folder.glob("out*")) == []
    (count,) = vault.imported()
    assert 0 < count < 60_000
    assert count % 1000 == 0


@pytest.mark.slow
def test_two_imports_of_one_output(vault):
    """Two imports that would write the same output: one does, the other is told so, and the output is whole."""
    files = [_file(vault, f"in{at}.csv", at * 3000, 3000) for at in range(2)]
    running = [_start(vault, file, "out.csv") for file in files]
    errors = [process.communicate(timeout=100)[1] for process in running]
    codes = [process.returncode for process in running]
    assert sorted(codes) in ([0, 2], [0, 0])
    if 2 in codes:
        assert b"import.bad_output" in errors[codes.index(2)]
        first = codes.index(0) * 3000
        _check(vault, "out.csv", first, 3000)


def test_database_dies(vault):
    """When the database ends the session in the middle of an import it ends with 3, and the next run completes it."""
    file = _file(vault, "in.csv", 0, 8000)
    process = _start(vault, file, "out.csv")
    blocker = vault.database.connect()
    blocker.autocommit = False
    with blocker.cursor() as cursor:
        cursor.execute("SELECT FROM shield.token_space FOR UPDATE")
        while not vault.database.query(f"SELECT pg_terminate_backend(pid) {_WAITING}") and process.poll() is None:
            pass  # each look is a round trip
    blocker.rollback()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert b"[database.away]" in errors
    assert list(vault.folder.glob("out*")) == []
    assert vault.import_(file).returncode == 0
    _check(vault, "out.csv", 0, 8000)
    assert vault.count("tokens") == 8000
