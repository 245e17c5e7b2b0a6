"""Restores of a real vault by pgBackRest, verified."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest
from backup_lab import STANZA
from sealing_site import SealingSite

from esl_shield.vault.keys import create_kek


@pytest.fixture(scope="module")
def seals(backups, tmp_path_factory):
    """Who seals the site's events: whatever a drill restores then has to be proved."""
    site = SealingSite(backups.database, tmp_path_factory.mktemp("seals"))
    site.seal()
    backups.archived()
    return site


def test_a_moment_between_two_imports_comes_back(backups, seals):
    """A drill to a moment gives the vault of that moment, verified, says what it took and lacks, and leaves nothing."""
    backups.import_numbers(5)
    seals.seal()
    ((sealed,),) = seals.sql("SELECT count(*) FROM shield.audit_events")
    moment = backups.now()
    backups.import_numbers(7)
    seals.seal()
    backups.archived()
    into = backups.folder / "drill"
    done = backups.run(
        "drill",
        "--repo",
        "2",
        "--into",
        str(into),
        "--time",
        moment.isoformat(),
        "--format",
        "json",
        public_keys=[str(seals.public_key)],
        heads=str(seals.heads_path),
    )
    report = json.loads(done.stdout)
    assert [f for f in report["findings"] if f["severity"] not in ("ok", "info")] == []
    assert done.returncode == 0
    assert report["verified"] is True
    assert re.fullmatch(r"\d{8}-\d{6}F_\d{8}-\d{6}I", report["backup"]), "restored from an incremental backup"
    assert report["rows"]["tokens"] == report["rows"]["number_refs"] == backups.imported - 7
    assert report["rows"]["permits"] == 0
    assert report["tokens_decrypted"] == backups.imported - 7
    assert report["lost_events"] == 0
    proved = [f["sentence"] for f in report["findings"] if f["check"] == "drill.seals"]
    assert len(proved) == 1
    assert proved[0].startswith(f"{sealed} events in ")
    assert 0 < report["minutes_taken"] < 2
    assert not into.exists()
    assert json.loads(into.with_name("drill.json").read_text()) == report
    assert "1380013" not in done.stdout + done.stderr


def _copied(backups, name):
    """Repository 1 as it is, in a folder of its own, and the configuration that names it."""
    copy = backups.folder / name
    subprocess.run(["cp", "-a", backups.folder / "repo1", copy], check=True)
    conf = backups.configure(f"{name}.conf", {1: copy})
    return copy, {"config": str(conf), "repositories": [1]}


def _drill(backups, name, *more, **section):
    done = backups.run(
        "drill", "--repo", "1", "--into", str(backups.folder / name), "--quiet", "--format", "json", *more, **section
    )
    assert not (backups.folder / name).exists()
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow  # pgBackRest takes its time to give up
def test_a_flipped_byte_in_a_backup_is_found(backups):
    """A backup file with one byte changed makes the drill fail, and the report says at which step."""
    copy, section = _copied(backups, "flipped")
    full = next(path for path in (copy / "backup" / STANZA).iterdir() if path.name.endswith("F"))
    victim = max((full / "pg_data" / "base").rglob("*.lz4"), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    code, report = _drill(backups, "flipped-drill", **section)
    assert code == 1
    assert report["verified"] is False
    failed = next(f for f in report["findings"] if f["check"] == "drill.restore")
    assert failed["severity"] == "critical"
    assert re.search(r"failed while restoring .*: \[[0-9]{3}\]: ", failed["sentence"])


def test_a_missing_wal_segment_is_found_by_check_and_drill(backups):
    """Without one segment of the WAL the check names it, and a drill to a moment behind it fails."""
    backups.import_numbers(1)
    victim = backups.archived()
    backups.import_numbers(1)
    moment = backups.now()
    backups.import_numbers(1)
    backups.archived()
    copy, section = _copied(backups, "gap")
    next((copy / "archive" / STANZA).rglob(f"{victim}-*")).unlink()
    done = backups.run("check", "--format", "json", **section)
    assert done.returncode == 1
    found = [f for f in map(json.loads, done.stdout.splitlines()) if f["severity"] == "critical"]
    assert [(f["check"], victim in f["sentence"]) for f in found] == [("backup.wal_gap", True)]
    code, report = _drill(backups, "gap-drill", "--time", moment.isoformat(), **section)
    assert code == 1
    assert "recovery ended before configured recovery target" in report["findings"][-1]["sentence"]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("full", "it is not an empty folder"),
        ("repo1/x", "which is a database's or a repository's"),
        ("database", "which is a database's or a repository's"),
        ("nowhere/x", "the folder it would be made in is not there"),
    ],
)
def test_a_place_where_a_restore_could_harm_is_refused(backups, place, says):
    """Nothing is restored over files, or into a database's or a repository's folder."""
    (backups.folder / "full").mkdir(exist_ok=True)
    (backups.folder / "full" / "file").write_text("mine")
    into = backups.cluster.folder / "data" / "x" if place == "database" else backups.folder / place
    done = backups.run("drill", "--repo", "1", "--into", str(into))
    assert done.returncode == 2
    assert says in done.stderr
    assert "[backup.drill_refused]" in done.stderr
    assert (backups.folder / "full" / "file").read_text() == "mine"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_an_interrupted_drill_cleans_up(backups, sent):
    """Ctrl-C or SIGTERM in the middle of a restore removes what was restored and ends with 130."""
    into = backups.folder / f"stopped-{sent}"
    command = backups.vault.command("backup", "drill", "--repo", "1", "--into", str(into), config=backups.config())
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=backups.vault.environment()) as process:
        assert process.stderr is not None
        assert b"restoring" in process.stderr.readline()
        process.send_signal(sent)
        process.wait(60)
    assert process.returncode == 130
    assert not into.exists()


