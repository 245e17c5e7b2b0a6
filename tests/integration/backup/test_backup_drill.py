"""Restores of a real vault by pgBackRest, verified."""

from __future__ import annotations

import json


def test_a_moment_between_two_imports_comes_back(backups):
    """A drill to a moment gives the vault of that moment, verified, says what it took and lacks, and leaves nothing."""
    backups.import_numbers(5)
    moment = backups.now()
    backups.import_numbers(7)
    backups.archived()
    into = backups.folder / "drill"
    done = backups.run("drill", "--repo", "2", "--into", str(into), "--time", moment.isoformat(), "--format", "json")
    report = json.loads(done.stdout)
    assert [f for f in report["findings"] if f["severity"] not in ("ok", "info")] == []
    assert done.returncode == 0
    assert report["verified"] is True
    assert report["rows"]["tokens"] == report["rows"]["number_refs"] == backups.imported - 7
    assert report["rows"]["permits"] == 0
    assert report["tokens_decrypted"] == backups.imported - 7
    assert report["lost_events"] == 0
    assert 0 < report["minutes_taken"] < 2
    assert not into.exists()
    assert json.loads(into.with_name("drill.json").read_text()) == report
