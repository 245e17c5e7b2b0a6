"""The KEK changed under everything that opens keys, and what the commands of keys say to what is not right."""

from __future__ import annotations

import contextlib
import signal
import subprocess

import pytest
from key_lab import lab

from esl_shield.errors.keys import KekNotNamed, OtherKek, WrongKek
from esl_shield.resolver.datakeys import DataKeys
from esl_shield.resolver.health import Readiness
from esl_shield.vault import keylife
from esl_shield.vault.keks import Keks
from esl_shield.vault.keys import create_kek, open_kek
from esl_shield.vault.seeder import Seeder
from esl_shield.vault.store import Store

__all__ = ["lab"]


@pytest.fixture
def new_kek(lab):
    """The URI of a second KEK."""
    uri = f"file:{lab.vault.folder}/kek-2"
    create_kek(uri)
    return uri


def _keks(lab):
    return {row[0] for row in lab.database.query("SELECT DISTINCT kek_id FROM dba.keys")}


def test_rewrapping_touches_no_token_and_nobody_notices(lab, new_kek):
    """With both KEKs configured a resolver and a seeder work before, in the middle of and after a rewrap."""
    lab.seed(0, 3)
    lab.rotate()
    lab.seed(3, 3)
    rows = lab.database.query("SELECT token, ciphertext, key_version FROM shield.tokens ORDER BY token")
    both = Keks(open_kek(new_kek), [lab.vault.kek])
    resolver = lab.database.open(lab.database.login("resolver", tenants=["acme"]))
    store = Store(lab.vault.seeder_login)

    def works() -> bool:
        keys = DataKeys(resolver, both)
        Readiness(resolver, both)()
        known = lab.seed(0, 6, Seeder(store, both, "acme"))
        return all(keys.get(lab.tenant_id, version) for version in (1, 2)) and not any(o.created for o in known)

    assert works()
    steps = []
    for key, total in keylife.rewrap(lab.database.admin, both):
        steps.append(total)
        assert works(), key
    assert steps == [3, 3, 3]
    store.close()
    assert _keks(lab) == {both.id}
    assert list(keylife.rewrap(lab.database.admin, both)) == []
    assert lab.database.query("SELECT token, ciphertext, key_version FROM shield.tokens ORDER BY token") == rows
    lab.keks = Keks(both.current)
    assert len(lab.numbers()) == 6
    with pytest.raises(WrongKek):
        DataKeys(resolver, lab.vault.kek).get(lab.tenant_id, 1)
    with pytest.raises(OtherKek):
        Readiness(resolver, Keks(lab.vault.kek))()
    events = lab.database.query("SELECT detail FROM shield.audit_events WHERE kind = 'key.rewrapped' ORDER BY id")
    assert [(event["purpose"], event["version"]) for (event,) in events] == [("data", 1), ("data", 2), ("index", 1)]


def test_a_rewrap_that_is_stopped_is_run_again(lab, new_kek):
    """Stopped after any key, the rest is under the old KEK and whole; the next run does the rest alone."""
    both = Keks(open_kek(new_kek), [lab.vault.kek])
    next(keylife.rewrap(lab.database.admin, both))
    assert _keks(lab) == {both.id, lab.vault.kek.id}
    lab.keks = both
    with contextlib.closing(Store(lab.vault.seeder_login)) as store:
        assert lab.seed(0, 1, Seeder(store, both, "acme"))[0].created
    assert len(list(keylife.rewrap(lab.database.admin, both))) == 1
    assert _keks(lab) == {both.id}


def test_a_kek_nobody_names_changes_nothing(lab, new_kek):
    """Without the old KEK neither rewrap nor rotate does anything, and both say which one is wanted."""
    alone = Keks(open_kek(new_kek))
    with pytest.raises(KekNotNamed, match=lab.vault.kek.id):
        list(keylife.rewrap(lab.database.admin, alone))
    lab.keks = alone
    with pytest.raises(OtherKek, match=lab.vault.kek.id):
        lab.rotate()
    assert _keks(lab) == {lab.vault.kek.id}
    assert lab.database.query("SELECT count(*) FROM dba.keys") == [(2,)]


def test_the_kek_is_changed_by_the_command_line(lab):
    """Init makes the new KEK beside the old one, rewrap takes it from the configuration; the old one is done."""
    admin = lab.config("admin")
    new = f"file:{lab.vault.folder}/kek-2"
    admin.write_text(
        admin.read_text().replace(f'kek = "{lab.vault.kek_uri}"', f'kek = "{new}"\nprevious = ["{lab.vault.kek_uri}"]')
    )
    done = lab.vault.run("keys", "init", config=admin)
    assert (done.returncode, done.stdout.startswith("created KEK ")) == (0, True), done.stderr
    assert _keks(lab) == {lab.vault.kek.id}
    done = lab.vault.run("keys", "rewrap", config=admin)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr
    assert _keks(lab) == {open_kek(new).id}


