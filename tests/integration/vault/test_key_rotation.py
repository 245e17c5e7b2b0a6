"""Data keys rotated and rows re-encrypted: new rows at once, old ones in the background, nothing lost on the way."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
from contextlib import closing

import pytest
from key_lab import Between, Running, lab, rows

from esl_shield.errors.database import DatabaseAway
from esl_shield.errors.keys import KeyKept, KeysChanged, RowsLeft
from esl_shield.errors.tenants import TenantUnknown
from esl_shield.resolver.rekeying import MAX_BATCH, Rate
from esl_shield.vault import cipher, keylife
from esl_shield.vault.numbers import SubscriberNumber

__all__ = ["lab"]


def test_a_data_keys_life_by_the_command_line(lab):
    """Rotated, re-encrypted, destroyed: every number stays readable, and in the end the older key is a tombstone."""
    admin, rekeyer = lab.config("admin"), lab.config("rekeyer")
    lab.seed(0, 700)
    before = lab.numbers()
    run = lab.vault.run
    destroy = ("keys", "destroy", "--tenant", "acme", "--version", "1", "--backups", "gone")
    done = run("keys", "rotate", "--tenant", "acme", config=admin)
    assert (done.returncode, done.stdout) == (0, "tenant acme writes under data key version 2\n"), done.stderr
    lab.seed(600, 200)
    assert lab.versions() == {1, 2}
    refused = run(*destroy, "--yes", config=admin)
    assert (refused.returncode, "700 rows depend on it" in refused.stderr) == (1, True), refused.stderr
    done = run("keys", "reencrypt", "--rate", "0", "--format", "json", config=rekeyer)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"tenant": "acme", "work": "reencrypt", "version": 2, "changed": 700, "left": 0}
    assert lab.versions() == {2}
    assert before.items() <= lab.numbers().items()
    lab.let_calls_end()
    refused = run(*destroy, config=admin, stdin=b"acme/data/2\n")
    assert (refused.returncode, lab.key("data", 1) is None) == (130, False)
    done = run(*destroy, config=admin, stdin=b"acme/data/1\n")
    assert done.returncode == 0, done.stderr
    listed = run("keys", "list", "--rows", "--format", "json", config=admin)
    states = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [(key["purpose"], key["version"], key["state"], key["rows"]) for key in states] == [
        ("data", 1, "destroyed", 0), ("data", 2, "newest", 800), ("index", 1, "newest", 800),
    ]  # fmt: skip
    assert "138" not in refused.stderr + done.stderr + done.stdout


@pytest.mark.parametrize("work", ["reencrypt", "reindex"])
def test_bar(lab, work):
    """At a terminal a bar moves with the rows done, their rate and the time left; --quiet shows none."""
    lab.seed(0, 600)
    config = lab.config("rekeyer")
    lab.rotate("data" if work == "reencrypt" else "index")
    code, shown = lab.vault.run_at_a_terminal("keys", work, "--rate", "1000", config=config)
    assert code == 0, shown
    assert re.search(rb"\r0 rows +0%\|.*\| \[00:00<", shown)
    moved = re.findall(rb"\r(\d+) rows, \d+ rows/s +(\d+)%\|.*?\| \[\d+:\d+<\d+:\d+", shown)
    assert moved
    for done, percent in moved:
        assert 0 < int(done) <= 600
        assert percent.decode() == f"{int(done) / 6:.0f}"
    again = ("--again", "--rate", "0", "--quiet")
    assert lab.vault.run_at_a_terminal("keys", work, *again, config=config) == (0, b"")


def test_a_running_seeder_writes_under_the_new_key_at_once(lab):
    """Rows prepared before a rotation are made anew: none is written under the older key after it."""
    seeder = lab.vault.seeder()
    lab.seed(0, 3, seeder)
    prepared = seeder.prepare(rows(range(3, 6)))
    lab.rotate()
    assert all(outcome.created for outcome in seeder.seed(prepared))
    lab.seed(6, 3, seeder)
    found = lab.database.query("SELECT key_version, count(*) FROM shield.tokens GROUP BY 1 ORDER BY 1")
    assert found == [(1, 3), (2, 6)]
    assert sorted(lab.numbers().values()) == [f"+86138{number:08d}" for number in range(9)]


def test_a_rotation_waits_for_the_batch_in_flight(lab):
    """A batch that holds the older key ends before the rotation does; the next one is told that its keys are old."""
    store = lab.vault.seeder()._store
    tenant_id, blob = lab.tenant_id, "ab" * 50
    row = json.dumps([{"ord": 0, "index": "cd" * 32, "token": "77000000000017", "ciphertext": blob, "labels": {}}])
    with closing(lab.database.connect()) as batch, batch.cursor() as cursor:
        batch.autocommit = False
        cursor.execute("SELECT * FROM shield_api.seed_tokens(%s, 1, 1, %s)", (tenant_id, row))
        rotating = Running(lab.rotate)
        lab.until_waiting("esl-shield")
        assert lab.one("SELECT max(version) FROM shield.data_keys WHERE purpose = 'data'") == 1
        batch.commit()
    assert rotating.done().version == 2
    with pytest.raises(Exception, match="ES004"):
        store._database.call("seed_tokens", tenant_id, 1, 1, json.loads(row))


def test_two_rotations_at_once_make_two_versions(lab):
    """Administrators who rotate at the same time both do, each a version of its own."""
    (key,) = keylife.newest_keys(lab.database.admin, "data", "acme")
    running = [Running(lambda: keylife.rotate(lab.database.admin, lab.keks, key)) for _ in range(3)]
    assert sorted(thread.done().version for thread in running) == [2, 3, 4]


def test_a_concurrent_change_wins(lab):
    """A number that somebody changes between the job's reading and its writing stays as they made it."""
    lab.seed(0, 5)
    lab.rotate()
    token = lab.one("SELECT min(token) FROM shield.tokens")
    replaced = cipher.encrypt(lab.key("data", 2), SubscriberNumber("+8613900000000"), lab.tenant_id, token, 2)

    def replace():
        lab.database.query(
            "UPDATE shield.tokens SET ciphertext = %s, key_version = 2 WHERE token = %s", replaced, token
        )

    assert lab.do(database=Between(lab.opened(), "reencrypt_tokens", replace)).changed == 4
    assert lab.numbers()[token] == "+8613900000000"
    assert lab.versions() == {2}
    events = lab.database.query("SELECT detail FROM shield.audit_events WHERE kind = 'tokens.reencrypted' ORDER BY id")
    assert [event for (event,) in events] == [
        {"before": [1], "version": 2, "asked": 5, "changed": 4, "changed_meanwhile": 1}
    ]


