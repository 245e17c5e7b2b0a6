"""The command as a security officer runs it."""

from __future__ import annotations

import gzip
import json
import os

from esl_shield.audit import known

NUMBER = "+8613800138001"
OTHER = "+442079460018"


def test_findings_exit_codes_and_silence_about_numbers(lab):
    """Table and JSON name place and token; exit codes are 0, 1, 2; nothing printed or written holds a number."""
    lab.seed([NUMBER, OTHER])
    folder = lab.lab.folder / "searched"
    folder.mkdir()
    (folder / "a.log.gz").write_bytes(gzip.compress(b"x\n" * 9 + b"to 13800138001\n"))
    (folder / "rec-13800138001.wav").write_bytes(b"+44 (0)20 7946 0018\n")
    clean = lab.lab.folder / "clean"
    clean.mkdir()
    (clean / "log").write_bytes(b"13800138002 is nobody's\n")
    cut = lab.lab.folder / "cut.gz"
    cut.write_bytes(gzip.compress(os.urandom(999))[:-50])
    config = lab.config()
    runs = {
        "table": lab.lab.run("leakscan", str(folder), config=config),
        "json": lab.lab.run("leakscan", "--format", "json", str(folder), config=config),
        "clean": lab.lab.run("leakscan", str(clean), config=config),
        "cut": lab.lab.run("leakscan", str(clean), str(cut), config=config),
        "both": lab.lab.run("leakscan", str(cut), str(folder), config=config),
        "pipe": lab.lab.run("leakscan", "--prefix", "99", "-", stdin=b"sip:9913800138001@x", config=config),
        "argument": lab.lab.run("leakscan", "13800138001", config=config),
        "tenant": lab.lab.run("leakscan", "--tenant", "none", str(clean), config=config),
    }
    codes = {name: done.returncode for name, done in runs.items()}
    assert codes == {"table": 1, "json": 1, "clean": 0, "cut": 2, "both": 1, "pipe": 1, "argument": 2, "tenant": 2}
    token, other = lab.tokens[NUMBER], lab.tokens[OTHER]
    assert runs["table"].stdout.splitlines() == [
        f"{folder}/a.log.gz:10  plain  acme  {token}",
        f"{folder}/rec-***********.wav:name  plain  acme  {token}",
        f"{folder}/rec-***********.wav:1  grouped  acme  {other}",
    ]
    first = json.loads(runs["json"].stdout.splitlines()[0])
    assert first == {
        "file": f"{folder}/a.log.gz", "line": 10, "offset": 21, "place": None, "spelling": "plain", "tenant": "acme",
        "token": token,
    }  # fmt: skip
    assert runs["clean"].stdout == ""
    assert f"{cut} was not searched: it is cut short" in runs["cut"].stderr
    assert token in runs["pipe"].stdout
    printed = "\n".join(done.stdout + done.stderr for done in runs.values()).encode()
    assert b"Traceback" not in printed
    needles = {form: name for number in (NUMBER, OTHER) for form, name in known.forms(number).items()}
    assert known.scan_bytes(printed, needles) == []
    rows = lab.lab.database.query("SELECT string_agg(e::text, ' ') FROM shield.audit_events e")
    assert known.scan_bytes(rows[0][0].encode(), needles) == []
    kinds = lab.lab.database.query(
        "SELECT detail->>'outcome', count(*) FROM dba.audit_events WHERE kind = 'leakscan.finished'"
        " GROUP BY 1 ORDER BY 1"
    )
    assert kinds == [("clean", 1), ("found", 4), ("incomplete", 1)]


def test_a_database_that_is_away_ends_with_3(lab):
    """Nobody takes a search without a vault for a clean one."""
    config = lab.config()
    text = config.read_text().replace(lab.lab.database.name, "nowhere_at_all")
    config.write_text(text.replace("/nowhere_at_all?host=", "/nowhere_at_all?host=/none"))
    done = lab.lab.run("leakscan", str(lab.lab.folder), config=config)
    assert done.returncode == 3
    assert done.stdout == ""
