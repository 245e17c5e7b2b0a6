"""``backup check`` over real repositories."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from backup_lab import STANZA
from polling import until

from esl_shield.config.backup import BackupConfig
from esl_shield.service.backup.pgbackrest import read_settings

SAMPLE = Path(__file__).parents[3] / "docs" / "samples" / "pgbackrest.conf"


def _check(backups, **section):
    """The exit code, and what is not well by the check's id."""
    done = backups.run("check", "--format", "json", **section)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows, done.stderr
    return done.returncode, {row["check"]: row["sentence"] for row in rows if row["severity"] not in ("ok", "info")}


def test_three_sound_repositories_are_well(backups):
    """Fresh backups in three encrypted repositories give no finding but that all lie on one disk."""
    backups.archived()
    code, wrong = _check(backups)
    assert set(wrong) <= {"backup.apart"}
    assert code == (1 if wrong else 0)


def test_what_is_too_old_or_too_little_is_a_finding(backups):
    """What does not keep the configured limits is said, with the repository's number."""
    limits = {"full_max_age_h": 1e-6, "newest_max_age_h": 1e-6, "fulls_kept": 3, "wal_max_lag_s": 30}
    done = backups.run("check", "--format", "json", repositories=[1, 3, 4], **limits)
    assert done.returncode == 1
    said = {(row["check"], row["sentence"].partition(" is ")[0]) for row in map(json.loads, done.stdout.splitlines())}
    assert said >= {
        ("backup.full", "the newest full backup in repository 1"),
        ("backup.newest", "the newest backup in repository 3"),
        ("backup.retention", "repo3-retention-full"),
        ("backup.archiving", "archive_timeout"),
    }
    assert any("repository 4 cannot be used" in sentence for _, sentence in said)


def test_a_failing_archive_command_is_a_finding(backups):
    """When the server's attempt to archive fails, the check says at which segment."""
    backups.archive("false")
    try:
        name = backups.database.query("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0]
        backups.database.query("CREATE TABLE moved (); DROP TABLE moved; SELECT pg_switch_wal()")
        failed = "SELECT last_failed_wal >= %s FROM pg_stat_archiver WHERE last_failed_wal IS NOT NULL"
        until(lambda: (backups.database.query(failed, name) or [[False]])[0][0], "archiving fails")
        code, wrong = _check(backups)
    finally:
        backups.archive(backups.archive_push)
    assert code == 1
    assert "last attempt to archive failed, at WAL segment" in wrong["backup.archiver"]
    assert "does not call pgbackrest" in wrong["backup.archiving"]


def test_a_key_in_the_databases_folder_is_a_finding(backups):
    """A key that every backup would hold is named, be it configured or a forgotten copy; its content is not shown."""
    data = backups.cluster.folder / "data"
    secret = "5a" * 32
    for name in ("shield.kek", "forgotten"):
        (data / name).write_text(secret + "\n")
    try:
        done = backups.run("check", keys=[f"file:{data / 'shield.kek'}"])
    finally:
        for name in ("shield.kek", "forgotten"):
            (data / name).unlink()
    assert done.returncode == 1
    assert f"the key {data / 'shield.kek'} is in the database's folder" in done.stdout
    assert f"{data / 'forgotten'} looks like a key" in done.stdout
    assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["kek", "keys"])
def test_a_key_in_a_repositorys_folder_is_a_finding(backups, option):
    """The KEK, or a further key, beside the backups it opens is named with the repository; its content is not shown."""
    key = backups.folder / "repo3" / "kept.key"
    secret = "5b" * 32
    key.write_text(secret + "\n")
    config = backups.config(keys=[f"file:{key}"] if option == "keys" else [])
    if option == "kek":
        config.write_text(config.read_text().replace(backups.vault.kek_uri, f"file:{key}"))
    try:
        done = backups.vault.run("backup", "check", "--format", "json", config=config)
    finally:
        key.unlink()
    assert done.returncode == 1
    found = [row for row in map(json.loads, done.stdout.splitlines()) if row["check"] == "backup.keys"]
    assert [(row["severity"], row["sentence"]) for row in found] == [
        ("critical", f"the key {key} is in repository 3's folder, beside the data it opens")
    ]
    assert secret not in done.stdout + done.stderr


@pytest.mark.slow  # makes another repository
def test_a_repository_in_clear_is_a_finding(backups):
    """A repository without encryption is named, and no other."""
    plain = backups.folder / "plain"
    plain.mkdir()
    os.chown(plain, backups.user.pw_uid, backups.user.pw_gid)
    clear = f"repo2-path={plain}\nrepo2-retention-full=2"
    conf = backups.configure("plain.conf", {1: backups.folder / "repo1"}, more=clear)
    backups.pgbackrest("stanza-create", conf=conf)
    backups.pgbackrest("--repo=2", "--no-archive-check", "backup", conf=conf)
    code, wrong = _check(backups, config=str(conf), repositories=[1, 2])
    assert code == 1
    assert wrong["backup.encrypted"] == "repository 2 is not encrypted"
    assert "pass-phrase" not in str(wrong)


def test_a_database_that_is_away_is_said(backups):
    """Without the live server what it would say is not asked, and alone that is exit code 3."""
    config = backups.config()
    config.write_text(config.read_text().replace(str(backups.cluster.socket_folder).replace("/", "%2F"), "%2Fnowhere"))
    done = backups.vault.run("backup", "check", "--format", "json", config=config)
    rows = {row["check"]: row["severity"] for row in map(json.loads, done.stdout.splitlines())}
    assert rows["backup.archiver"] == "unknown"
    assert rows["backup.newest"] == "ok"
    assert done.returncode == (1 if rows["backup.apart"] == "warning" else 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has no [backup]"),
        ('[backup]\nstanza = "shield"\nconfig = "/nowhere/pgbackrest.conf"\n', "it cannot be read"),
    ],
    ids=["no section", "no file"],
)
def test_what_is_not_configured_is_an_error(backups, text, says):
    """Without [backup], or without pgBackRest's file, the command says so with exit code 2."""
    config = backups.config()
    config.write_text(config.read_text().partition("[backup]")[0] + text)
    done = backups.vault.run("backup", "check", config=config)
    assert done.returncode == 2
    assert says in done.stderr


def test_the_shipped_configuration_is_one_pgbackrest_knows(backups):
    """Every option of the shipped configuration is known to pgBackRest, and it names three encrypted repositories."""
    text = SAMPLE.read_text().replace("/srv/backup/pgbackrest", str(backups.folder / "empty"))
    text = text.replace("/var/lib/postgresql/15/main", str(backups.cluster.folder / "data"))
    conf = backups.write("sample.conf", text)
    said = backups.pgbackrest("--repo=1", "--log-level-file=off", "info", conf=conf)
    assert "WARN" not in said
    assert "missing stanza path" in said
    settings = read_settings(BackupConfig(stanza=STANZA, config=str(conf)))
    assert {n: (s.type, s.retention, s.same_pass_as) for n, s in settings.repositories.items()} == {
        1: ("posix", 2, ()), 2: ("posix", 4, ()), 3: ("s3", 35, ()),
    }  # fmt: skip
    assert not settings.exposed