def test_a_locked_row_is_waited_for(lab):
    """A token somebody is changing is re-encrypted once they are done, and keeps what they changed."""
    lab.seed(0, 5)
    lab.rotate()
    token = lab.one("SELECT max(token) FROM shield.tokens")
    with closing(lab.database.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("UPDATE shield.tokens SET status = 'revoked' WHERE token = %s", (token,))
        job = Running(lab.do)
        lab.until_waiting("tests")
        other.commit()
    assert job.done().changed == 5
    assert lab.database.query("SELECT status, key_version FROM shield.tokens WHERE token = %s", token) == [
        ("revoked", 2)
    ]
    assert len(lab.numbers()) == 5


def test_what_cannot_be_decrypted_is_left_and_told(lab):
    """A damaged row stays, the others are done, and the job is not over until it is mended."""
    lab.seed(0, 4)
    lab.rotate()
    token, blob = lab.database.query("SELECT token, ciphertext FROM shield.tokens ORDER BY token OFFSET 1 LIMIT 1")[0]
    lab.database.query("UPDATE shield.tokens SET ciphertext = %s WHERE token = %s", bytes(blob)[:-1] + b"\0", token)
    with pytest.raises(RowsLeft, match=token):
        lab.do()
    assert lab.database.query("SELECT token FROM shield.tokens WHERE key_version = 1") == [(token,)]
    assert lab.one("SELECT finished_at FROM shield.rekeyings") is None
    lab.let_calls_end()
    with pytest.raises(KeyKept, match="1 rows depend"):
        keylife.destroy(lab.database.admin, keylife.find_key(lab.database.admin, "acme", "data", 1), "gone")
    lab.database.query("UPDATE shield.tokens SET ciphertext = %s WHERE token = %s", bytes(blob), token)
    assert lab.do().changed == 1
    assert len(lab.numbers()) == 4


def test_a_job_that_is_rotated_past_goes_on_with_the_newer_key(lab):
    """A rotation in the middle of a job ends it without a row under the wrong version."""
    lab.seed(0, 5)
    lab.rotate()
    with pytest.raises(KeysChanged):
        lab.do(database=Between(lab.opened(), "reencrypt_tokens", lab.rotate))
    assert lab.versions() == {1}
    assert lab.do().version == 3
    assert lab.versions() == {3}
    assert len(lab.numbers()) == 5


@pytest.mark.slow
def test_a_job_killed_at_any_place_goes_on_there(lab):
    """Kill -9 leaves whole batches and the place reached; the next does the rest. Slow: kills processes."""
    lab.seed(0, 3 * MAX_BATCH)
    before = lab.numbers()
    lab.rotate()
    command = lab.vault.command("keys", "reencrypt", "--rate", "600", config=lab.config("rekeyer"))
    process = subprocess.Popen(
        command, env=lab.vault.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=lab.vault.folder
    )
    while not lab.one("SELECT changed FROM shield.rekeyings") and process.poll() is None:
        pass  # each look is a round trip
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done, place = lab.database.query("SELECT changed, after_token FROM shield.rekeyings")[0]
    assert 0 < done < 3 * MAX_BATCH
    assert lab.one("SELECT count(*) FROM shield.tokens WHERE key_version = 2") == done
    assert lab.one("SELECT max(token) FROM shield.tokens WHERE key_version = 2") == place
    last = lab.do()
    assert (last.seen, last.changed) == (3 * MAX_BATCH - done,) * 2
    assert lab.numbers() == before
    assert lab.versions() == {2}
    assert lab.do() is None


def test_the_rekeyers_login_reads_only_what_is_to_be_done(lab):
    """Ciphertexts under the newest key are shown to no job, and nothing at all of a tenant the login does not see."""
    lab.seed(0, 3)
    rekeyer = lab.opened()
    for work in ("reencrypt", "reindex"):
        assert [row[1] for row in rekeyer.call("rekey_page", lab.tenant_id, work, "", 10)] == [None] * 3
    lab.rotate()
    lab.seed(3, 1)
    shown = [row[1] is not None for row in rekeyer.call("rekey_page", lab.tenant_id, "reencrypt", "", 10)]
    assert sorted(shown) == [False, True, True, True]
    assert lab.one("SELECT detail ->> 'ciphertexts' FROM shield.audit_events WHERE kind = 'rekeying.read'") == "3"
    other = lab.database.open(lab.database.login("rekeyer", tenants=[]))
    assert other.call("rekey_page", lab.tenant_id, "reencrypt", "", 10) == []
    with pytest.raises(TenantUnknown):
        lab.job(database=other).due("acme")


@pytest.mark.parametrize(
    ("purpose", "prepare", "why"),
    [
        ("data", (), "the newest"),
        ("data", ("rotate",), "2 rows depend on it"),
        ("data", ("rotate", "reencrypt"), "may still be under way; try again in 1"),
        ("index", (), "the newest"),
        ("index", ("rotate",), "keys retire first"),
        ("index", ("rotate", "reindex", "retire"), "2 rows depend on it; run esl-shield keys retire first"),
    ],
)
def test_a_key_that_is_needed_is_kept(lab, purpose: str, prepare: tuple[str, ...], why: str):
    """Destroying is refused while rows, look-ups or calls under way depend on the key; nothing is changed."""
    lab.seed(0, 2)
    key = keylife.find_key(lab.database.admin, "acme", purpose, 1)
    for step in prepare:
        if step == "rotate":
            lab.rotate(purpose)
        elif step == "retire":
            keylife.retire(lab.database.admin, key)
        else:
            lab.do(step)
    with pytest.raises(KeyKept, match=why):
        keylife.destroy(lab.database.admin, key, "gone")
    lab.key(purpose, 1)
    if prepare:
        assert (
            lab.one("SELECT detail ->> 'backups' FROM shield.audit_events WHERE kind = 'key.destroy_refused'") == "gone"
        )


def test_a_destroyed_key_leaves_a_tombstone(lab):
    """The wrapped key is gone, its row says since when and the trail what was said of backups; again is nothing."""
    lab.seed(0, 2)
    lab.rotate()
    lab.do()
    lab.let_calls_end()
    key = keylife.find_key(lab.database.admin, "acme", "data", 1)
    for _ in range(2):
        keylife.destroy(lab.database.admin, key, "abandoned")
    statement = "SELECT wrapped, destroyed_at IS NOT NULL FROM shield.data_keys WHERE purpose = 'data' AND version = 1"
    assert lab.database.query(statement) == [(None, True)]
    (detail,) = lab.database.query("SELECT detail FROM shield.audit_events WHERE kind = 'key.destroyed'")[0]
    assert (detail["version"], detail["backups"], detail["kek_id"]) == (1, "abandoned", lab.keks.id)
    resolver = lab.database.open(lab.database.login("resolver", tenants=["acme"]))
    assert resolver.call("tenant_data_key", lab.tenant_id, 1) == [(None, lab.keks.id)]
    assert resolver.call("kek_ids") == [(lab.keks.id,)]
    assert lab.do() is None


def test_a_job_waits_for_a_database_that_comes_back(lab):
    """A short absence is waited for; a longer one ends the job as away, and it goes on later."""
    lab.seed(0, 3)
    lab.rotate()

    class Away:
        def __init__(self, times: int) -> None:
            self.times, self.database = times, lab.opened()

        def call(self, function: str, *arguments: object):
            if function == "reencrypt_tokens" and self.times:
                self.times -= 1
                raise DatabaseAway(problem="it is being restarted")
            return self.database.call(function, *arguments)

    for times in (1000, 3):
        clock: list[float] = []  # the waits so far; their sum is the time
        job = lab.job(database=Away(times))
        job._clock, job._patience_s = functools.partial(sum, clock), 60.0
        job._wait = clock.append
        (due,) = job.due("acme")
        if times > 60:
            with pytest.raises(DatabaseAway):
                list(job.run(due))
            assert sum(clock) == 60
        else:
            assert list(job.run(due))[-1].changed == 3
            assert clock == [1.0] * 3
    assert lab.versions() == {2}


def test_the_rate_holds():
    """Rows beyond the rate wait, batches are a fraction of a second's rows, and no rate never waits."""
    now, waits = [100.0], []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    rate = Rate(200, clock=lambda: now[0], wait=wait)
    assert rate.batch == 50
    for _ in range(9):
        rate.take(50)
    assert sum(waits) == pytest.approx(2.0)
    assert (Rate(3).batch, Rate(100_000).batch, Rate(None).batch) == (1, MAX_BATCH, MAX_BATCH)
    Rate(None, wait=lambda _: os.abort()).take(10**9)