def test_another_kek_is_found(backups, tmp_path):
    """A vault whose keys another KEK wraps is restored, and is not verified."""
    kek = f"file:{tmp_path}/other"
    create_kek(kek)
    config = backups.config()
    config.write_text(config.read_text().replace(backups.vault.kek_uri, kek))
    into = str(backups.folder / "kek")
    done = backups.vault.run("backup", "drill", "--repo", "3", "--into", into, "--format", "json", config=config)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert [f["sentence"] for f in report["findings"] if f["check"] == "drill.decrypts"] == [
        "2 keys or tokens failed with keys.wrong_kek"
    ]


@pytest.mark.slow  # one more whole drill
def test_a_restored_trail_that_was_altered_is_found(backups, seals):
    """An event a superuser altered before the backup's moment makes the drill fail, and the report names it."""
    seals.seal()
    ((event, kind),) = seals.sql("SELECT id, kind FROM shield.audit_events ORDER BY id LIMIT 1")
    change = "UPDATE shield.audit_events SET kind = %s WHERE id = %s"
    backups.database.query(change, "tokens.exported", event)
    try:
        backups.archived()
        code, report = _drill(backups, "altered", public_keys=[str(seals.public_key)])
    finally:
        backups.database.query(change, kind, event)
        backups.archived()
    assert (code, report["verified"]) == (1, False)
    found = [f for f in report["findings"] if f["severity"] == "critical"]
    assert [f["check"] for f in found] == ["drill.seals"]
    assert str(event) in found[0]["sentence"]


@pytest.mark.slow  # one more whole drill
def test_what_was_not_archived_is_told_as_lost(backups, seals):
    """Without --time all there is comes back; what was committed later, however early begun, is counted and printed."""
    late = backups.database.connect()
    late.autocommit = False
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO shield.audit_events (kind) VALUES ('tokens.exported')")
    backups.import_numbers(1)
    backups.archived()
    newest = "SELECT count(*), max(at) FROM shield.audit_events"
    ((kept, kept_until),) = seals.sql(newest)
    backups.archive("false")
    into = backups.folder / "newest"
    try:
        backups.import_numbers(3)
        backups.import_numbers(2)
        late.commit()
        ((had, had_until),) = seals.sql(newest)
        done = backups.run("drill", "--repo", "1", "--into", str(into), public_keys=[str(seals.public_key)])
    finally:
        backups.archive(backups.archive_push)
    assert done.returncode == 0, done.stderr
    report = json.loads(into.with_name("newest.json").read_text())
    assert report["rows"]["tokens"] == backups.imported - 5
    assert report["lost_events"] == had - kept == 5  # each import tells of its beginning and its end
    assert report["lost_s"] == (had_until - kept_until).total_seconds() > 0
    printed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    for name in ("backup", "minutes_taken", "lost_events", "lost_s"):
        assert printed[name] == str(report[name])
    assert float(printed["minutes_taken"]) > 0


@pytest.mark.slow  # one more whole drill
def test_without_the_live_database_a_drill_still_verifies(backups, seals):
    """With the live server away the vault is verified; what it lacks is then not known."""
    config = backups.config(public_keys=[str(seals.public_key)])
    live = str(backups.cluster.socket_folder).replace("/", "%2F")
    config.write_text(config.read_text().replace(live, "%2Fnowhere"))
    into = str(backups.folder / "alone")
    done = backups.vault.run("backup", "drill", "--repo", "3", "--into", into, "--format", "json", config=config)
    report = json.loads(done.stdout)
    assert (done.returncode, report["verified"], report["lost_events"]) == (0, True, None)
    assert [f["check"] for f in report["findings"] if f["severity"] == "info"] == ["drill.loss"]