# What is asked, with which login and KEK, how it ends, and what is said.
WRONG = {
    "unknown-tenant": (("rotate", "--tenant", "nobody"), "admin", "", 2, "tenant.unknown"),
    "unknown-tenant-of-a-job": (("reencrypt", "--tenant", "nobody"), "rekeyer", "", 2, "tenant.unknown"),
    "unknown-tenant-retired": (("retire", "--tenant", "nobody"), "admin", "", 2, "tenant.unknown"),
    "unknown-version": (
        ("destroy", "--tenant", "acme", "--version", "9", "--backups", "gone"), "admin", "", 2, "keys.unknown_version",
    ),
    "neither-tenant-nor-all": (("rotate",), "admin", "", 2, "--tenant T or --all"),
    "kek-missing": (("rotate", "--all"), "admin", "missing", 2, "keys.kek_missing"),
    "kek-exposed": (("rotate", "--all"), "admin", "exposed", 2, "keys.kek_exposed"),
    "kek-wrong": (("rotate", "--all"), "admin", "wrong", 2, "keys.other_kek"),
    "kek-wrong-for-a-rewrap": (("rewrap",), "admin", "wrong", 2, "keys.kek_not_named"),
    "earlier-kek-missing": (("rewrap", "--previous", "file:/nowhere"), "admin", "", 2, "keys.kek_missing"),
    "kek-wrong-for-a-job": (("reencrypt",), "rekeyer", "wrong", 2, "keys.wrong_kek"),
    "no-right-to-rotate": (("rotate", "--all"), "rekeyer", "", 2, "database.right_missing"),
    "no-right-for-a-job": (("reencrypt",), "seeder", "", 2, "takes the login of a rekeyer"),
    "no-right-to-destroy": (
        ("destroy", "--tenant", "acme", "--version", "1", "--backups", "gone"), "rekeyer", "", 2,
        "database.right_missing",
    ),
    "no-answer-to-the-question": (
        ("destroy", "--tenant", "acme", "--version", "1", "--backups", "gone"), "admin", "", 2, "give --yes",
    ),
    "database-away": (("rotate", "--all"), "away", "", 3, "database.away"),
    "database-away-for-a-job": (("reindex",), "away", "", 3, "database.away"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_is_wrong_is_one_sentence(lab, name: str):
    """Each wrong way ends with its exit code and one sentence, and no key is changed. Slow: a process for each."""
    lab.seed(0, 1)
    lab.rotate()
    lab.do()
    lab.let_calls_end()
    arguments, login, kek, code, says = WRONG[name]
    if name == "kek-wrong-for-a-job":
        lab.rotate()
    before = lab.database.query("SELECT * FROM shield.data_keys ORDER BY purpose, version")
    uri = f"file:{lab.vault.folder}/other"
    if kek in ("exposed", "wrong"):
        create_kek(uri)
        (lab.vault.folder / "other").chmod(0o444 if kek == "exposed" else 0o400)
    logins = {"admin": lab.database.admin, "rekeyer": lab.rekeyer_login, "seeder": lab.vault.seeder_login}
    config = lab.vault.config(logins.get(login, lab.database.admin), kek=uri if kek else None)
    if login == "away":
        config.write_text(config.read_text().replace("host=", "host=/nowhere/"))
    done = lab.vault.run("keys", *arguments, config=config)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert lab.database.query("SELECT * FROM shield.data_keys ORDER BY purpose, version") == before


def test_an_interrupted_job_says_how_to_go_on(lab):
    """Ctrl-C ends a job with 130 and one sentence; what is done is kept."""
    lab.seed(0, 300)
    lab.rotate()
    command = lab.vault.command("keys", "reencrypt", "--rate", "40", config=lab.config("rekeyer"))
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=lab.vault.environment(), stdout=pipe, stderr=pipe, cwd=lab.vault.folder)
    while not lab.one("SELECT changed FROM shield.rekeyings") and process.poll() is None:
        pass  # each look is a round trip
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"run the same command again to go on" in errors
    assert b"Traceback" not in errors
    done = lab.one("SELECT changed FROM shield.rekeyings")
    assert 0 < done < 300
    assert lab.do().changed == 300 - done
