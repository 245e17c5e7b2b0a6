"""After an erasure nothing of the number is left in any table: a dump of the whole database is searched."""

from __future__ import annotations

import os
import subprocess
import uuid

from leak_finder import Numbers, search
from sqlalchemy.engine import make_url

from esl_shield.audit import known
from esl_shield.db.binaries import find_binaries

OLD, NEW = "8613800138061", "8613800138062"
CASE = ("--tenant", "acme", "--case", "DSR-1", "--reason", "asked", "--yes")
ALIAS, LABEL, NAME = "CUST-canary-77", "canary of the label", "canary_label"


def _dump(vault):
    """Everything in the database, as a backup holds it."""
    url = make_url(vault.database.admin.url)
    command = [
        find_binaries() / "pg_dump", "--inserts", "-h", url.query["host"], "-U", url.username, "-d", url.database,
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "PGPASSWORD": url.password}, capture_output=True, check=True)
    return done.stdout


def _traces(vault, token):
    """What is kept of a token's number, as a dump spells it."""
    rows = vault.database.query(
        "SELECT encode(k.ciphertext, 'hex'), encode(n.number_index, 'hex') FROM shield.tokens k"
        " JOIN shield.number_refs n ON n.token = k.token WHERE k.token = %s", token,
    )  # fmt: skip
    assert len(rows) == 1
    return [text.encode() for text in (*rows[0], ALIAS, LABEL, NAME)]


def test_nothing_of_an_erased_number_is_left(vault):
    """A number that was imported, called, asked for, replaced and erased leaves its token, and nothing else."""
    source = vault.write("in.csv", f"number,alias,{NAME}", [f"+{OLD},{ALIAS},{LABEL}", "13800138069,other,"])
    assert vault.import_(source, "--label", NAME).returncode == 0
    token = vault.output()[0]["token"]
    worker = vault.database.open(vault.database.login("worker", tenants=["acme"]))
    assert worker.call("authorize_call", *_dialled(token)) == [("ALLOWED",)]
    vault.database.query(
        "INSERT INTO shield.reveals (id, tenant_id, kind, number_index, index_version, case_id, reason, state,"
        " requester, requester_person, requested_at, expires_at) SELECT gen_random_uuid(), n.tenant_id, 'calls',"
        " n.number_index, 1, 'K', 'r', 'REQUESTED', 'x', 'X Y', now(), now() + interval '15 minutes'"
        " FROM shield.number_refs n WHERE n.token = %s", token,
    )  # fmt: skip
    first = _traces(vault, token)
    before = _dump(vault)
    assert all(trace in before for trace in first)
    changed = vault.write("changed.csv", "number,alias", [f"+{NEW},{ALIAS}"])
    assert vault.import_(changed, "--replace").returncode == 0
    second = _traces(vault, token)
    replaced = _dump(vault)
    assert not any(trace in replaced for trace in first[:2])
    assert all(trace in replaced for trace in second)

    eraser = vault.config(vault.database.login("eraser", tenants=["acme"]))
    done = vault.run("token", "erase", "--alias", ALIAS, *CASE, config=eraser)
    assert done.returncode == 0, done.stderr
    after = _dump(vault)
    assert [trace for trace in (*first, *second) if trace in after] == []
    assert token.encode() in after
    needles = known.forms(f"+{OLD}", token) | known.forms(f"+{NEW}", token)
    assert known.scan_bytes(after, needles) == []
    assert known.scan_bytes((done.stdout + done.stderr).encode(), needles) == []
    file = vault.folder / "dump.sql"
    file.write_bytes(after)
    assert search(file, finder=Numbers(OLD, NEW)).found == []
    file.write_bytes(after + f"\n-- {OLD}\n".encode())
    assert search(file, finder=Numbers(OLD, NEW)).found
    vault.database.query("VACUUM FULL shield.tokens, shield.number_refs, shield.aliases")
    assert worker.call("authorize_call", *_dialled(token)) == [("NOT_FOUND",)]

    vault.run("token", "add", "--tenant", "acme", stdin=f"+{NEW}\n".encode())
    ((fresh,),) = vault.database.query("SELECT token FROM shield.tokens ORDER BY created_at DESC LIMIT 1")
    assert fresh != token
    assert vault.count("tokens") == 2


def _dialled(token):
    call = (str(uuid.uuid4()), "acme.example", "1001", token)
    return *call, None, None, b"y" * 32, "g", "edge", None, str(uuid.uuid4())
